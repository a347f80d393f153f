"""Which values of a summed index a range leaves: a few behind one another, wherever the result's index is.

``0 <= h - FloorDiv(step p, parts) < R`` leaves of the values of ``p`` those from the first with
``step p >= parts (h - R + 1)`` on, at most ``R parts / step`` of them. A loop over ``p`` then begins at the first of
them, instead of visiting all values and leaving most of them out. Its condition stays: the last steps may be beyond.

Input: conditions of a reduction. Output: ``TapRange``s that a kernel walks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Lt
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import TapRange
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.spec.layer import reads
from svertka.spec.notation import FloorDiv, Index, InRange, Select
from svertka.spec.rewrite import coefficient, index_set

__all__ = ["tap_ranges"]


@dataclass(frozen=True)
class _Left:
    """What a condition leaves of an index: ``width / slope`` values, rounded up, from ``first`` on."""

    first: Expr
    width: Expr
    slope: Expr


def tap_ranges(
    conditions: Iterable[Boolean], bound: Sequence[Index], rows: Iterable[Index], known: Collection[str]
) -> dict[Index, TapRange]:
    """The summed indices that a condition keeps within a short range, with that range.

    Args:
        conditions: terms of a reduction's guard.
        bound: the summed indices.
        rows: indices of the result: where there is a result, their extents are positive.
        known: names of compile-time constants. The extent of the range that a condition speaks of must follow from
            them; an index whose own extent follows from them has few values as it is.
    """
    found: dict[Index, TapRange] = {}
    positive = {index.extent for index in rows}
    for condition in conditions:
        if not isinstance(condition, InRange) or reads(condition) or not _follows(condition.args[1], known):
            continue
        within = [index for index in bound if index in index_set(condition)]
        if len(within) == 1 and within[0] not in found and not _follows(within[0].extent, known):
            left = _left(condition.args[0], condition.args[1], within[0], positive)
            if left is not None:
                numbers = map(ExpressionLowering({}).integer, (left.first, left.width, left.slope))
                found[within[0]] = TapRange(within[0].name, *numbers)
    return found


def _follows(number: Expr, known: Collection[str]) -> bool:
    return {symbol.name for symbol in number.free_symbols} <= {*known}


def _left(place: Expr, extent: Expr, index: Index, positive: Collection[Expr]) -> _Left | None:
    """What ``0 <= place < extent`` leaves; None if the place is neither the index nor less a quotient of it."""
    line = coefficient(place, index)
    if line is not None and abs(line[0]) == 1:
        slope, rest = line
        return _Left(_not_negative(-rest if slope == 1 else rest - extent + 1), extent, Integer(1))
    quotients = [term for term in place.as_ordered_terms() if index in index_set(term)]
    if len(quotients) != 1 or not isinstance(-quotients[0], FloorDiv):
        return None
    numerator, divisor = (-quotients[0]).args
    line = coefficient(numerator, index)
    if line is None or index in index_set(divisor) or not divisor.is_nonnegative:
        return None
    slope, rest = line
    if not (slope.is_positive or slope in positive):
        return None
    least = divisor * (place - quotients[0] - extent + 1) - rest
    return _Left(FloorDiv(_not_negative(least + slope - 1), slope), extent * divisor, slope)


def _not_negative(number: Expr) -> Expr:
    return Select(Lt(number, 0), 0, number)
