"""Sums of which a condition leaves at most one term, as that term.

``total[n] = Σ_k | k = label[n]: f(n, k)`` walks all of an axis for one element. It is
``Select(0 <= label[n] < K, f(n, label[n]), 0)``: one load at a place that is read from data, which nothing is read of
where the place lies outside. Terms that the condition leaves out do not enter a sum, so the value is the same, and so
are its roundings.

Such a map is cheaper than what stores it, therefore its readers compute it.

Input: a ``Layer`` after ``recurrences``. Output: a ``Layer`` without such sums; what else a sum adds is an equation of
its own.
"""

from __future__ import annotations

from sympy import Add, Basic, Eq, Expr, Integer, Mul
from sympy.logic.boolalg import true

from svertka.codegen.passes.inline import inlined
from svertka.spec.layer import Equation, Layer
from svertka.spec.normal_form import fresh_name
from svertka.spec.notation import Index, InRange, Reduction, Select
from svertka.spec.rewrite import (
    coefficient,
    conditions,
    conjunction,
    independent_factors,
    index_set,
    selections,
    substitute,
)

__all__ = ["single_terms", "without_single_terms"]


def without_single_terms(layer: Layer) -> Layer:
    """Replace sums of one term by that term, in every equation that reads them."""
    taken = set(layer.tensors)
    maps: dict[str, Equation] = {}
    kept: list[Equation] = []
    for equation in layer.equations:
        target, value = equation.target, inlined(equation.value, maps)
        terms, others = single_terms(value)
        if others is not None and terms:
            rest = target.like(fresh_name(f"{target.name}_rest", taken))
            factor, inner = _factored(others)
            kept.append(Equation(rest, inner))
            terms.append(_times(factor, rest[rest.axes]))
        found = Equation(target, Add(*terms) if terms else value)
        if terms and target.name not in layer.outputs:
            maps[target.name] = found
        else:
            kept.append(found)
    return Layer(layer.name, layer.inputs, tuple(kept), layer.outputs)


def single_terms(value: Basic) -> tuple[list[Expr], Reduction | None]:
    """The terms of a sum that a condition leaves alone, and the sum of the others.

    A sum of addends is the sum of their sums. The second is None where there are no others, or no such terms.
    """
    if not isinstance(value, Reduction) or value.operation != "sum" or len(value.indices) != 1:
        return [], None
    found, others = [], []
    for addend in Add.make_args(value.body):
        term = _single_term(Reduction(value.args[0], addend, value.guard, value.args[3]))
        if term is None:
            others.append(addend)
        else:
            found.append(term)
    if not found or not others:
        return found, None
    return found, Reduction(value.args[0], Add(*others), value.guard, value.args[3])


def _single_term(value: Reduction) -> Expr | None:
    """The one term of a sum over an index that a condition equates to a place without it; None for any other sum."""
    (index,) = value.indices
    terms, body = _with_conditions(value)
    for term in terms:
        place = _place(term, index)
        if place is not None:
            rest = [substitute(other, {index: place}) for other in terms if other is not term]
            there = conjunction([InRange(place, index.extent), *rest])
            return Select(there, substitute(body, {index: place}), Integer(0))
    return None


def _factored(value: Reduction) -> tuple[Expr, Reduction]:
    """A sum over all of an axis as a factor that is the same for all its terms, and the sum of the rest."""
    outer, inner = independent_factors(value.body, value.indices) if value.guard == true else (Integer(1), value.body)
    return outer, Reduction(value.args[0], inner, value.guard, value.args[3])


def _times(factor: Expr, value: Expr) -> Expr:
    """A product in which the value stands under the factor's conditions: where they do not hold, nothing uses it."""
    choice, rest = next(
        ((one, factor / one) for one in Mul.make_args(factor) if isinstance(one, Select)), (None, factor)
    )
    if choice is None or Integer(0) not in choice.args[1:]:
        return factor * value
    condition, *branches = choice.args
    return Select(condition, *(branch if branch == 0 else _times(rest * branch, value) for branch in branches))


def _with_conditions(value: Reduction) -> tuple[list[Basic], Expr]:
    """All conditions of a sum's terms, its guard's and those of selections, and what is summed where they hold."""
    terms = list(conditions(value.guard))
    body = value.body
    if isinstance(body, Select) and body.args[2] == 0:
        return [*terms, *conditions(body.args[0])], body.args[1]
    selecting, others = selections(body)
    chosen = [factor for factor in selecting if factor.args[1] == 1]
    for factor in chosen:
        terms += conditions(factor.args[0])
    return terms, Mul(*others, *(factor for factor in selecting if factor not in chosen))


def _place(condition: Basic, index: Index) -> Expr | None:
    """The value of the index for which an equation holds, if it is a whole number that does not depend on it."""
    if not isinstance(condition, Eq) or index not in index_set(condition):
        return None
    affine = coefficient(condition.lhs - condition.rhs, index)
    if affine is None or affine[0] not in (1, -1):
        return None
    place = -affine[0] * affine[1]
    return place if place.is_integer else None
