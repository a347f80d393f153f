"""Sums of computed elements without the factors that all terms of a row have in common.

``O[q, c] = Σ_k exp(S[q, k] - M[q]) V[k, c] / Z[q]`` needs the sum Z of a row before its first term. Written as ``Σ_k
exp(S[q, k] - M[q]) V[k, c]``, divided by Z, it is found in the walk that finds M and Z (``ir.online``), where each
element of S is computed once (``ir.chains``). A sum over nothing is 0 and stays 0, whatever Z is.

Input: a ``Layer`` after ``single_terms``. Output: a ``Layer`` with such sums, and their multiples as maps.
"""

from __future__ import annotations

from collections.abc import Mapping

from sympy import Basic, Expr, Gt, Integer
from sympy.logic.boolalg import true

from svertka.codegen.ir.chains import as_chain, inner_products
from svertka.codegen.ir.online import as_online
from svertka.codegen.passes.centered_sums import over
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.normal_form import fresh_name
from svertka.spec.notation import Index, Reduction, Select
from svertka.spec.rewrite import conjunction, independent_factors, substitute

__all__ = ["row_factor", "without_row_factors"]


def without_row_factors(layer: Layer) -> Layer:
    """Take factors of rows out of sums that read inner products and are found online without them."""
    inner = inner_products(layer)
    if not inner:
        return layer
    taken = set(layer.tensors)
    equations: list[Equation] = []
    for equation in layer.equations:
        found = row_factor(equation, inner, equations)
        if found is None:
            equations.append(equation)
            continue
        factor, rest = found
        target = equation.target
        total = target.like(fresh_name(f"{target.name}_sum", taken))
        some = conjunction([Gt(index.extent, 0) for index in rest.indices])
        equations.append(Equation(total, rest))
        equations.append(Equation(target, Select(some, factor * total[total.axes], Integer(0))))
    return Layer(layer.name, layer.inputs, tuple(equations), layer.outputs)


def row_factor(
    equation: Equation, inner: Mapping[str, Equation], before: list[Equation]
) -> tuple[Expr, Reduction] | None:
    """The factor of a row that a sum's terms have in common, and the sum of the rest; None if it stays where it is.

    Args:
        equation: the sum.
        inner: inner products by name.
        before: equations that stand before it.
    """
    value = equation.value
    chain = as_chain(equation, inner)
    if chain is None or value.operation != "sum" or not chain.across or not _has_terms(value):
        return None
    factor, body = independent_factors(value.body, value.indices)
    if not any(_in_one_walk(one, factor, value.indices) for one in before):
        return None
    rest = Reduction(value.args[0], body, value.guard, value.args[3])
    maxima = [over(one, value.indices) for one in before if _is_maximum(one)]
    return (factor, rest) if as_online(Equation(equation.target, rest), maxima) is not None else None


def _has_terms(value: Reduction) -> bool:
    """Whether the guard holds at the first place of the sum, so that only a sum over an empty axis has no terms."""
    first = dict.fromkeys(value.indices, Integer(0))
    return bool(substitute(value.guard, first) == true)


def _in_one_walk(equation: Equation, factor: Expr, indices: tuple[Index, ...]) -> bool:
    """Whether a factor reads a sum over other indices of the same extents."""
    read = any(read.tensor == equation.target.name for read in reads(factor))
    return read and isinstance(equation.value, Reduction) and over(equation, indices).value.indices == indices


def _is_maximum(equation: Equation) -> bool:
    value: Basic = equation.value
    return isinstance(value, Reduction) and value.operation == "max"
