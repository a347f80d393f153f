"""Spatial axes and the windows over them, for layers of one, two and three dimensions.

The letters are CUTLASS's: input ``d h w``, output ``z p q``, kernel ``t r s``. A layer of rank 2 uses the last two of
each, a layer of rank 1 the last one, so that a formula is written once and read at any rank.

Input: the rank. Output: ``Window``s, one per spatial axis, from which a layer builds indices, extents and rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Expr, Ge, Integer, Le, Symbol

from svertka.spec.definition import Rule
from svertka.spec.notation import FloorDiv, Index, axis, boolean, integer, minimum

__all__ = ["Window", "names", "spatial_windows"]

_LETTERS = (
    ("d", "z", "t", "depth"),
    ("h", "p", "r", "height"),
    ("w", "q", "s", "width"),
)


@dataclass(frozen=True)
class Window:
    """A window that slides along one spatial axis.

    Attributes:
        input: index along the input.
        output: index along the output, one per window.
        kernel: index within the window.
        stride: step from window to window.
        dilation: step from element to element of a window.
        low: padding before the first element.
        high: padding after the last element; equal to ``low`` for pooling.
    """

    input: Index
    output: Index
    kernel: Index
    stride: Symbol
    dilation: Expr
    low: Symbol
    high: Symbol

    @property
    def place(self) -> Expr:
        """Position of the window's element in the input; a position outside is padding."""
        return self.stride * self.output + self.dilation * self.kernel - self.low

    @property
    def span(self) -> Expr:
        """Number of elements from a window's first to its last."""
        return self.dilation * (self.kernel.extent - 1) + 1

    @property
    def padded(self) -> Expr:
        """Extent of the padded input."""
        return self.input.extent + self.low + self.high

    @property
    def windows(self) -> Expr:
        """Number of windows in the padded input."""
        return FloorDiv(self.padded - self.span, self.stride) + 1

    @property
    def windows_or_more(self) -> Expr:
        """With ``ceil_mode`` a window may extend beyond the end if it starts in the input or before it."""
        ceil_mode = boolean("ceil_mode")
        enough = FloorDiv(self.padded - self.span + ceil_mode * (self.stride - 1), self.stride)
        starting = FloorDiv(self.input.extent + self.low - 1, self.stride)
        return minimum(enough, starting) + 1

    def fits(self, count: Expr) -> Rule:
        """The rule that there is at least one window."""
        return Rule(
            Ge(count, 1),
            "input",
            f"along its {self.input.meaning}, with padding, at least as long as the window "
            f"({self.input.extent} + padding >= dilation * (kernel - 1) + 1)",
            "enlarge input or padding, or use a smaller kernel or dilation",
        )

    @property
    def half_padded(self) -> Rule:
        """The rule that padding is at most half of the window; every undilated window then overlaps the input."""
        return Rule(
            Le(2 * self.low, self.kernel.extent),
            "padding",
            f"at most half of kernel_size along the {self.input.meaning}",
            "lower padding or enlarge kernel_size",
        )


def spatial_windows(rank: int, *, one_padding: bool = False, dilated: bool = True) -> tuple[Window, ...]:
    """The windows of a layer of some rank, slowest axis first.

    Args:
        rank: 1, 2 or 3.
        one_padding: the padding before and after is the same symbol.
        dilated: there is a dilation; otherwise it is 1.
    """
    return tuple(_window(*letters, one_padding, dilated) for letters in _LETTERS[-rank:])


def _window(name: str, output: str, kernel: str, meaning: str, one_padding: bool, dilated: bool) -> Window:
    low = integer(f"padding_{name}")
    return Window(
        input=axis(name, meaning),
        output=axis(output, f"output {meaning}"),
        kernel=axis(kernel, f"kernel {meaning}"),
        stride=integer(f"stride_{name}", positive=True),
        dilation=integer(f"dilation_{name}", positive=True) if dilated else Integer(1),
        low=low,
        high=low if one_padding else integer(f"padding_{name}_high"),
    )


def names(symbols: Iterable[Symbol | Index]) -> tuple[str, ...]:
    """Names by which a definition refers to symbols; for an axis, the name of its extent."""
    return tuple(str(symbol.extent) if isinstance(symbol, Index) else str(symbol.name) for symbol in symbols)
