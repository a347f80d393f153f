"""Scans: running reductions, which one pass along an axis computes.

A sum over an index that a condition keeps on one side of its twin, ``y[a, i] = Σ_j x[a, j], j <= i``, whose terms do
not depend on ``i``, is a scan: each result is the one before it and one more term, so that the work is linear. The
formula stays as it is and keeps its meaning; nothing but the way it is computed follows from this. The gradient of a
scan is a scan in the other direction.

A condition that is shifted by a whole number is moved into the terms. The terms of ``j < i`` are those of ``j <= i``,
each read one place earlier.

Input: an equation in normal form. Output: a ``Scan``, or None.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Basic, Expr, Tuple, expand
from sympy.logic.boolalg import Boolean

from svertka.spec.layer import Equation
from svertka.spec.notation import Index, InRange, Reduction
from svertka.spec.rewrite import coefficient, conditions, conjunction, index_set, substitute

__all__ = ["Scan", "as_scan", "quadratic"]

_ENDS = {"<": -1, "<=": 0}
_OPPOSITE = {">": "<", ">=": "<="}


@dataclass(frozen=True)
class Scan:
    """A running reduction.

    Attributes:
        index: the index of the result along which it runs.
        element: the reduction over ``index``: the result at a place is what this gives over all elements up to it.
        reverse: whether it runs from the last place to the first.
    """

    index: Index
    element: Reduction
    reverse: bool


def as_scan(equation: Equation) -> Scan | None:
    """A sum or a product as a scan, or None if it is not one.

    It has one summed index, and one condition that names an index of the result of the same extent: it keeps the summed
    index at or before that place (or at or behind it), or a whole number of places farther away. Nothing else in it
    depends on that index of the result.
    """
    value = equation.value
    if not isinstance(value, Reduction) or value.operation not in ("sum", "product") or len(value.indices) != 1:
        return None
    (bound,) = value.indices
    for index in equation.target.axes:
        if index.extent != bound.extent or index in index_set(value.body):
            continue
        terms = conditions(value.guard)
        sides = [term for term in terms if index in index_set(term)]
        side = _side(sides[0], bound, index) if len(sides) == 1 else None
        if side is not None:
            distance, reverse = side
            rest = [term for term in terms if term is not sides[0]]
            return Scan(index, _along(value, bound, index, distance, rest), reverse)
    return None


def quadratic(equation: Equation) -> str:
    """Why a reduction up to each place is no scan, and what would make it one; empty where there is nothing to say."""
    value = equation.value
    if not isinstance(value, Reduction) or as_scan(equation) is not None:
        return ""
    for index in equation.target.axes:
        for bound in value.indices:
            sides = [term for term in conditions(value.guard) if {bound, index} <= index_set(term)]
            if index.extent != bound.extent or not any(_relation(term) for term in sides):
                continue
            work = f"{bound.extent} elements for each of {index.extent} places"
            if value.operation not in ("sum", "product"):
                return f"quadratic, {work}: only sums and products are scans"
            if index in index_set(value.body):
                return f"quadratic, {work}: its terms depend on {index}; a scan's terms do not"
            return f"quadratic, {work}: a scan has one condition on {index}, and ends there or before"
    return ""


def _side(term: Boolean, bound: Index, index: Index) -> tuple[Expr, bool] | None:
    """How far from ``index`` the nearest element is, and whether the elements lie behind it; None if they do neither.

    ``bound <= index + distance`` with a distance of at most 0, or ``bound >= index + distance`` with at least 0.
    """
    relation = _relation(term)
    if not relation:
        return None
    left, right = term.args
    if relation in _OPPOSITE:
        relation, left, right = _OPPOSITE[relation], right, left
    split = coefficient(left - right, bound)
    if split is None:
        return None
    slope, rest = split
    distance = expand(-slope * rest - index)
    if slope not in (1, -1) or not distance.is_Integer:
        return None
    distance += slope * _ENDS[relation]
    return (distance, slope == -1) if slope * distance <= 0 else None


def _relation(term: Boolean) -> str:
    """Which side a condition compares for, or nothing."""
    relation = str(getattr(term, "rel_op", ""))
    return relation if relation in (*_ENDS, *_OPPOSITE) else ""


def _along(value: Reduction, bound: Index, index: Index, distance: Expr, rest: list[Basic]) -> Reduction:
    """The reduction over the index of the result, with its terms moved by the distance."""
    moved = {bound: index + distance}
    terms = [substitute(term, moved) for term in rest]
    terms += [InRange(index + distance, bound.extent)] if distance != 0 else []
    return Reduction(value.args[0], substitute(value.body, moved), conjunction(terms), Tuple(index))
