"""Resizing, cropping and normalising images."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

import svertka.reference as reference

from .against_torch import check_gradients, check_linear, normal, torch_run
from .bounds import within
from .geometry import quick

extents = st.tuples(st.integers(1, 13), st.integers(1, 13))


@quick
@given(extents, extents, st.booleans())
def test_resize(image: tuple[int, int], size: tuple[int, int], antialias: bool) -> None:
    """A weight 1 - |centre - position| / width errs by the size of the positions.

    These are as large as the image's extent, however small the weight. So the magnitude is that of the largest element,
    and the extents multiply the operations.
    """
    options: dict[str, Any] = {"mode": "bilinear", "align_corners": False, "antialias": antialias}

    def run(image: torch.Tensor) -> torch.Tensor:
        if size[1] > 1:
            return functional.interpolate(image, size=size, **options)
        # PyTorch 2.13 gives an antialiased result of one column its first element in every row; rows and columns change
        # places, as the formula treats both alike.
        return functional.interpolate(image.mT.contiguous(), size=size[::-1], **options).mT

    input = normal(30, 2, 3, *image)
    output, grad, gradients = torch_run(run, [input])
    operations = 8 * (sum(image) + sum(size))
    found = reference.resize(input, size, antialias)
    assert within(found, output, np.abs(input).max(), operations)
    reach = np.abs(grad).sum(axis=(2, 3), keepdims=True)
    backward = reference.resize_backward(grad, input, size, antialias)
    check_gradients(backward, gradients, [reach], operations)


def test_resize_to_the_same_size_changes_nothing() -> None:
    input = normal(31, 1, 2, 4, 7)
    np.testing.assert_array_equal(reference.resize(input, (4, 7)), input)


@pytest.mark.parametrize("antialias", [False, True])
def test_resize_keeps_a_constant(antialias: bool) -> None:
    found = reference.resize(np.full((1, 1, 9, 5), 3.0), (4, 7), antialias)
    assert within(found, np.full((1, 1, 4, 7), 3.0), 3, 20)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        (4, slice(2, 6), slice(0, 4)),
        ((7, 2), slice(0, 7), slice(2, 4)),
        ((3, 3), slice(2, 5), slice(1, 4)),
        ((1, 5), slice(4, 5), slice(0, 5)),
        ((8, 5), slice(0, 8), slice(0, 5)),
    ],
)
def test_center_crop(size: Any, rows: slice, columns: slice) -> None:
    """The slices are torchvision's for an 8 x 5 image: halves round to even."""
    check_linear(
        partial(reference.center_crop, size=size),
        partial(reference.center_crop_backward, size=size),
        lambda image: image[..., rows, columns],
        [normal(32, 2, 3, 8, 5)],
        operations=0,
    )


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5), (0, 3, 2, 2)])
@pytest.mark.parametrize(
    ("mean", "std"),
    [([0.4, -0.5, 0.6], [0.2, 0.3, 0.25]), (0.5, 1.0), (np.zeros(3), np.full(3, 2.0))],
)
def test_normalize(shape: tuple[int, ...], mean: Any, std: Any) -> None:
    channels = (3, *(1,) * (len(shape) - 2))
    centre, deviation = (torch.tensor(np.broadcast_to(v, 3).copy()).view(channels) for v in (mean, std))
    input = normal(33, *shape)
    run = torch_run(lambda image: (image - centre) / deviation, [input])
    output, grad, gradients = run
    magnitude = (np.abs(input) + centre.abs().numpy()) / deviation.numpy()
    found = reference.normalize(input, mean, std)
    assert within(found, output, magnitude, 2)
    backward = reference.normalize_backward(grad, input, mean, std)
    check_gradients(backward, gradients, [np.abs(grad) / deviation.numpy()], 2)


def test_normalize_without_mean_and_std_changes_nothing() -> None:
    input = normal(34, 2, 3, 4)
    np.testing.assert_array_equal(reference.normalize(input), input)


@pytest.mark.parametrize(
    ("image", "size", "covering", "rows", "columns"),
    [
        ((6, 11), (4, 3), (4, 7), slice(0, 4), slice(2, 5)),
        ((11, 6), (4, 3), (5, 3), slice(0, 4), slice(0, 3)),
        ((5, 9), (6, 4), (6, 10), slice(0, 6), slice(3, 7)),
        ((7, 13), (4, 4), (4, 7), slice(0, 4), slice(2, 6)),
        ((4, 6), (2, 3), (2, 3), slice(0, 2), slice(0, 3)),
    ],
)
@pytest.mark.parametrize("crop", [False, True])
def test_image_input(
    image: tuple[int, int], size: tuple[int, int], covering: tuple[int, int], rows: slice, columns: slice, crop: bool
) -> None:
    """Resized by PyTorch to the covering size; that size and the slices are computed by hand."""
    deviation = torch.tensor([0.5, 2.0, 0.25], dtype=torch.float64).view(3, 1, 1)
    centre = torch.tensor([0.25, -1.0, 2.0], dtype=torch.float64).view(3, 1, 1)
    shape = covering if crop else size

    def run(images: torch.Tensor) -> torch.Tensor:
        found = functional.interpolate(images, shape, mode="bilinear", align_corners=False, antialias=True)
        return ((found[..., rows, columns] if crop else found) - centre) / deviation

    input = normal(35, 2, 3, *image)
    output, grad, gradients = torch_run(run, [input])
    options: dict[str, Any] = {"mean": [0.25, -1.0, 2.0], "std": [0.5, 2.0, 0.25], "size": size, "crop": crop}
    operations = 8 * (sum(image) + sum(shape)) + 2
    found = reference.image_input(input, **options)
    assert within(found, output, (np.abs(input).max() + 2.0) / 0.25, operations)
    reach = np.abs(grad / deviation.numpy()).sum(axis=(2, 3), keepdims=True)
    check_gradients(reference.image_input_backward(grad, input, **options), gradients, [reach], operations)
