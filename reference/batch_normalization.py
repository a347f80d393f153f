"""Batch normalisation (slide 20), with the square root that the slide lacks.

    y = weight (x - mean) / sqrt(variance + eps) + bias

per channel, over the batch and all positions. In training mean and variance (biased) are the batch's, otherwise the
running estimates. Sums that float32 cannot hold are infinite for input of at most float32, as on a GPU: values of 1e30
have infinite variance and become the bias. Source: Ioffe and Szegedy, arXiv:1502.03167.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from svertka.reference.arguments import complaint, real_number, require
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_float64_with_shape,
    as_gradient,
    held,
    rounded,
)


def batch_norm(
    input: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """Normalise each channel (slide 20); as `torch.nn.functional.batch_norm`.

    In training the running estimates, if given, move in place by the share `momentum` towards the batch's mean and its
    unbiased variance.

    Args:
        input: (N, C, ...); float16, float32 or float64.
        running_mean: (C,); given if and only if `running_var` is.
        running_var: (C,).
        weight: (C,), the scale gamma.
        bias: (C,), the shift beta.
        training: Whether the batch's own statistics are used.
        momentum: Share of the new value in the running estimates.
        eps: Added to the variance, not negative.

    Returns:
        An array of the shape and type of `input`.

    Raises:
        TypeError: An array or a number has the wrong type.
        ValueError: Shapes disagree, an estimate is missing, `eps` is negative, or training sees a single value per
            channel.
    """
    values = as_float64("input", input)
    arguments = (running_mean, running_var, weight, bias, training, momentum, eps)
    return rounded(batch_norm_over(values, *arguments, accumulator=input.dtype), input.dtype)


def batch_norm_over(
    values: Float64Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    accumulator: DTypeLike,
) -> Float64Array:
    """Return `batch_norm` in float64, with sums as `accumulator` holds them."""
    share = real_number("momentum", momentum)
    parts = _Normalised.of(values, running_mean, running_var, weight, bias, training, eps, accumulator)
    if training and parts.count:
        unbiased = parts.variance * parts.count / (parts.count - 1)
        _update(running_mean, parts.mean, share)
        _update(running_var, unbiased, share)
    return np.asarray(parts.scale * parts.values + parts.shift)


def batch_norm_backward(
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
    """Gradients of `batch_norm`; statistics are computed again, running estimates are only read.

    With z the normalised input and g the output's gradient, the input's gradient is weight / sqrt(variance + eps) times
    g, less in training mean(g) + z mean(g z); the weight's is the sum of g z, the bias's the sum of g.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `batch_norm`, and so the arguments that follow.
        running_mean: As in `batch_norm`, with its values before the forward.
        running_var: As in `batch_norm`.
        weight: As in `batch_norm`.
        bias: As in `batch_norm`; only its presence matters.
        training: As in `batch_norm`.
        momentum: Without effect.
        eps: As in `batch_norm`.

    Returns:
        The gradients of input, weight and bias, of their shapes and types; None for a weight or bias that is None.

    Raises:
        TypeError: As `batch_norm`.
        ValueError: As `batch_norm`, and if `grad_output` does not have the output's shape.
    """
    values = as_float64("input", input)
    arguments = (running_mean, running_var, weight, bias, training, momentum, eps)
    grads = batch_norm_gradients(grad_output, values, *arguments, accumulator=input.dtype)
    grad_input, grad_weight, grad_bias = grads
    return (
        rounded(grad_input, input.dtype),
        None if weight is None else rounded(grad_weight, weight.dtype),
        None if bias is None else rounded(grad_bias, bias.dtype),
    )


def batch_norm_gradients(
    grad_output: Array,
    values: Float64Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    accumulator: DTypeLike,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the gradients of input, weight and bias in float64, with sums as `accumulator` holds them."""
    real_number("momentum", momentum)
    parts = _Normalised.of(values, running_mean, running_var, weight, bias, training, eps, accumulator)
    grad = as_gradient(grad_output, parts.values.shape)
    grad_bias = grad.sum(axis=parts.axes, keepdims=True)
    grad_weight = (grad * parts.values).sum(axis=parts.axes, keepdims=True)
    centred = grad
    if training and parts.count:
        centred = grad - (grad_bias + parts.values * grad_weight) / parts.count
    grad_input = np.asarray(parts.scale * parts.inverse_deviation * centred)
    return grad_input, grad_weight.reshape(-1), grad_bias.reshape(-1)


class _Statistics(NamedTuple):
    mean: Float64Array
    variance: Float64Array


@dataclass(frozen=True)
class _Normalised:
    """The checked arguments; statistics and parameters as (1, C, 1, ...).

    Attributes:
        values: The normalised input.
        mean: Mean subtracted.
        variance: Variance divided by, biased.
        inverse_deviation: 1 / sqrt(variance + eps).
        scale: The weight, or 1.
        shift: The bias, or 0.
        axes: The axes that statistics run over.
        count: Values per channel.
    """

    values: Float64Array
    mean: Float64Array
    variance: Float64Array
    inverse_deviation: Float64Array
    scale: Float64Array
    shift: Float64Array
    axes: tuple[int, ...]
    count: int

    @classmethod
    def of(
        cls,
        values: Float64Array,
        running_mean: Array | None,
        running_var: Array | None,
        weight: Array | None,
        bias: Array | None,
        training: bool,
        eps: float,
        accumulator: DTypeLike,
    ) -> "_Normalised":
        rule, remedy = "must have at least 2 axes, (N, C, ...)", "Reshape the input"
        require(values.ndim >= 2, "input.shape", values.shape, rule, remedy)
        epsilon = real_number("eps", eps)
        rule, remedy = "must not be negative", "Pass a small positive float"
        require(epsilon >= 0, "eps", eps, rule, remedy)
        axes = (0, *range(2, values.ndim))
        count = int(np.prod([values.shape[axis] for axis in axes]))
        running = _running(running_mean, running_var, values, training)
        statistics = _moments(values, axes, count, accumulator) if training else running
        with np.errstate(invalid="ignore"):  # The mean may be infinite.
            inverse = 1 / np.sqrt(statistics.variance + epsilon)
            normalised = (values - statistics.mean) * inverse
        return cls(
            normalised,
            statistics.mean,
            statistics.variance,
            inverse,
            _per_channel("weight", weight, values, 1.0),
            _per_channel("bias", bias, values, 0.0),
            axes,
            count,
        )


def _moments(values: Float64Array, axes: tuple[int, ...], count: int, accumulator: DTypeLike) -> _Statistics:
    """Return the batch's mean and biased variance; 0 and 0 for an empty batch."""
    rule = "training needs more than one value per channel"
    remedy = "Pass a larger batch, or training=False"
    require(count != 1, "input.shape", values.shape, rule, remedy)
    divisor = max(count, 1)
    mean = held(values.sum(axis=axes, keepdims=True), accumulator) / divisor
    with np.errstate(invalid="ignore"):
        squares = np.square(values - mean).sum(axis=axes, keepdims=True)
    variance = held(squares, accumulator) / divisor
    return _Statistics(mean, variance)


def _running(mean: Array | None, variance: Array | None, values: Float64Array, training: bool) -> _Statistics:
    """Check the running estimates, and return them in the statistics' layout."""
    for name, array, other, present in (
        ("running_mean", mean, "running_var", variance),
        ("running_var", variance, "running_mean", mean),
    ):
        rule = f"must be given where {other} is, and where training is False"
        remedy = "Pass both estimates, or neither and training=True"
        needed = present is not None or not training
        require(array is not None or not needed, name, array, rule, remedy)
        if array is not None and training and not isinstance(array, np.ndarray):
            rule, remedy = "must be an array, to be updated in place", "Use np.zeros"
            raise TypeError(complaint(name, array, rule, remedy))
    return _Statistics(
        _per_channel("running_mean", mean, values, 0.0),
        _per_channel("running_var", variance, values, 1.0),
    )


def _per_channel(argument: str, array: Array | None, values: Float64Array, default: float) -> Float64Array:
    """Return a parameter as (1, C, 1, ...), filled with `default` if it is None."""
    channels = values.shape[1]
    if array is None:
        checked = np.full(channels, default)
    else:
        reason = "one value per channel"
        checked = as_float64_with_shape(argument, array, (channels,), reason)
    return checked.reshape(1, channels, *[1] * (values.ndim - 2))


def _update(running: Array | None, value: Float64Array, share: float) -> None:
    """Move a running estimate, where there is one, in place towards `value`."""
    if running is None:
        return
    moved = (1 - share) * running.astype(np.float64) + share * value.reshape(-1)
    running[...] = rounded(moved, running.dtype)
