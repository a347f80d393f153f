"""Fully connected layer, ReLU, softmax and its logarithm against PyTorch."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

import svertka.reference as reference

from .against_torch import Float64Array, check_linear, normal, torch_run
from .bounds import within

# Bounds of exp and log in units of 2**-53: a few, for every library.
FUNCTION = 4


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0, 4), (2, 1, 3)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_linear(leading: tuple[int, ...], with_bias: bool) -> None:
    arrays = (normal(1, *leading, 5), normal(2, 4, 5), normal(3, 4))
    check_linear(
        reference.linear,
        reference.linear_backward,
        functional.linear,
        arrays if with_bias else (*arrays[:2], None),
        operations=max(7, int(np.prod(leading))),
    )


def test_relu() -> None:
    values = np.array([-2.0, -0.0, 0.0, 3.0, np.nan, np.inf, -np.inf])
    output, grad, (expected,) = torch_run(functional.relu, [values])
    np.testing.assert_array_equal(reference.relu(values), output)
    np.testing.assert_array_equal(reference.relu_backward(grad, values)[0], expected)


ROWS = [((7,), 0), ((3, 5), 1), ((3, 5), -2), ((2, 4, 3), 1), ((0, 3), 1), ((), 0)]


def parts(values: Float64Array, dim: int) -> tuple[Float64Array, Float64Array, int]:
    """Return |x - m|, softmax, and the length of a row."""
    rows = np.atleast_1d(values)
    distance = np.abs(rows - rows.max(axis=dim, keepdims=True, initial=-np.inf))
    powers = np.exp(-distance)
    softmax = powers / powers.sum(axis=dim, keepdims=True)
    return (
        distance.reshape(values.shape),
        softmax.reshape(values.shape),
        rows.shape[dim],
    )


@pytest.mark.parametrize(("shape", "dim"), ROWS)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_softmax(shape: tuple[int, ...], dim: int, scale: float) -> None:
    """The rounding of x - m changes the exponential by |x - m| units."""
    values = scale * normal(4, *shape)
    run = partial(functional.softmax, dim=dim)
    output, grad, (expected,) = torch_run(run, [values])
    distance, softmax, count = parts(values, dim)
    # The sum's terms have errors from their own differences, weighted by softmax, which sums to 1.
    rows, wide = np.atleast_1d(softmax), np.atleast_1d(distance)
    drift = 1 + wide + (rows * wide).sum(axis=dim, keepdims=True)
    magnitude = (rows * drift).reshape(shape)
    operations = count + 2 * FUNCTION + 2
    assert within(reference.softmax(values, dim), output, magnitude, operations)

    weighed = np.atleast_1d(np.abs(grad)) * rows * drift
    spread = weighed + rows * drift * weighed.sum(axis=dim, keepdims=True)
    found = reference.softmax_backward(grad, values, dim)[0]
    assert within(found, expected, spread.reshape(shape), 3 * operations)


@pytest.mark.parametrize(("shape", "dim"), ROWS)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_log_softmax(shape: tuple[int, ...], dim: int, scale: float) -> None:
    """The logarithm of the sum lies between 0 and log n, and its error is absolute."""
    values = scale * normal(5, *shape)
    run = partial(functional.log_softmax, dim=dim)
    output, grad, (expected,) = torch_run(run, [values])
    distance, softmax, count = parts(values, dim)
    rows, wide = np.atleast_1d(softmax), np.atleast_1d(distance)
    drift = 1 + wide + (rows * wide).sum(axis=dim, keepdims=True) + np.log(count)
    operations = count + 3 * FUNCTION + 3
    magnitude = drift.reshape(shape)
    assert within(reference.log_softmax(values, dim), output, magnitude, operations)

    absolute = np.atleast_1d(np.abs(grad))
    spread = absolute + rows * drift * absolute.sum(axis=dim, keepdims=True)
    found = reference.log_softmax_backward(grad, values, dim)[0]
    assert within(found, expected, spread.reshape(shape), 3 * operations)


@pytest.mark.parametrize(
    "row",
    [
        [1000.0, 1001.0, -1000.0],
        [-np.inf, 0.0, 1.0],
        [-np.inf, -np.inf, -np.inf],
        [np.inf, 0.0, 1.0],
        [np.nan, 0.0, 1.0],
    ],
)
def test_extreme_rows(row: list[float]) -> None:
    values = np.array(row)
    magnitude = np.where(np.isfinite(values), 2000.0, 1.0)
    for name in ("softmax", "log_softmax"):
        expected = getattr(functional, name)(torch.tensor(values), dim=0).numpy()
        assert within(getattr(reference, name)(values, 0), expected, magnitude, 20)


def test_softmax_does_not_change_under_a_shift() -> None:
    """Slide 18: exact, because the shift of integers by an integer is exact."""
    values = np.array([[3.0, -1.0, 0.0, 7.0]])
    shifted = reference.softmax(values + 4096, 1)
    np.testing.assert_array_equal(shifted, reference.softmax(values, 1))


def test_softmax_over_an_empty_axis() -> None:
    assert reference.softmax(np.zeros((2, 0)), 1).shape == (2, 0)
    assert reference.log_softmax(np.zeros((2, 0)), 1).shape == (2, 0)
