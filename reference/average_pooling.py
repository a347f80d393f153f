"""Average pooling in one, two and three dimensions (slides 12-16).

    y[n, c, p] = (sum over r of x[n, c, s p + r - pad]) / divisor[p]

The divisor counts the window's positions within the padded input, or, without `count_include_pad`, within the input;
positions that ceil mode adds never count. `divisor_override` replaces it. Shapes: input and output both (N, C, *) or
both (C, *).
"""

import functools

import numpy as np

from svertka.reference.arguments import Sizes, require, whole_number
from svertka.reference.arrays import Array, Float64Array, as_gradient, rounded
from svertka.reference.pooling import pooling_windows
from svertka.reference.windows import Windows


def avg_pool1d(
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Average over 1 axis; as `torch.nn.functional.avg_pool1d`, see `avg_pool2d`."""
    windowed = pooling_windows(1, input, kernel_size, stride, padding, 1, ceil_mode)
    return _average(*windowed, input, count_include_pad, None)


def avg_pool2d(
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Average over 2 axes (slides 12-16); as `torch.nn.functional.avg_pool2d`.

    Args:
        input: (N, C, H, W) or (C, H, W); float16, float32 or float64.
        kernel_size: Extents of a window, an int or one per axis.
        stride: Step from window to window; None stands for `kernel_size`.
        padding: At both ends of each axis, at most half of the kernel.
        ceil_mode: Whether a last, partial window counts.
        count_include_pad: Whether the divisor counts padding.
        divisor_override: A divisor for all windows, not 0.

    Returns:
        The averages, of the type of `input`.

    Raises:
        TypeError: The input is not of a float type, or a size not an integer.
        ValueError: Wrong rank, a size too small, too much padding, a kernel larger than the padded input, or a divisor
            of 0.
    """
    windowed = pooling_windows(2, input, kernel_size, stride, padding, 1, ceil_mode)
    return _average(*windowed, input, count_include_pad, divisor_override)


def avg_pool3d(
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Average over 3 axes; as `torch.nn.functional.avg_pool3d`, see `avg_pool2d`."""
    windowed = pooling_windows(3, input, kernel_size, stride, padding, 1, ceil_mode)
    return _average(*windowed, input, count_include_pad, divisor_override)


def avg_pool1d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array]:
    """Gradient of `avg_pool1d`, see `avg_pool2d_backward`."""
    windowed = pooling_windows(1, input, kernel_size, stride, padding, 1, ceil_mode)
    return _gradient(grad_output, *windowed, input, count_include_pad, None)


def avg_pool2d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Array]:
    """Gradient of `avg_pool2d`: each window gives its taps equal shares.

    Args:
        grad_output: Gradient of the averages, of their shape.
        input: As in `avg_pool2d`, and so the arguments that follow.
        kernel_size: As in `avg_pool2d`.
        stride: As in `avg_pool2d`.
        padding: As in `avg_pool2d`.
        ceil_mode: As in `avg_pool2d`.
        count_include_pad: As in `avg_pool2d`.
        divisor_override: As in `avg_pool2d`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `avg_pool2d`.
        ValueError: As `avg_pool2d`, and where `grad_output` has another shape.
    """
    windowed = pooling_windows(2, input, kernel_size, stride, padding, 1, ceil_mode)
    return _gradient(grad_output, *windowed, input, count_include_pad, divisor_override)


def avg_pool3d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Array]:
    """Gradient of `avg_pool3d`, see `avg_pool2d_backward`."""
    windowed = pooling_windows(3, input, kernel_size, stride, padding, 1, ceil_mode)
    return _gradient(grad_output, *windowed, input, count_include_pad, divisor_override)


def _average(
    values: Float64Array,
    windows: Windows,
    input: Array,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    divisors = _divisors(windows, count_include_pad, divisor_override)
    padded = windows.pad(values)
    sums = np.zeros((*values.shape[: -len(windows.kernel)], *windows.output))
    for _, place in windows.taps():
        sums += padded[place]
    return rounded(sums / divisors, input.dtype)


def _gradient(
    grad_output: Array,
    values: Float64Array,
    windows: Windows,
    input: Array,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[Array]:
    divisors = _divisors(windows, count_include_pad, divisor_override)
    shape = (*values.shape[: -len(windows.kernel)], *windows.output)
    parts = as_gradient(grad_output, shape) / divisors
    grad_padded = windows.pad(np.zeros_like(values))
    for _, place in windows.taps():
        grad_padded[place] += parts
    return (rounded(windows.crop(grad_padded), input.dtype),)


def _divisors(windows: Windows, count_include_pad: bool, divisor_override: int | None) -> Float64Array:
    """Return the divisor of every window, in the windows' shape or as a scalar."""
    if divisor_override is not None:
        divisor = whole_number("divisor_override", divisor_override)
        rule, remedy = "must not be 0", "Pass another int, or None"
        require(divisor != 0, "divisor_override", divisor_override, rule, remedy)
        return np.array(float(divisor))
    counts = []
    for axis, (low, high) in enumerate(windows.padding):
        first, end = (-low, high) if count_include_pad else (0, 0)
        starts = windows.stride[axis] * np.arange(windows.output[axis]) - low
        stops = np.minimum(starts + windows.kernel[axis], windows.extents[axis] + end)
        counts.append(stops - np.maximum(starts, first))
    return np.asarray(functools.reduce(np.multiply.outer, counts), dtype=np.float64)
