"""Maximum pooling in one, two and three dimensions (slides 12-16).

    y[n, c, p] = max over r of x[n, c, s p + d r - pad]

Conventions: padding is never the maximum; of equal maxima the first in window order (row-major) is taken, and gets the
gradient; NaN is larger than every number, and of several NaNs the last is taken, as in PyTorch. A window that lies
completely in padding, which is possible with a dilation, gives -inf with index -1 and passes no gradient.

Shapes: input and output both (N, C, *) or both (C, *). Indices are int64 and count row-major within the input's spatial
axes, as in PyTorch.
"""

from typing import TypeAlias

import numpy as np

from svertka.reference.arguments import Sizes
from svertka.reference.arrays import (
    Array,
    Float64Array,
    IndexArray,
    as_gradient,
    rounded,
)
from svertka.reference.pooling import pooling_windows
from svertka.reference.windows import Windows

Pooled: TypeAlias = Array | tuple[Array, IndexArray]


def max_pool1d(
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Pool over one axis; as `torch.nn.functional.max_pool1d`, see `max_pool2d`."""
    windowed = pooling_windows(1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(*windowed, input, return_indices)


def max_pool2d(
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Pool over two axes (slides 12-16); as `torch.nn.functional.max_pool2d`.

    Args:
        input: (N, C, H, W) or (C, H, W); float16, float32 or float64.
        kernel_size: Extents of a window, an int or one per axis.
        stride: Step from window to window; None stands for `kernel_size`.
        padding: At both ends of each axis, at most half of the kernel.
        dilation: Step from tap to tap.
        ceil_mode: Whether a last, partial window counts.
        return_indices: Whether to return the indices of the maxima as well.

    Returns:
        The maxima, of the type of `input`; with `return_indices` also their int64 indices.

    Raises:
        TypeError: The input is not of a float type, or a size not an integer.
        ValueError: Wrong rank, a size too small, too much padding, or a kernel larger than the padded input.
    """
    windowed = pooling_windows(2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(*windowed, input, return_indices)


def max_pool3d(
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Pool over three axes; as `torch.nn.functional.max_pool3d`, see `max_pool2d`."""
    windowed = pooling_windows(3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(*windowed, input, return_indices)


def max_pool1d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Array]:
    """Gradient of `max_pool1d`, see `max_pool2d_backward`."""
    windowed = pooling_windows(1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _gradient(grad_output, *windowed, input)


def max_pool2d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Array]:
    """Gradient of `max_pool2d`: each window's gradient goes to its maximum.

    Args:
        grad_output: Gradient of the maxima, of their shape.
        input: As in `max_pool2d`, and so the arguments that follow.
        kernel_size: As in `max_pool2d`.
        stride: As in `max_pool2d`.
        padding: As in `max_pool2d`.
        dilation: As in `max_pool2d`.
        ceil_mode: As in `max_pool2d`.
        return_indices: Without effect; present so that arguments match the forward's.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `max_pool2d`.
        ValueError: As `max_pool2d`, and if `grad_output` does not have the maxima's shape.
    """
    windowed = pooling_windows(2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _gradient(grad_output, *windowed, input)


def max_pool3d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Array]:
    """Gradient of `max_pool3d`, see `max_pool2d_backward`."""
    windowed = pooling_windows(3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _gradient(grad_output, *windowed, input)


def _winners(values: Float64Array, windows: Windows) -> tuple[Float64Array, IndexArray]:
    """Return the maximum of every window, and its index in the input's plane."""
    numbers = np.arange(np.prod(windows.extents), dtype=np.int64)
    positions = windows.pad(numbers.reshape(windows.extents), -1)
    padded = windows.pad(values, -np.inf)
    leading = values.shape[: -len(windows.kernel)]
    best = np.full((*leading, *windows.output), -np.inf)
    index = np.full(best.shape, -1, dtype=np.int64)
    for _, place in windows.taps():
        value, position = padded[place], positions[place]
        greater = (value > best) | np.isnan(value)
        # Padding is -inf with index -1, so it never replaces an element.
        wins = greater | (index < 0)
        best, index = np.where(wins, value, best), np.where(wins, position, index)
    return best, index


def _pooled(values: Float64Array, windows: Windows, input: Array, return_indices: bool) -> Pooled:
    best, index = _winners(values, windows)
    maxima = rounded(best, input.dtype)
    return (maxima, index) if return_indices else maxima


def _gradient(grad_output: Array, values: Float64Array, windows: Windows, input: Array) -> tuple[Array]:
    _, index = _winners(values, windows)
    grad = as_gradient(grad_output, index.shape)
    extent = int(np.prod(windows.extents))
    planes = int(np.prod(index.shape[: -len(windows.kernel)]))
    # The plane gets one extra position at the end, to which index -1 (no maximum) refers.
    totals = np.zeros((planes, extent + 1))
    rows = np.arange(planes)[:, np.newaxis]
    flat = (planes, windows.count)
    np.add.at(totals, (rows, index.reshape(flat)), grad.reshape(flat))
    return (rounded(totals[:, :extent].reshape(input.shape), input.dtype),)
