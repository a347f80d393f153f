"""Shared code of maximum and average pooling: the checks and the positions of their windows."""

from svertka.reference.arguments import Sizes, per_axis, require
from svertka.reference.arrays import Array, Float64Array, as_float64_with_rank
from svertka.reference.windows import Windows, place_windows


def pooling_windows(
    rank: int,
    input: Array,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> tuple[Float64Array, Windows]:
    """Check the arguments of a pooling over `rank` axes, and place its windows.

    Args:
        rank: Number of spatial axes.
        input: (N, C, *) or (C, *).
        kernel_size: Extents of a window, an int or one per axis.
        stride: Step from window to window; None stands for `kernel_size`.
        padding: At both ends of each axis, at most half of the kernel.
        dilation: Step from tap to tap.
        ceil_mode: Whether a last, partial window counts.

    Returns:
        The input in float64, and the windows.

    Raises:
        TypeError: The input is not of a float type, or a size not an integer.
        ValueError: Wrong rank, a size too small, too much padding, or a kernel larger than the padded input.
    """
    values = as_float64_with_rank("input", input, rank + 1, rank + 2)
    kernel = per_axis("kernel_size", kernel_size, rank)
    strides = kernel if stride is None else per_axis("stride", stride, rank)
    both_ends = per_axis("padding", padding, rank, minimum=0)
    half = tuple(size // 2 for size in kernel)
    require(
        all(end <= limit for end, limit in zip(both_ends, half, strict=True)),
        "padding",
        padding,
        f"must be at most half of the kernel, {half} for kernel_size={kernel_size!r}",
        "Pad the input beforehand, or pass less padding or a larger kernel",
    )
    windows = place_windows(
        "kernel_size",
        values.shape[-rank:],
        kernel,
        strides,
        per_axis("dilation", dilation, rank),
        tuple((end, end) for end in both_ends),
        ceil_mode,
    )
    return values, windows
