"""Sums of deviations from a row's own mean, recognised algebraically.

Let ``S = Σ X`` over ``n`` elements. A body is rewritten with the deviation ``X - S/n`` in place of the element ``X``.
If it becomes ``a (X - S/n)**2 + b (X - S/n)``, its sum is a sum of squares of deviations: the linear terms add up to 0.

Input: two equations of a ``Layer`` after ``inline_maps``. Output: the factor ``a``; or the layer without the sums whose
``a`` is 0.
"""

from __future__ import annotations

from sympy import Basic, Dummy, Expr, Integer, Mul, Tuple, expand
from sympy.logic.boolalg import true

from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.notation import Index, Read, Reduction
from svertka.spec.rewrite import replace, substitute

__all__ = ["count", "matched", "of_squares", "over", "without_vanishing"]


def count(indices: tuple[Index, ...]) -> Expr:
    """The number of values that some indices have together."""
    return Mul(*(index.extent for index in indices))


def matched(indices: tuple[Index, ...], others: tuple[Index, ...]) -> dict[Index, Index]:
    """For each index another one of the same extent, in order; empty if some index of either list has no partner."""
    rest = list(others)
    mapping = {}
    for index in indices:
        other = next((o for o in rest if o.extent == index.extent), None)
        if other is None:
            return {}
        rest.remove(other)
        mapping[index] = other
    return {} if rest else mapping


def over(equation: Equation, indices: tuple[Index, ...]) -> Equation:
    """A reduction over other indices of the same extents, or as it is."""
    value: Reduction = equation.value
    to = matched(value.indices, indices)
    if not to:
        return equation
    body, guard = substitute(value.body, to), substitute(value.guard, to)
    return Equation(equation.target, Reduction(value.args[0], body, guard, Tuple(*indices)))


def of_squares(equation: Equation, total: Equation) -> Expr | None:
    """The factor of the squares, if an equation sums squared deviations of another's elements; else None."""
    value, summed = equation.value, total.value
    mean = total.target[total.target.axes]
    if not _plain_sum(value) or not _plain_sum(summed) or set(equation.target.axes) != set(total.target.axes):
        return None
    mapping = matched(summed.indices, value.indices)
    if not mapping or mean not in reads(value.body):
        return None
    element = substitute(summed.body, mapping)
    deviation = Dummy(real=True)
    for read in reads(element):
        slope, rest = _line(element, read)
        if slope == 0:
            continue
        body = expand(replace(value.body, {read: (deviation + mean / count(value.indices) - rest) / slope}))
        # the divisor must cancel, because it may be 0
        foreign = {mean, deviation, *value.indices, *slope.free_symbols, *reads(slope)}
        factor = _factor_of_square(body, deviation, foreign)
        if factor is not None:
            return factor
    return None


def _plain_sum(value: Basic) -> bool:
    return isinstance(value, Reduction) and value.operation == "sum" and value.guard == true


def _line(element: Expr, read: Read) -> tuple[Expr, Expr]:
    """``(a, b)`` with element = a * read + b; a is 0 if the element is not linear in the read."""
    unknown = Dummy(real=True)
    written = expand(replace(element, {read: unknown}))
    slope, rest = written.coeff(unknown, 1), written.coeff(unknown, 0)
    is_line = expand(written - slope * unknown - rest) == 0 and not slope.has(unknown)
    return (slope, rest) if is_line else (Integer(0), rest)


def _factor_of_square(body: Expr, deviation: Dummy, foreign: set[Basic]) -> Expr | None:
    """``a`` of ``a * deviation**2 + b * deviation``; None if a or b contains anything foreign."""
    line, square = body.coeff(deviation, 1), body.coeff(deviation, 2)
    if expand(body - line * deviation - square * deviation**2) != 0:
        return None
    if any({*factor.free_symbols, *reads(factor)} & foreign for factor in (line, square)):
        return None
    return square


def without_vanishing(layer: Layer) -> Layer:
    """The layer without sums of deviations from the row's own mean, which are 0 for all elements.

    Derivatives of a variance contain such sums. Computing them would cost a pass over the row and give rounding errors.
    """
    nothing: set[str] = set()
    kept: list[Equation] = []
    for equation in layer.equations:
        found = {read: Integer(0) for read in reads(equation.value) if read.tensor in nothing}
        known = Equation(equation.target, replace(equation.value, found))
        if any(of_squares(known, total) == 0 for total in kept):
            nothing.add(equation.target.name)
            known = Equation(equation.target, Integer(0))
        if equation.target.name not in nothing or equation.target.name in layer.outputs:
            kept.append(known)
    return Layer(layer.name, layer.inputs, tuple(kept), layer.outputs).only(layer.outputs)
