"""Batch normalisation and the two normalisations across channels against PyTorch."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import svertka.reference as reference

from .against_torch import Float64Array, check_gradients, normal, torch_run
from .bounds import within

# Square root, division and power: a few units of 2**-53 each.
FUNCTION = 4


def run_batch_norm(training: bool, statistics: bool, eps: float, *tensors: torch.Tensor | None) -> torch.Tensor:
    """Run PyTorch's batch norm of (input, weight, bias) with fresh estimates."""
    input, weight, bias = tensors
    assert input is not None
    mean, variance = estimates(input.shape[1]) if statistics else (None, None)
    return functional.batch_norm(
        input,
        None if mean is None else torch.tensor(mean),
        None if variance is None else torch.tensor(variance),
        weight,
        bias,
        training,
        0.3,
        eps,
    )


def estimates(channels: int) -> tuple[Float64Array, Float64Array]:
    """Return running estimates to start from."""
    return normal(20, channels), 0.5 + normal(21, channels) ** 2


@pytest.mark.parametrize("shape", [(4, 3), (5, 2, 3), (2, 3, 4, 5), (2, 2, 3, 1, 4)])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("training", "statistics"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_batch_norm(shape: tuple[int, ...], affine: bool, training: bool, statistics: bool, eps: float) -> None:
    channels = shape[1]
    input, weight, bias = normal(22, *shape), normal(23, channels), normal(24, channels)
    arrays = (input, weight, bias) if affine else (input, None, None)
    run = partial(run_batch_norm, training, statistics, eps)
    output, grad, gradients = torch_run(run, arrays)

    options: dict[str, Any] = {"training": training, "momentum": 0.3, "eps": eps}
    state = estimates(channels) if statistics else (None, None)
    backward = reference.batch_norm_backward(grad, input, *state, *arrays[1:], **options)
    found = reference.batch_norm(input, *state, *arrays[1:], **options)

    magnitude, *magnitudes = batch_norm_magnitudes(grad, arrays, training, eps)
    operations = 2 * input.size // channels + 2 * FUNCTION + 6
    assert within(found, output, magnitude, operations)
    check_gradients(backward, gradients, magnitudes, 3 * operations)


def batch_norm_magnitudes(
    grad: Float64Array,
    arrays: tuple[Float64Array, Float64Array | None, Float64Array | None],
    training: bool,
    eps: float,
) -> list[Any]:
    """Return the magnitudes of the output and the three gradients.

    The magnitude of x - mean is |x| + mean |x|. Mean and variance sum `count` values each, and the variance's relative
    error is at most 2 (count + 4) u times (mean x^2 / variance)^(1/2), Welford's included (Chan, Golub and LeVeque,
    1983); that condition goes into the magnitude.
    """
    input, weight, bias = arrays
    channels = input.shape[1]
    axes, layout = (0, *range(2, input.ndim)), (channels, *[1] * (input.ndim - 2))
    total = partial(np.sum, axis=axes, keepdims=True)
    count = input.size // channels
    if training:
        centre, spread = total(np.abs(input)) / count, input.var(axes, keepdims=True)
        condition = np.sqrt(total(np.square(input)) / count / spread)
    else:
        centre, spread = (np.abs(array).reshape(layout) for array in estimates(channels))
        condition = np.ones(layout)
    inverse = condition / np.sqrt(spread + eps)
    size = (np.abs(input) + centre) * inverse
    scale = np.ones(layout) if weight is None else np.abs(weight).reshape(layout)
    shift = np.zeros(layout) if bias is None else np.abs(bias).reshape(layout)
    sums, products = total(np.abs(grad)), total(np.abs(grad) * size)
    pull = (sums + size * products) / count if training else 0.0
    return [
        scale * size + shift,
        scale * inverse * (np.abs(grad) + pull),
        None if weight is None else products.reshape(-1),
        None if bias is None else sums.reshape(-1),
    ]


def test_running_estimates_move_as_in_torch() -> None:
    input = normal(25, 4, 3, 2)
    mean, variance = estimates(3)
    theirs = torch.tensor(mean), torch.tensor(variance)
    functional.batch_norm(torch.tensor(input), *theirs, training=True, momentum=0.3)
    size = np.abs(input).max() ** 2 + np.abs(mean) + variance
    reference.batch_norm(input, mean, variance, training=True, momentum=0.3)
    assert within(mean, theirs[0].numpy(), size, 20)
    assert within(variance, theirs[1].numpy(), size, 40)


def test_backward_leaves_the_running_estimates() -> None:
    input = normal(26, 4, 3)
    state = estimates(3)
    reference.batch_norm_backward(input, input, *state, training=True)
    for now, before in zip(state, estimates(3), strict=True):
        np.testing.assert_array_equal(now, before)


def test_empty_batch_leaves_the_running_estimates() -> None:
    state = estimates(3)
    output = reference.batch_norm(np.zeros((0, 3, 2)), *state, training=True)
    assert output.shape == (0, 3, 2)
    for now, before in zip(state, estimates(3), strict=True):
        np.testing.assert_array_equal(now, before)


def slide_21(input: torch.Tensor, before: int, after: int, k: float, alpha: float, beta: float) -> Any:
    """Compute the formula of slide 21 in PyTorch, window by window."""
    channels = input.shape[1]
    sums = [input[:, max(0, c - before) : c + after + 1].square().sum(dim=1) for c in range(channels)]
    width = before + 1 + after
    return input / (k + alpha / width * torch.stack(sums, dim=1)) ** beta


WINDOWS = [1, 2, 3, 4, 5, 12]


def check_window(name: str, size: int, before: int, after: int, shape: tuple[int, ...]) -> None:
    """Compare one normalisation across channels with `slide_21`.

    The base of the power is a sum of positive terms, so it has a relative error of at most size + 3 roundings, and the
    power multiplies that by its exponent. The gradient subtracts. On absolute values its second part is added; it then
    has the form of the formula's gradient for alpha < 0.
    """
    options: dict[str, Any] = {"k": 1.5, "alpha": 4.0, "beta": 0.75}
    input = normal(27, *shape)
    run = partial(slide_21, before=before, after=after, **options)
    output, grad, (expected,) = torch_run(run, [input])
    operations = size + 3 + FUNCTION
    found = getattr(reference, name)(input, size, **options)
    assert within(found, output, np.abs(output), 2 * operations)

    first = np.abs(grad * output / input)
    _, _, (signed,) = torch_run(run, [np.abs(input)], np.abs(grad))
    second = first - signed
    (gradient,) = getattr(reference, f"{name}_backward")(grad, input, size, **options)
    assert within(gradient, expected, first + second, 4 * operations)


@pytest.mark.parametrize("size", WINDOWS)
@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 3), (2, 6, 2, 3)])
def test_cross_channel_norm(size: int, shape: tuple[int, ...]) -> None:
    check_window("cross_channel_norm", size, (size - 1) // 2, size // 2, shape)


@pytest.mark.parametrize("size", WINDOWS)
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 6, 2, 3), (1, 4, 2, 1, 3)])
def test_local_response_norm(size: int, shape: tuple[int, ...]) -> None:
    check_window("local_response_norm", size, size // 2, (size - 1) // 2, shape)


@pytest.mark.parametrize("size", WINDOWS)
def test_local_response_norm_is_torch_s(size: int) -> None:
    input = normal(28, 2, 7, 3, 2)
    options: dict[str, Any] = {"alpha": 5.0, "beta": 1.25, "k": 0.5}
    theirs = functional.local_response_norm(torch.tensor(input), size, **options)
    expected = theirs.numpy()
    found = reference.local_response_norm(input, size, **options)
    assert within(found, expected, np.abs(expected), 2 * (size + 3 + FUNCTION))


def test_the_two_mirror_each_other() -> None:
    """Reversing the channels turns one into the other."""
    input = normal(29, 2, 6, 3)
    options = {"alpha": 3.0, "beta": 0.75, "k": 2.0}
    mirrored = reference.local_response_norm(input[:, ::-1], 4, **options)[:, ::-1]
    found = reference.cross_channel_norm(input, 4, **options)
    assert within(found, mirrored, np.abs(found), 10)
