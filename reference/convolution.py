r"""Convolution in one, two and three dimensions (slides 3-10).

As on the slides and in PyTorch this is cross-correlation:

    y[n, k, p] = bias[k] + sum over c, r of weight[k, c, r] x[n, c, s p + d r - pad]

with multi-indices p (window) and r (tap), stride s and dilation d; with groups, c runs over the channels of k's group.
Shapes, with spatial axes written `*`: input (N, C, *) or (C, *), weight (K, C / groups, *), bias (K,), output (N, K, *)
or (K, *).

Padding is an int, ints per axis, 'valid', 'same', or (low, high) pairs per axis. The last form is our extension; a
single pair must be nested too: ((low, high),).

Results have the type of `input`; a gradient has the type of the array it belongs to. The gradients are the textbook's.
With g the output's gradient: the input's gradient adds weight[:, :, r]^T g at the positions that tap r read, the
weight's gradient for tap r is g x^T over the same positions, the bias's gradient is the sum of g.
"""

from dataclasses import dataclass

import numpy as np

from svertka.reference.arguments import (
    Padding,
    Sizes,
    padding_pairs,
    per_axis,
    require,
    whole_number,
)
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64_with_rank,
    as_float64_with_shape,
    as_gradient,
    rounded,
)
from svertka.reference.windows import Windows, place_windows


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Convolve over one axis; as `torch.nn.functional.conv1d`, see `conv2d`."""
    operands = _Operands.of(1, input, weight, bias, stride, padding, dilation, groups)
    return rounded(_convolve(operands), input.dtype)


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Convolve over two axes (slides 3-10); as `torch.nn.functional.conv2d`.

    Args:
        input: (N, C, H, W) or (C, H, W); float16, float32 or float64.
        weight: (K, C / groups, R, S).
        bias: (K,).
        stride: Step from window to window, an int or one per axis.
        padding: Zeros around the input, see the docstring of this module.
        dilation: Step from tap to tap, an int or one per axis.
        groups: Number of groups into which C and K are divided.

    Returns:
        (N, K, P, Q) or (K, P, Q), of the type of `input`.

    Raises:
        TypeError: An array is not of a float type, or a size not an integer.
        ValueError: Ranks, channels or groups disagree, a stride, dilation or padding is too small, or the kernel is
            larger than the padded input.
    """
    operands = _Operands.of(2, input, weight, bias, stride, padding, dilation, groups)
    return rounded(_convolve(operands), input.dtype)


def conv3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Convolve over three axes; as `torch.nn.functional.conv3d`, see `conv2d`."""
    operands = _Operands.of(3, input, weight, bias, stride, padding, dilation, groups)
    return rounded(_convolve(operands), input.dtype)


Gradients = tuple[Array, Array, Array | None]


def conv1d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Gradients:
    """Gradients of `conv1d`, see `conv2d_backward`."""
    operands = _Operands.of(1, input, weight, bias, stride, padding, dilation, groups)
    return _gradients(grad_output, operands, input, weight, bias)


def conv2d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Gradients:
    """Gradients of `conv2d`.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `conv2d`, and so the arguments that follow.
        weight: As in `conv2d`.
        bias: As in `conv2d`; only its presence matters.
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
    operands = _Operands.of(2, input, weight, bias, stride, padding, dilation, groups)
    return _gradients(grad_output, operands, input, weight, bias)


def conv3d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Gradients:
    """Gradients of `conv3d`, see `conv2d_backward`."""
    operands = _Operands.of(3, input, weight, bias, stride, padding, dilation, groups)
    return _gradients(grad_output, operands, input, weight, bias)


@dataclass(frozen=True)
class _Operands:
    """The checked arguments of a convolution, with the group as an axis of its own.

    Attributes:
        input: (N, G, C / G, *).
        weight: (G, K / G, C / G, *).
        bias: (K,).
        windows: The windows over the spatial axes.
        output_shape: The shape of the output as users see it.
    """

    input: Float64Array
    weight: Float64Array
    bias: Float64Array | None
    windows: Windows
    output_shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        rank: int,
        input: Array,
        weight: Array,
        bias: Array | None,
        stride: Sizes,
        padding: Padding,
        dilation: Sizes,
        groups: int,
    ) -> "_Operands":
        values = as_float64_with_rank("input", input, rank + 1, rank + 2)
        filters = as_float64_with_rank("weight", weight, rank + 2)
        channels, maps = values.shape[-rank - 1], filters.shape[0]
        groups = _checked_groups(groups, channels, filters.shape)
        offset = None
        if bias is not None:
            reason = "one value per output channel"
            offset = as_float64_with_shape("bias", bias, (maps,), reason)
        windows = _windows(values.shape[-rank:], filters.shape[2:], stride, padding, dilation)
        batch = values.shape[0] if values.ndim == rank + 2 else 1
        inside = channels // groups
        return cls(
            values.reshape(batch, groups, inside, *windows.extents),
            filters.reshape(groups, maps // groups, inside, *windows.kernel),
            offset,
            windows,
            (*values.shape[: -rank - 1], maps, *windows.output),
        )


def _checked_groups(groups: object, channels: int, weight_shape: tuple[int, ...]) -> int:
    count = whole_number("groups", groups, minimum=1)
    for owner, amount in (("input", channels), ("weight", weight_shape[0])):
        rule = f"must divide the {amount} channels that {owner} has"
        remedy = "Pass a common divisor of input and output channels"
        require(amount % count == 0, "groups", groups, rule, remedy)
    rule = f"axis 1 must have {channels // count} = {channels} channels / {count} groups"
    remedy = "Match weight, input and groups"
    matches = weight_shape[1] == channels // count
    require(matches, "weight.shape", weight_shape, rule, remedy)
    return count


def _windows(
    extents: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
) -> Windows:
    rule, remedy = "a kernel must have at least one tap", "Pass a larger weight"
    require(min(kernel) > 0, "kernel size of weight", kernel, rule, remedy)
    rank = len(extents)
    strides = per_axis("stride", stride, rank)
    dilations = per_axis("dilation", dilation, rank)
    pairs = padding_pairs(padding, kernel, strides, dilations)
    return place_windows("kernel size of weight", extents, kernel, strides, dilations, pairs)


def _columns(array: Float64Array, count: int) -> Float64Array:
    """Flatten the spatial axes of (N, G, C, *) into one of extent `count`."""
    return array.reshape(*array.shape[:3], count)


def _convolve(operands: _Operands) -> Float64Array:
    weight, windows = operands.weight, operands.windows
    padded = windows.pad(operands.input)
    batch, groups, maps = len(padded), *weight.shape[:2]
    output = np.zeros((batch, groups, maps, windows.count))
    for tap, place in windows.taps():
        output += weight[tap] @ _columns(padded[place], windows.count)
    if operands.bias is not None:
        output += operands.bias.reshape(groups, maps, 1)
    return output.reshape(operands.output_shape)


def _gradients(
    grad_output: Array,
    operands: _Operands,
    input: Array,
    weight: Array,
    bias: Array | None,
) -> Gradients:
    filters, windows = operands.weight, operands.windows
    grad = as_gradient(grad_output, operands.output_shape)
    batch, groups, maps = len(operands.input), *filters.shape[:2]
    grad = grad.reshape(batch, groups, maps, windows.count)
    padded = windows.pad(operands.input)
    grad_padded, grad_weight = np.zeros_like(padded), np.zeros_like(filters)
    for tap, place in windows.taps():
        read = padded[place]
        grad_read = filters[tap].swapaxes(-1, -2) @ grad
        grad_padded[place] += grad_read.reshape(read.shape)
        products = grad @ _columns(read, windows.count).swapaxes(-1, -2)
        grad_weight[tap] = products.sum(axis=0)
    grad_input = windows.crop(grad_padded).reshape(input.shape)
    grad_bias = None
    if bias is not None:
        grad_bias = rounded(grad.sum(axis=(0, 3)).reshape(bias.shape), bias.dtype)
    return (
        rounded(grad_input, input.dtype),
        rounded(grad_weight.reshape(weight.shape), weight.dtype),
        grad_bias,
    )
