"""Pooling against PyTorch, and the conventions of maxima."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

import svertka.reference as reference

from .against_torch import check_linear, normal, torch_run
from .geometry import Pooling, poolings, quick

NAN, INFINITY = float("nan"), float("inf")


@quick
@given(poolings(dilated=True))
def test_maxima_with_ties(case: Pooling) -> None:
    """Values of three kinds give ties; integers make everything exact."""
    random = np.random.default_rng(case.seed)
    image = random.integers(-1, 2, case.input_shape).astype(np.float64)
    name = f"max_pool{case.rank}d"
    run = partial(getattr(functional, name), **case.options)
    shape = run(torch.tensor(image)).shape
    grad = random.integers(-9, 10, shape).astype(np.float64)
    output, _, (expected,) = torch_run(run, [image], grad)
    _, indices = run(torch.tensor(image), return_indices=True)

    pool = getattr(reference, name)
    found, places = pool(image, **case.options, return_indices=True)
    assert places.dtype == np.int64
    np.testing.assert_array_equal(places, indices.numpy())
    np.testing.assert_array_equal(found, output)
    np.testing.assert_array_equal(pool(image, **case.options), output)
    backward = getattr(reference, f"{name}_backward")
    np.testing.assert_array_equal(backward(grad, image, **case.options)[0], expected)


@quick
@given(poolings(dilated=False), st.booleans(), st.sampled_from([None, 3, -7]))
def test_averages(case: Pooling, count_include_pad: bool, divisor: int | None) -> None:
    name = f"avg_pool{case.rank}d"
    options = {**case.options, "count_include_pad": count_include_pad}
    if case.rank > 1:
        options["divisor_override"] = divisor
    absolute = {**options}
    if options.get("divisor_override"):
        absolute["divisor_override"] = abs(options["divisor_override"])
    check_linear(
        partial(getattr(reference, name), **options),
        partial(getattr(reference, f"{name}_backward"), **options),
        partial(getattr(functional, name), **options),
        [normal(case.seed, *case.input_shape)],
        operations=int(np.prod(case.options["kernel_size"])) + 2,
        torch_magnitude=partial(getattr(functional, name), **absolute),
    )


@pytest.mark.parametrize(
    ("row", "expected", "indices"),
    [
        ([1, NAN, 5, 2], [NAN, 5], [1, 2]),
        ([-INFINITY, -INFINITY, NAN, INFINITY], [-INFINITY, NAN], [0, 2]),
        ([INFINITY, NAN, 4, 4], [NAN, 4], [1, 2]),
        ([0.0, -0.0, -1, -1], [0, -1], [0, 2]),
    ],
)
def test_special_values(row: Any, expected: Any, indices: Any) -> None:
    image = np.array([row], dtype=np.float64)
    found, places = reference.max_pool1d(image, 2, return_indices=True)
    np.testing.assert_array_equal(found, [expected])
    np.testing.assert_array_equal(places, [indices])
    pooled = functional.max_pool1d(torch.tensor(image), 2, return_indices=True)
    np.testing.assert_array_equal(found, pooled[0].numpy())
    np.testing.assert_array_equal(places, pooled[1].numpy())
    (grad,) = reference.max_pool1d_backward(np.array([[3.0, 5.0]]), image, 2)
    assert grad[0, indices].tolist() == [3, 5]
    assert np.count_nonzero(grad) == 2


def test_last_of_several_nans_wins() -> None:
    """As in PyTorch; of equal numbers the first is taken."""
    image = np.array([[1, NAN, NAN, 2]])
    found, places = reference.max_pool1d(image, 4, return_indices=True)
    assert np.isnan(found).all()
    assert places.tolist() == [[2]]


def test_padding_never_wins() -> None:
    image = np.full((1, 2, 3, 3), -INFINITY)
    found, places = reference.max_pool2d(image, 3, 1, 1, return_indices=True)
    assert (found == -INFINITY).all()
    expected = functional.max_pool2d(torch.tensor(image), 3, 1, 1, return_indices=True)
    np.testing.assert_array_equal(places, expected[1].numpy())


def test_window_of_nothing_but_padding() -> None:
    """A dilation can step over a small input; then there is no maximum."""
    image = np.array([[7.0, 8.0]])
    options: dict[str, Any] = {
        "kernel_size": 2,
        "stride": 1,
        "padding": 1,
        "dilation": 3,
    }
    found, places = reference.max_pool1d(image, **options, return_indices=True)
    assert found.tolist() == [[-INFINITY]]
    assert places.tolist() == [[-1]]
    (grad,) = reference.max_pool1d_backward(np.ones((1, 1)), image, **options)
    assert not grad.any()


def test_ceil_mode_lets_a_kernel_exceed_the_input() -> None:
    image = np.array([[4.0, 6.0]])
    maxima = reference.max_pool1d(image, 3, 2, ceil_mode=True)
    np.testing.assert_array_equal(maxima, [[6]])
    averages = reference.avg_pool1d(image, 3, 2, ceil_mode=True)
    np.testing.assert_array_equal(averages, [[5]])
