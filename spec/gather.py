"""Inverting an index map: from "where does this element go" to "where does this element come from".

A read ``x[M a + c]``, for every value of the indices ``a``, touches the element ``j`` of x where ``M a + c = j``.
``gather`` solves that integer system, so that a sum over all such ``a`` can be written as a function of ``j``, with
guards and without scattering. It holds with symbolic strides, dilations and paddings:
``stride*p + dilation*r - padding = h`` is solved for ``p`` by

    p = (h + padding - dilation*r) / stride,  guarded by divisibility and by 0 <= p < P,

and ``r`` stays summed. Elimination with guards is exact for every system, coupled ones included: a solved index leaves
a divisibility guard and a range guard. What cannot be solved (a row without an index of its own, a factor of unknown
sign, an index read from data) stays as an equality. Sources: Urban and van der Smagt, arXiv:1711.01348; PerforAD
(adjoint stencils).

Input: index expressions, target axes, the indices of the read. Output: ``Gather``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sympy import Eq, Expr, expand
from sympy.logic.boolalg import Boolean, true

from svertka.spec.notation import Divides, FloorDiv, Index, InRange
from svertka.spec.rewrite import coefficient, substitute

__all__ = ["Gather", "gather"]


@dataclass(frozen=True)
class Gather:
    """All solutions of ``M a + c = j``.

    Attributes:
        solution: indices that follow from j and the remaining ones.
        remaining: indices that stay free, to be summed over.
        guards: conditions under which there is a solution.
    """

    solution: dict[Index, Expr]
    remaining: tuple[Index, ...]
    guards: tuple[Boolean, ...]


@dataclass(frozen=True)
class _Pivot:
    """Solving one row for one index: index = numerator / divisor."""

    index: Index
    numerator: Expr
    divisor: Expr


def gather(
    expressions: Sequence[Expr],
    targets: Sequence[Index],
    free: Sequence[Index],
    reduced: Sequence[Index],
    known: Collection[Boolean] = (),
    windows: Collection[str] = (),
) -> Gather:
    """Solve ``expressions = targets`` for the indices ``free + reduced``.

    Args:
        expressions: the read's index expressions.
        targets: the axes of the tensor that is read, distinct from the other indices.
        free: indices of the equation's target; they are solved for first because their extents are large, unless some
            of them are windows.
        reduced: bound indices of its reduction.
        known: conditions under which the read takes place; a quotient that they make exact is solved as a product.
        windows: names of small extents; their indices stay summed where there is a choice.
    """
    rows = [_row(e, t, known) for e, t in zip(expressions, targets, strict=True)]
    last = set(reduced)
    if any(str(index.extent) in windows for index in free):
        last = {index for index in (*free, *reduced) if str(index.extent) in windows}
    unsolved = [*free, *reduced]
    pivots: list[_Pivot] = []
    guards: list[Boolean] = []
    while rows:
        place, pivot = _best_pivot(rows, unsolved, last)
        row = rows.pop(place)
        if pivot is None:
            guards.append(Eq(row, 0))
            continue
        pivots.append(pivot)
        unsolved.remove(pivot.index)
        rows = [_eliminate(other, pivot) for other in rows]
    return _back_substitute(pivots, unsolved, guards)


def _row(expression: Expr, target: Index, known: Collection[Boolean]) -> Expr:
    """The expression that must be 0 for an index expression to equal the target."""
    if isinstance(expression, FloorDiv):
        numerator, divisor = expression.args
        if Divides(divisor, numerator) in known:
            return expand(numerator - divisor * target)
    return expand(expression - target)


def _best_pivot(rows: list[Expr], unsolved: list[Index], last: set[Index]) -> tuple[int, _Pivot | None]:
    """The row and index to solve next: large extents before small ones, coefficient 1 before others."""
    best: tuple[tuple[bool, bool, int, int], int, _Pivot] | None = None
    for place, row in enumerate(rows):
        for order, index in enumerate(unsolved):
            split = coefficient(row, index)
            if split is None:
                continue
            slope, rest = split
            if slope.is_negative:
                slope, rest = -slope, -rest
            if not slope.is_positive:  # a divisor of unknown sign, perhaps 0: the row stays as a guard
                continue
            rank = (index in last, slope != 1, place, order)
            if best is None or rank < best[0]:
                best = rank, place, _Pivot(index, expand(-rest), slope)
    return (0, None) if best is None else (best[1], best[2])


def _eliminate(row: Expr, pivot: _Pivot) -> Expr:
    """Replace a solved index in another row; the row is scaled so that it stays an integer equation."""
    split = coefficient(row, pivot.index)
    if split is None:
        return substitute(row, {pivot.index: FloorDiv(pivot.numerator, pivot.divisor)})
    slope, rest = split
    return expand(pivot.divisor * rest + slope * pivot.numerator)


def _back_substitute(pivots: list[_Pivot], remaining: list[Index], guards: list[Boolean]) -> Gather:
    solution: dict[Index, Expr] = {}
    conditions: list[Boolean] = []
    for pivot in reversed(pivots):
        numerator = expand(substitute(pivot.numerator, solution))
        solution[pivot.index] = FloorDiv(numerator, pivot.divisor)
        conditions.append(Divides(pivot.divisor, numerator))
        conditions.append(InRange(solution[pivot.index], pivot.index.extent))
    conditions += [substitute(guard, solution) for guard in guards]
    kept = tuple(condition for condition in conditions if condition != true)
    return Gather(solution, tuple(remaining), kept)
