"""Scans: running reductions, which one pass along an axis computes.

A sum over an index that a condition keeps on one side of its twin, ``y[a, i] = Σ_j x[a, j], j <= i``, whose terms do
not depend on ``i``, is a scan: each result is the one before it and one more term, so that the work is linear. The
formula stays as it is and keeps its meaning; nothing but the way it is computed follows from this. The gradient of a
scan is a scan in the other direction.

A sum whose terms have a product of all places between as a factor is a linear recurrence, and a scan too: with
``S[i] = Σ_j b[j] Π_k a[k], j < k <= i, j <= i``, each result is ``S[i] = a[i] S[i - 1] + b[i]``. The gradient of a
running product is one, in the other direction; it divides by nothing.

A condition that is shifted by a whole number is moved into the terms. The terms of ``j < i`` are those of ``j <= i``,
each read one place earlier.

Input: an equation in normal form; for a recurrence, with the product within the sum. Output: a ``Scan``, or None.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Basic, Expr, Mul, Tuple, expand
from sympy.logic.boolalg import Boolean

from svertka.spec.layer import Equation
from svertka.spec.notation import Index, InRange, Reduction
from svertka.spec.rewrite import coefficient, conditions, conjunction, index_set, substitute

__all__ = ["Scan", "as_scan", "offset", "quadratic"]

_ENDS = {"<": -1, "<=": 0}
_OPPOSITE = {">": "<", ">=": "<="}


@dataclass(frozen=True)
class Scan:
    """A running reduction.

    Attributes:
        index: the index of the result along which it runs.
        element: the reduction over ``index``: the result at a place is what this gives over all elements up to it.
        reverse: whether it runs from the last place to the first.
        step: for a recurrence, a product over ``index`` alone: the result before is multiplied by it at each place.
    """

    index: Index
    element: Reduction
    reverse: bool
    step: Reduction | None = None


def as_scan(equation: Equation) -> Scan | None:
    """A sum or a product as a scan, or None if it is not one.

    It has one summed index, and one condition that names an index of the result of the same extent: it keeps the summed
    index at or before that place (or at or behind it), or a whole number of places farther away. Nothing else in it
    depends on that index of the result.
    """
    value = equation.value
    if not isinstance(value, Reduction) or value.operation not in ("sum", "product") or len(value.indices) != 1:
        return None
    factors = Mul.make_args(value.body) if value.operation == "sum" else (value.body,)
    products = [factor for factor in factors if isinstance(factor, Reduction)]
    body = Mul(*(factor for factor in factors if factor not in products))
    for index in equation.target.axes if len(products) < 2 else ():
        if index.extent == value.indices[0].extent and index not in index_set(body):
            scan = _scan(Reduction(value.args[0], body, value.guard, value.args[3]), index, products)
            if scan is not None:
                return scan
    return None


def _scan(value: Reduction, index: Index, products: list[Reduction]) -> Scan | None:
    """The scan along an index of the result."""
    (bound,) = value.indices
    terms = conditions(value.guard)
    sides = [term for term in terms if index in index_set(term)]
    side = _side(sides[0], bound, index) if len(sides) == 1 else None
    if side is None:
        return None
    distance, reverse = side
    step = _step(products[0], bound, index, side) if products else None
    if products and step is None:
        return None
    rest = [term for term in terms if term is not sides[0]]
    return Scan(index, _along(value, bound, index, distance, rest), reverse, step)


def _step(product: Reduction, bound: Index, index: Index, side: tuple[Expr, bool]) -> Reduction | None:
    """What the result before is multiplied by; None where the product does not grow by one factor from place to place.

    The term with the nearest ``bound`` has no factor. Each further term has one factor more, which it shares with all
    terms behind it.
    """
    if product.operation != "product" or len(product.indices) != 1 or product.indices[0].extent != index.extent:
        return None
    (between,) = product.indices
    near = [term for term in conditions(product.guard) if index in index_set(term)]
    far = [term for term in conditions(product.guard) if bound in index_set(term)]
    rest = [term for term in conditions(product.guard) if term not in (*near, *far)]
    if len(near) != 1 or len(far) != 1 or near == far or {bound, index} & index_set(product.body):
        return None
    nearest, farthest, (distance, reverse) = offset(near[0], between, index), offset(far[0], between, bound), side
    if nearest is None or farthest is None or nearest[1] != reverse or farthest[1] == reverse:
        return None
    one = 1 if reverse else -1
    if nearest[0] != distance + farthest[0] + one:
        return None
    return _along(product, between, index, nearest[0], rest)


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
    found = offset(term, bound, index)
    return found if found is not None and (found[0] >= 0 if found[1] else found[0] <= 0) else None


def offset(term: Boolean, bound: Index, index: Index) -> tuple[Expr, bool] | None:
    """``distance`` of ``bound <= index + distance``, and False; or of ``bound >= index + distance``, and True."""
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
    return distance + slope * _ENDS[relation], bool(slope == -1)


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
