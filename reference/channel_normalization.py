"""Normalisation across neighbouring channels (slide 21).

    y_c = x_c / (k + alpha / w * sum over neighbours e of x_e^2)^beta

`cross_channel_norm` is the slide's (MATLAB's layer), `local_response_norm` PyTorch's. Both divide by the window w at
the borders too, where fewer channels are summed. An even window contains one more channel after the centre in the
first, and one more before it in the second. The layer comes from Krizhevsky, Sutskever and Hinton, "ImageNet
classification with deep convolutional neural networks" (2012), who do not divide by the window.
"""

from dataclasses import dataclass

import numpy as np

from svertka.reference.arguments import real_number, require, whole_number
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_gradient,
    rounded,
)


def cross_channel_norm(
    input: Array,
    window_channel_size: int,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
) -> Array:
    """Normalise across channels (slide 21); as MATLAB's crossChannelNormalizationLayer.

    Args:
        input: (N, C, ...); float16, float32 or float64.
        window_channel_size: w; the window holds the channel itself, floor((w - 1) / 2) channels before and floor(w / 2)
            after it.
        k: Added to the mean square.
        alpha: Factor of the mean square.
        beta: Exponent.

    Returns:
        An array of the shape and type of `input`.

    Raises:
        TypeError: The input is not of a float type, or an argument not a number.
        ValueError: The input has no channel axis, or the window is smaller than 1.
    """
    window = _Window.slide(window_channel_size, k, alpha, beta)
    return rounded(_normalise(_checked(input, 2), window), input.dtype)


def cross_channel_norm_backward(
    grad_output: Array,
    input: Array,
    window_channel_size: int,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
) -> tuple[Array]:
    """Gradient of `cross_channel_norm`.

    With s_c the base of the power and g the output's gradient:

        g_c / s_c^beta
        - 2 alpha beta / w x_c * sum of g_e x_e / s_e^(beta + 1) over e that see c

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `cross_channel_norm`, and so the arguments that follow.
        window_channel_size: As in `cross_channel_norm`.
        k: As in `cross_channel_norm`.
        alpha: As in `cross_channel_norm`.
        beta: As in `cross_channel_norm`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `cross_channel_norm`.
        ValueError: As `cross_channel_norm`, and where the shapes differ.
    """
    window = _Window.slide(window_channel_size, k, alpha, beta)
    values = _checked(input, 2)
    grad = as_gradient(grad_output, values.shape)
    return (rounded(_gradient(grad, values, window), input.dtype),)


def local_response_norm(
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Array:
    """Normalise across channels; as `torch.nn.functional.local_response_norm`.

    Args:
        input: (N, C, ...), at least 3 axes; float16, float32 or float64.
        size: The window; it holds the channel itself, floor(size / 2) channels before and floor((size - 1) / 2) after
            it.
        alpha: Factor of the mean square.
        beta: Exponent.
        k: Added to the mean square.

    Returns:
        An array of the shape and type of `input`.

    Raises:
        TypeError: The input is not of a float type, or an argument not a number.
        ValueError: The input has fewer than 3 axes, or the window is smaller than 1.
    """
    window = _Window.torch(size, k, alpha, beta)
    return rounded(_normalise(_checked(input, 3), window), input.dtype)


def local_response_norm_backward(
    grad_output: Array,
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> tuple[Array]:
    """Gradient of `local_response_norm`, see `cross_channel_norm_backward`.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `local_response_norm`, and so the arguments that follow.
        size: As in `local_response_norm`.
        alpha: As in `local_response_norm`.
        beta: As in `local_response_norm`.
        k: As in `local_response_norm`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `local_response_norm`.
        ValueError: As `local_response_norm`, and where the shapes differ.
    """
    window = _Window.torch(size, k, alpha, beta)
    values = _checked(input, 3)
    grad = as_gradient(grad_output, values.shape)
    return (rounded(_gradient(grad, values, window), input.dtype),)


@dataclass(frozen=True)
class _Window:
    """Numbers of channels before and after the current one, and the parameters."""

    before: int
    after: int
    k: float
    alpha: float
    beta: float

    @property
    def size(self) -> int:
        return self.before + 1 + self.after

    @classmethod
    def slide(cls, size: int, k: float, alpha: float, beta: float) -> "_Window":
        width = whole_number("window_channel_size", size, minimum=1)
        return cls((width - 1) // 2, width // 2, *_real_numbers(k, alpha, beta))

    @classmethod
    def torch(cls, size: int, k: float, alpha: float, beta: float) -> "_Window":
        width = whole_number("size", size, minimum=1)
        return cls(width // 2, (width - 1) // 2, *_real_numbers(k, alpha, beta))


def _real_numbers(k: float, alpha: float, beta: float) -> tuple[float, float, float]:
    return real_number("k", k), real_number("alpha", alpha), real_number("beta", beta)


def _checked(input: Array, least_rank: int) -> Float64Array:
    values = as_float64("input", input)
    rule = f"must have at least {least_rank} axes, batch and channel being the first"
    remedy = "Reshape the input"
    require(values.ndim >= least_rank, "input.shape", values.shape, rule, remedy)
    return values


def _sum_over(values: Float64Array, before: int, after: int) -> Float64Array:
    """Sum over the channels from c - before to c + after, as far as they exist."""
    channels = values.shape[1]
    total = np.zeros_like(values)
    for offset in range(-min(before, channels - 1), min(after, channels - 1) + 1):
        target = slice(max(0, -offset), channels - max(0, offset))
        source = slice(max(0, offset), channels + min(0, offset))
        total[:, target] += values[:, source]
    return total


def _base(values: Float64Array, window: _Window) -> Float64Array:
    squares = _sum_over(np.square(values), window.before, window.after)
    return window.k + window.alpha / window.size * squares


def _normalise(values: Float64Array, window: _Window) -> Float64Array:
    return np.asarray(values / _base(values, window) ** window.beta)


def _gradient(grad: Float64Array, values: Float64Array, window: _Window) -> Float64Array:
    base = _base(values, window)
    pulls = grad * values / base ** (window.beta + 1)
    # Channel e depends on c if c lies in e's window; seen from c the window is mirrored.
    pulled = _sum_over(pulls, window.after, window.before)
    factor = 2 * window.alpha * window.beta / window.size
    return np.asarray(grad / base**window.beta - factor * values * pulled)
