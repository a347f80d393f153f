"""Convolution against PyTorch."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from torch.nn import functional

import svertka.reference as reference

from .against_torch import check_linear, normal
from .geometry import Convolution, convolutions, quick


def torch_convolution(
    rank: int,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    **options: Any,
) -> torch.Tensor:
    """Convolve in PyTorch; pairs of paddings, which it lacks, are applied before."""
    padding = options["padding"]
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        pairs = list(padding) * (rank if len(padding) == 1 else 1)
        sides = list(itertools.chain.from_iterable(reversed(pairs)))
        input = functional.pad(input, sides)
        options["padding"] = 0
    function: Callable[..., torch.Tensor] = getattr(functional, f"conv{rank}d")
    return function(input, weight, bias, **options)


def check(case: Convolution) -> None:
    """Compare one convolution with PyTorch's.

    An output sums over a group's input channels and the taps, and adds the bias; an input's gradient sums over a
    group's output channels and the taps at most; a weight's, or a bias's, over batch and windows. Each product is one
    rounding more.
    """
    name = f"conv{case.rank}d"
    convolve: Callable[..., torch.Tensor] = torch_convolution
    run = partial(convolve, case.rank, **case.options)
    maps, inside, *kernel = case.weight_shape
    outside = maps // case.options["groups"]
    output = run(torch.zeros(case.input_shape), torch.zeros(case.weight_shape), None)
    taps, places = math.prod(kernel), output.numel() // maps
    operations = max(max(inside, outside) * taps, places) + 2
    bias = normal(case.seed + 2, case.weight_shape[0]) if case.with_bias else None
    check_linear(
        partial(getattr(reference, name), **case.options),
        partial(getattr(reference, f"{name}_backward"), **case.options),
        run,
        (
            normal(case.seed, *case.input_shape),
            normal(case.seed + 1, *case.weight_shape),
            bias,
        ),
        operations,
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@quick
@given(convolutions())
def test_agrees_with_torch(case: Convolution) -> None:
    check(case)


@pytest.mark.parametrize(
    ("padding", "dilation", "groups"),
    [
        (((0, 2), (3, 1)), (1, 2), 1),
        (((2, 1),), 1, 2),
        ((2, 0), (3, 1), 2),
        ("same", (2, 3), 4),
        ("valid", 1, 4),
    ],
)
def test_asymmetric_shapes(padding: Any, dilation: Any, groups: int) -> None:
    stride = 1 if padding == "same" else (3, 2)
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    weight_shape = (8, 4 // groups, 2, 3)
    check(Convolution(2, (3, 4, 7, 9), weight_shape, True, options, 5))


def test_integers_give_equality() -> None:
    """Sums of small integers are exact, so results must be equal."""
    random = np.random.default_rng(7)
    image = random.integers(-9, 10, (2, 6, 7, 5)).astype(np.float64)
    weight = random.integers(-9, 10, (4, 3, 3, 2)).astype(np.float64)
    options: dict[str, Any] = {
        "stride": (2, 1),
        "padding": (1, 1),
        "dilation": (1, 2),
        "groups": 2,
    }
    expected = functional.conv2d(torch.tensor(image), torch.tensor(weight), **options)
    actual = reference.conv2d(image, weight, None, **options)
    np.testing.assert_array_equal(actual, expected.numpy())


def test_unbatched_is_a_batch_of_one() -> None:
    image, weight = normal(1, 3, 6, 5), normal(2, 4, 3, 2, 3)
    single = reference.conv2d(image, weight)
    np.testing.assert_array_equal(single, reference.conv2d(image[None], weight)[0])
