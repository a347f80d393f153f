"""Positions of the windows of a convolution or of a pooling, over any number of axes.

Window p reads, for its tap r, the padded input at `stride * p + dilation * r`. For one fixed tap all windows together
read one strided slice of the padded input. So a loop over the taps, with one whole-array operation each, is enough for
forward and backward: the forward reads the slices, the backward adds to them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from svertka.reference.arguments import Pair, require

Place: TypeAlias = tuple[EllipsisType | int | slice, ...]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Windows:
    """Windows over the trailing axes of arrays.

    Attributes:
        extents: The input's spatial extents, unpadded.
        kernel: Taps per axis.
        stride: Step from window to window.
        dilation: Step from tap to tap.
        padding: (low, high) per axis.
        output: Windows per axis.
    """

    extents: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]
    output: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of windows."""
        return math.prod(self.output)

    def taps(self) -> Iterator[tuple[Place, Place]]:
        """Yield for each tap, row-major, two indices of trailing axes.

        The first is the tap's position in the kernel, the second the slice of the padded input that the tap reads over
        all windows.
        """
        for tap in np.ndindex(*self.kernel):
            starts = [r * step for r, step in zip(tap, self.dilation, strict=True)]
            steps = zip(starts, self.output, self.stride, strict=True)
            slices = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in steps]
            yield (..., *tap), (..., *slices)

    def pad(self, array: NDArray[Scalar], value: float = 0) -> NDArray[Scalar]:
        """Pad `array` with `value`, as far as any window reaches."""
        leading = array.ndim - len(self.kernel)
        widths = [(0, 0)] * leading + self._reach()
        return np.pad(array, widths, constant_values=value)

    def crop(self, padded: NDArray[Scalar]) -> NDArray[Scalar]:
        """Undo `pad`."""
        ends = zip(self.padding, self.extents, strict=True)
        inside: Place = (..., *(slice(low, low + size) for (low, _), size in ends))
        return padded[inside]

    def _reach(self) -> list[Pair]:
        """Padding, extended at the end if a window of ceil mode reaches beyond."""
        return [
            (low, max(high, (count - 1) * step + span - extent - low))
            for (low, high), count, step, span, extent in zip(
                self.padding,
                self.output,
                self.stride,
                _spans(self.kernel, self.dilation),
                self.extents,
                strict=True,
            )
        ]


def place_windows(
    argument: str,
    extents: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[Pair, ...],
    ceil_mode: bool = False,
) -> Windows:
    """Place windows over an input.

    Args:
        argument: The name of the user's argument for the kernel's extents.
        extents: The input's spatial extents.
        kernel: Taps per axis.
        stride: Step from window to window.
        dilation: Step from tap to tap.
        padding: (low, high) per axis.
        ceil_mode: Also count a last, partial window, if it starts within the input or the padding before it (torch's
            rule).

    Raises:
        ValueError: An extent is 0, or the kernel is larger than the padded input.
    """
    rule, remedy = "spatial extents must be positive", "Pass a larger input"
    require(min(extents) > 0, "spatial extents of input", extents, rule, remedy)
    padded = [low + n + high for (low, high), n in zip(padding, extents, strict=True)]
    spans = _spans(kernel, dilation)
    output = []
    for size, span, step, (_, high) in zip(padded, spans, stride, padding, strict=True):
        count = (size - span) // step + 1
        partial = ceil_mode and (size - span) % step > 0 and count * step < size - high
        output.append(count + partial)
    rule = f"windows span {spans}, more than the padded input's {tuple(padded)}"
    remedy = "Pass a smaller kernel or dilation, a larger input or more padding"
    require(min(output) > 0, argument, kernel, rule, remedy)
    return Windows(extents, kernel, stride, dilation, padding, tuple(output))


def _spans(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Distance from the first tap to the end of the last, per axis."""
    pairs = zip(kernel, dilation, strict=True)
    return tuple(step * (size - 1) + 1 for size, step in pairs)
