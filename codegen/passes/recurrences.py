"""Sums of products of all places between, as linear recurrences.

The gradient of a running product has two indices for the product between two places,
``P[k, i] = Π_j x[j], k < j <= i``, and sums over one of them, ``S[k] = Σ_i g[i] P[k, i], k <= i``. The product is put
into the sum, which is then a scan (``ir.scans``), and the tensor of two indices is never computed.

The gradient of a recurrence's factors sums over the places before and over those behind,
``T[k] = Σ_i Σ_j g[i] b[j] P[k, i] P[j, k], j < k <= i``. No term has a factor or a condition of both, so this is a
product of two sums, and each is a recurrence.

Input: a ``Layer`` without hidden scans. Output: the same, with products within such sums, and tensors of sums added.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer, Mul, Tuple
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.scans import as_scan, offset
from svertka.codegen.passes.inline import at
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Index, Read, Reduction, Select, Tensor
from svertka.spec.rewrite import conditions, conjunction, index_set

__all__ = ["with_recurrences"]


def with_recurrences(layer: Layer) -> Layer:
    """Put products into sums that are recurrences with them."""
    made = {equation.target.name: equation for equation in layer.equations}
    found: list[Equation] = []
    for equation in layer.equations:
        found += _separated(equation, made, {*layer.tensors}) or [_recurrence(equation, made) or equation]
    return Layer(layer.name, layer.inputs, tuple(found), layer.outputs).only(layer.outputs)


def _recurrence(equation: Equation, made: dict[str, Equation]) -> Equation | None:
    """A sum as a recurrence; None where it is none."""
    value = equation.value
    if not isinstance(value, Reduction) or value.operation != "sum" or as_scan(equation) is not None:
        return None
    factors = Mul.make_args(value.body)
    for factor in factors:
        product = made.get(factor.tensor) if isinstance(factor, Read) else None
        if product is None or not isinstance(product.value, Reduction) or product.value.operation != "product":
            continue
        body = Mul(*(at(product.target, product.value, one) if one is factor else one for one in factors))
        whole = Equation(equation.target, Reduction(value.args[0], body, value.guard, value.args[3]))
        if as_scan(whole) is not None:
            return whole
    return None


# Products of sums ----------------------------------------------------------------------------------------------------


def _separated(equation: Equation, made: dict[str, Equation], taken: set[str]) -> list[Equation]:
    """A sum over several indices as a product of recurrences over one each; nothing where it is none."""
    value, target = equation.value, equation.target
    if not isinstance(value, Reduction) or value.operation != "sum" or len(value.indices) < 2:
        return []
    factors, held = _selecting(value)
    bound = set(value.indices)
    if any(len(index_set(part) & bound) > 1 for part in (*factors, *held)) or any(
        not index_set(c) & bound for c in held
    ):
        return []
    steps = []
    for index in value.indices:
        body = Mul(*(factor for factor in factors if index in index_set(factor)))
        guard = conjunction(condition for condition in held if index in index_set(condition))
        order = [axis for axis in target.axes if axis in index_set(body) | index_set(guard)]
        part = Tensor(f"{target.name}_over_{index.name}", *order)
        one = Equation(part, Reduction(value.args[0], body, guard, Tuple(index)))
        step = one if as_scan(one) is not None else _recurrence(one, made)
        if step is None or part.name in taken or not index_set(body) | index_set(guard) <= {index, *order}:
            return []
        steps.append(step)
    outer = [factor for factor in factors if not index_set(factor) & bound]
    return [*steps, Equation(target, Mul(*outer, *(step.target[step.target.axes] for step in steps)))]


def _selecting(value: Reduction) -> tuple[list[Expr], list[Boolean]]:
    """Factors of a sum's terms and its conditions; a factor that is 0 elsewhere is a condition, too."""
    factors: list[Expr] = []
    held = list(conditions(value.guard))
    for factor in Mul.make_args(value.body):
        if isinstance(factor, Select) and factor.args[2] == Integer(0):
            held += conditions(factor.args[0])
            factors += Mul.make_args(factor.args[1])
        else:
            factors.append(factor)
    kept = list(dict.fromkeys(held))
    for condition in tuple(kept):
        others = [other for other in kept if other is not condition]
        if _follows(condition, others):
            kept = others
    return factors, kept


def _follows(condition: Boolean, others: Sequence[Boolean]) -> bool:
    """Whether a condition between two indices follows from two others: ``a <= c`` from ``a <= b`` and ``b <= c``."""
    known = [found for other in others if (found := _between(other)) is not None]
    wanted = _between(condition)
    return wanted is not None and any(
        (low, high) == (wanted[0], wanted[1]) and first + second <= wanted[2]
        for low, middle, first in known
        for other, high, second in known
        if middle == other
    )


def _between(condition: Boolean) -> tuple[Index, Index, Expr] | None:
    """``(a, b, d)`` of ``a <= b + d``."""
    indices = sorted(index_set(condition), key=lambda index: index.name)
    found = offset(condition, *indices) if len(indices) == 2 else None
    if found is None:
        return None
    distance, behind = found
    return (indices[1], indices[0], -distance) if behind else (indices[0], indices[1], distance)
