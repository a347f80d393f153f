"""Between which values of a summed index a guard lets a tile have elements, and whether its sums are used at all.

``k <= m`` bounds the sum over ``k``: a tile of rows has no element behind its last row. The kernel takes the extremes
of the bounds over the tile's rows and columns, so its loop leaves out what is masked in all of them. Masks stay, and a
bound may be wider than the condition. A result that is ``Select(k <= m, sum, 0)`` uses the sum in some tiles alone; the
others sum nothing.

Input: conditions of a reduction or of a result. Output: ``LoopBounds``; numbers that are negative in an unused tile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from sympy import Add, Expr, expand
from sympy.core.relational import Equality, GreaterThan, LessThan, StrictGreaterThan, StrictLessThan
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import LoopBounds, Node
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.spec.layer import reads
from svertka.spec.notation import FloorDiv, Index, InRange, Read, Select
from svertka.spec.rewrite import coefficient, conditions, index_set, selections

__all__ = ["bounds_of", "reached", "used_under"]


def bounds_of(terms: Iterable[Boolean], index: Index) -> LoopBounds | None:
    """The bounds that a reduction's guard gives its only index; None if it gives none."""
    first: list[Node] = []
    last: list[Node] = []
    for condition in terms:
        if reads(condition) or not {index} < index_set(condition):
            continue
        for number in _not_negative(condition):
            line = coefficient(number, index)
            if line is None or not line[0].is_Integer:
                continue
            slope, rest = line
            place = rest if slope < 0 else -rest
            place = place if abs(slope) == 1 else FloorDiv(place, abs(slope))
            (last if slope < 0 else first).append(ExpressionLowering({}).integer(place))
    return LoopBounds(index.name, tuple(first), tuple(last)) if first or last else None


def _not_negative(condition: Boolean) -> tuple[Expr, ...]:
    """Whole numbers that are not negative where the condition holds."""
    if isinstance(condition, InRange):
        place, extent = condition.args
        return place, extent - 1 - place
    if not isinstance(condition, Equality | LessThan | GreaterThan | StrictLessThan | StrictGreaterThan):
        return ()
    if not all(side.is_integer for side in condition.args):
        return ()
    difference = condition.lhs - condition.rhs
    if isinstance(condition, Equality):
        return difference, -difference
    above = difference if isinstance(condition, GreaterThan | StrictGreaterThan) else -difference
    return (above - 1 if isinstance(condition, StrictGreaterThan | StrictLessThan) else above,)


def reached(condition: Boolean, sides: Sequence[Collection[Index]]) -> Iterator[tuple[Node, ...]]:
    """Numbers that are not negative where a condition holds, each as a sum of parts along a tile's sides.

    The largest value of such a number in a tile is the sum of its parts' largest values along their sides.

    Args:
        condition: on the result's indices.
        sides: the indices of the rows, and those of the columns.
    """
    for number in _not_negative(condition):
        parts: list[list[Expr]] = [[] for _ in sides]
        for term in Add.make_args(expand(number)):
            along = [place for place, side in enumerate(sides) if index_set(term) & {*side}]
            if len(along) > 1:
                break
            parts[along[0] if along else 0].append(term)
        else:
            yield tuple(ExpressionLowering({}).integer(Add(*part)) for part in parts if part)


def used_under(value: Expr, read: Read) -> tuple[Boolean, ...]:
    """Conditions on indices without which an expression does not depend on an element that it reads."""
    if isinstance(value, Select):
        condition, chosen, other = value.args
        if read in reads(condition) or read in reads(other):
            return ()
        return (*_on_indices(condition), *used_under(chosen, read))
    holding = [part for part in value.args if read in reads(part)]
    within = used_under(holding[0], read) if len(holding) == 1 and not isinstance(value, Read) else ()
    zero = [choice.args[0] for choice in selections(value)[0] if choice.args[2] == 0]
    return (*within, *(one for condition in zero for one in _on_indices(condition)))


def _on_indices(condition: Boolean) -> list[Boolean]:
    return [one for one in conditions(condition) if index_set(one) and not reads(one)]
