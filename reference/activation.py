"""Pointwise and row-wise activations: ReLU (slide 11), softmax (slide 18)."""

import numpy as np

from svertka.reference.arguments import axis_number
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_gradient,
    rounded,
)


def relu(input: Array) -> Array:
    """Return max(0, x) (slide 11); as `torch.nn.functional.relu`.

    Args:
        input: Any shape; float16, float32 or float64. NaN stays NaN.

    Returns:
        The rectified values, of the shape and type of `input`.

    Raises:
        TypeError: The input is not of a float type.
    """
    return rounded(np.maximum(as_float64("input", input), 0), input.dtype)


def relu_backward(grad_output: Array, input: Array) -> tuple[Array]:
    """Gradient of `relu`: 0 where x <= 0, else the output's gradient; so relu'(0) = 0, and it passes where x is NaN.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `relu`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: An array is not of a float type.
        ValueError: The shapes differ.
    """
    values = as_float64("input", input)
    grad = as_gradient(grad_output, values.shape)
    return (rounded(np.where(values <= 0, 0.0, grad), input.dtype),)


def softmax(input: Array, dim: int) -> Array:
    """Return exp(x) / sum of exp(x) over `dim` (slide 18).

    As `torch.nn.functional.softmax`. The maximum is subtracted first, which avoids overflow and does not change the
    result.

    Args:
        input: Any shape; float16, float32 or float64.
        dim: The axis of the sum; negative numbers count from the end.

    Returns:
        The probabilities, of the shape and type of `input`; NaN where a row holds NaN or +inf, or nothing but -inf.

    Raises:
        TypeError: The input is not of a float type, or `dim` not an integer.
        ValueError: `input` has no axis `dim`.
    """
    values, axis = _rows(input, dim)
    probabilities = softmax_over(values, axis)
    return rounded(probabilities.reshape(input.shape), input.dtype)


def softmax_backward(grad_output: Array, input: Array, dim: int) -> tuple[Array]:
    """Gradient of `softmax`: y (g - sum of g y).

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `softmax`.
        dim: As in `softmax`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `softmax`.
        ValueError: As `softmax`, and where the shapes differ.
    """
    values, axis = _rows(input, dim)
    grad = as_gradient(grad_output, input.shape).reshape(values.shape)
    output = softmax_over(values, axis)
    mean = (grad * output).sum(axis=axis, keepdims=True)
    return (rounded((output * (grad - mean)).reshape(input.shape), input.dtype),)


def log_softmax(input: Array, dim: int) -> Array:
    """Return the logarithm of `softmax`; as `torch.nn.functional.log_softmax`.

    Args:
        input: Any shape; float16, float32 or float64.
        dim: The axis of the sum; negative numbers count from the end.

    Returns:
        Logarithms of probabilities, of the shape and type of `input`.

    Raises:
        TypeError: The input is not of a float type, or `dim` not an integer.
        ValueError: `input` has no axis `dim`.
    """
    values, axis = _rows(input, dim)
    return rounded(log_softmax_over(values, axis).reshape(input.shape), input.dtype)


def log_softmax_backward(grad_output: Array, input: Array, dim: int) -> tuple[Array]:
    """Gradient of `log_softmax`: g - softmax(x) times the sum of g.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `log_softmax`.
        dim: As in `log_softmax`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `log_softmax`.
        ValueError: As `log_softmax`, and where the shapes differ.
    """
    values, axis = _rows(input, dim)
    grad = as_gradient(grad_output, input.shape).reshape(values.shape)
    output = softmax_over(values, axis)
    total = grad.sum(axis=axis, keepdims=True)
    return (rounded((grad - output * total).reshape(input.shape), input.dtype),)


def softmax_over(values: Float64Array, axis: int) -> Float64Array:
    """Return softmax in float64."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(_shifted(values, axis))
        return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def log_softmax_over(values: Float64Array, axis: int) -> Float64Array:
    """Return the logarithm of softmax in float64."""
    shifted = _shifted(values, axis)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):  # A row of no elements.
        return np.asarray(shifted - np.log(total))


def _shifted(values: Float64Array, axis: int) -> Float64Array:
    """Subtract the maximum over `axis`; infinite maxima make NaN, as in PyTorch."""
    with np.errstate(invalid="ignore"):
        maximum = values.max(axis=axis, keepdims=True, initial=-np.inf)
        return np.asarray(values - maximum)


def _rows(input: Array, dim: int) -> tuple[Float64Array, int]:
    """Return the input with at least one axis; a scalar becomes a row of one element."""
    values = np.atleast_1d(as_float64("input", input))
    return values, axis_number("dim", dim, values.ndim)
