"""Layers computed one after the other, each as in the textbook; a fused kernel must give the same results.

Everything between the parts stays in float64; the result is rounded once.
"""

from typing import Any

import numpy as np

from svertka.reference.activation import relu, relu_backward
from svertka.reference.arguments import Padding, Sizes
from svertka.reference.arrays import Array, as_float64, as_float64_with_shape, rounded
from svertka.reference.batch_normalization import batch_norm_gradients, batch_norm_over
from svertka.reference.channel_normalization import cross_channel_norm, cross_channel_norm_backward
from svertka.reference.convolution import conv2d, conv2d_backward


def conv2d_relu(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """`relu` of `conv2d`, slides 3 to 11.

    Args:
        input: As in `conv2d`.
        weight: As in `conv2d`.
        bias: As in `conv2d`.
        stride: As in `conv2d`.
        padding: As in `conv2d`.
        dilation: As in `conv2d`.
        groups: As in `conv2d`.

    Returns:
        As `conv2d`.

    Raises:
        TypeError: As `conv2d`.
        ValueError: As `conv2d`.
    """
    options: Any = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    values = conv2d(*_doubled(input=input, weight=weight, bias=bias), **options)
    return rounded(relu(values), input.dtype)


def conv2d_relu_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array | None]:
    """Gradients of `conv2d_relu`: those of the convolution, for the output's gradient where its result is positive.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `conv2d`.
        weight: As in `conv2d`.
        bias: As in `conv2d`.
        stride: As in `conv2d`.
        padding: As in `conv2d`.
        dilation: As in `conv2d`.
        groups: As in `conv2d`.

    Returns:
        The gradients of input, weight and bias, of their shapes and types; None for a bias that is None.

    Raises:
        TypeError: As `conv2d`.
        ValueError: As `conv2d`, and if `grad_output` does not have the output's shape.
    """
    tensors = _doubled(input=input, weight=weight, bias=bias)
    options: Any = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    values = conv2d(*tensors, **options)
    (grad,) = relu_backward(as_float64("grad_output", grad_output), values)
    found = conv2d_backward(grad, *tensors, **options)
    return _typed(found, (input, weight, bias))  # type: ignore[return-value]


def batch_norm_relu(
    input: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """`relu` of `batch_norm`, slides 11 and 20; running estimates are updated as in `batch_norm`.

    Args:
        input: As in `batch_norm`.
        running_mean: As in `batch_norm`.
        running_var: As in `batch_norm`.
        weight: As in `batch_norm`.
        bias: As in `batch_norm`.
        training: As in `batch_norm`.
        momentum: As in `batch_norm`.
        eps: As in `batch_norm`.

    Returns:
        As `batch_norm`.

    Raises:
        TypeError: As `batch_norm`.
        ValueError: As `batch_norm`.
    """
    rest = (running_mean, running_var, weight, bias, training, momentum, eps)
    values = as_float64("input", input)
    return rounded(relu(batch_norm_over(values, *rest, accumulator=input.dtype)), input.dtype)


def batch_norm_relu_backward(
    grad_output: Array,
    input: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `batch_norm_relu`; running estimates are only read.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `batch_norm`.
        running_mean: As in `batch_norm`.
        running_var: As in `batch_norm`.
        weight: As in `batch_norm`.
        bias: As in `batch_norm`.
        training: As in `batch_norm`.
        momentum: As in `batch_norm`.
        eps: As in `batch_norm`.

    Returns:
        The gradients of input, weight and bias, of their shapes and types; None for a weight or bias that is None.

    Raises:
        TypeError: As `batch_norm`.
        ValueError: As `batch_norm`, and if `grad_output` does not have the output's shape.
    """
    options: Any = {"training": training, "momentum": momentum, "eps": eps, "accumulator": input.dtype}
    tensors = _doubled(input=input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    (grad,) = relu_backward(as_float64("grad_output", grad_output), batch_norm_over(*_copied(tensors), **options))
    return _typed(batch_norm_gradients(grad, *tensors, **options), (input, weight, bias))  # type: ignore[return-value]


def batch_norm_add_relu(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    residual: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """`relu` of `batch_norm` and a residual, as in residual networks (He et al., arXiv:1512.03385).

    Args:
        input: As in `batch_norm`.
        running_mean: As in `batch_norm`.
        running_var: As in `batch_norm`.
        residual: The tensor that is added, of the input's shape.
        weight: As in `batch_norm`.
        bias: As in `batch_norm`.
        training: As in `batch_norm`.
        momentum: As in `batch_norm`.
        eps: As in `batch_norm`.

    Returns:
        As `batch_norm`.

    Raises:
        TypeError: As `batch_norm`.
        ValueError: As `batch_norm`, and if `residual` does not have the input's shape.
    """
    rest = (running_mean, running_var, weight, bias, training, momentum, eps)
    values = as_float64("input", input)
    added = as_float64_with_shape("residual", residual, values.shape, "the shape of input")
    return rounded(relu(batch_norm_over(values, *rest, accumulator=input.dtype) + added), input.dtype)


def batch_norm_add_relu_backward(
    grad_output: Array,
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    residual: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradients of `batch_norm_add_relu`; running estimates are only read.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `batch_norm_add_relu`.
        running_mean: As in `batch_norm_add_relu`.
        running_var: As in `batch_norm_add_relu`.
        residual: As in `batch_norm_add_relu`.
        weight: As in `batch_norm_add_relu`.
        bias: As in `batch_norm_add_relu`.
        training: As in `batch_norm_add_relu`.
        momentum: As in `batch_norm_add_relu`.
        eps: As in `batch_norm_add_relu`.

    Returns:
        The gradients of input, residual, weight and bias, of their shapes and types; None for a weight or bias that is
        None.

    Raises:
        TypeError: As `batch_norm`.
        ValueError: As `batch_norm_add_relu`, and if `grad_output` does not have the output's shape.
    """
    options: Any = {"training": training, "momentum": momentum, "eps": eps, "accumulator": input.dtype}
    tensors = _doubled(input=input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    added = as_float64_with_shape("residual", residual, input.shape, "the shape of input")
    sums = batch_norm_over(*_copied(tensors), **options) + added
    (grad,) = relu_backward(as_float64("grad_output", grad_output), sums)
    grad_input, grad_weight, grad_bias = batch_norm_gradients(grad, *tensors, **options)
    found = (grad_input, grad, grad_weight, grad_bias)
    return _typed(found, (input, residual, weight, bias))  # type: ignore[return-value]


def relu_cross_channel_norm(
    input: Array, window_channel_size: int, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> Array:
    """`cross_channel_norm` of `relu`, slides 11 and 21.

    Args:
        input: As in `cross_channel_norm`.
        window_channel_size: As in `cross_channel_norm`.
        k: As in `cross_channel_norm`.
        alpha: As in `cross_channel_norm`.
        beta: As in `cross_channel_norm`.

    Returns:
        As `cross_channel_norm`.

    Raises:
        TypeError: As `cross_channel_norm`.
        ValueError: As `cross_channel_norm`.
    """
    positive = relu(as_float64("input", input))
    return rounded(cross_channel_norm(positive, window_channel_size, k, alpha, beta), input.dtype)


def relu_cross_channel_norm_backward(
    grad_output: Array,
    input: Array,
    window_channel_size: int,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
) -> tuple[Array]:
    """Gradient of `relu_cross_channel_norm`.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `cross_channel_norm`.
        window_channel_size: As in `cross_channel_norm`.
        k: As in `cross_channel_norm`.
        alpha: As in `cross_channel_norm`.
        beta: As in `cross_channel_norm`.

    Returns:
        The gradient of input, of its shape and type.

    Raises:
        TypeError: As `cross_channel_norm`.
        ValueError: As `cross_channel_norm`, and if `grad_output` does not have the output's shape.
    """
    values, grad = as_float64("input", input), as_float64("grad_output", grad_output)
    (between,) = cross_channel_norm_backward(grad, relu(values), window_channel_size, k, alpha, beta)
    return (rounded(relu_backward(between, values)[0], input.dtype),)


def _doubled(**arrays: Array | None) -> list[Any]:
    """The arrays in float64, None where there is none."""
    return [None if array is None else as_float64(name, array) for name, array in arrays.items()]


def _copied(arrays: list[Any]) -> list[Any]:
    """Copies, for a function that updates some in place."""
    return [None if array is None else np.array(array) for array in arrays]


def _typed(found: tuple[Array | None, ...], likes: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    """Gradients in the types of the arrays to which they belong."""
    pairs = zip(found, likes, strict=True)
    return tuple(None if grad is None or like is None else rounded(grad, like.dtype) for grad, like in pairs)
