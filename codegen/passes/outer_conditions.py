"""Conditions of a sum that none of its indices is in, taken out of it where a product is left.

The gradient of a triangular product, ``grad_x[m, k] = Σ_n | k <= m: grad_y[m, n] w[k, n]``, is a product of which a
triangle is kept. A condition on indices of both factors hides it: the sum would run element by element. Here it becomes
``Select(k <= m, Σ_n grad_y[m, n] w[k, n], 0)``, and the sum a contraction. Where the condition does not hold the sum is
not used, whatever it gives. Conditions under which the factors may be read stay where they are.

Input: a ``Layer`` in normal form. Output: the same, with such sums and their selections as equations of their own.
"""

from __future__ import annotations

from sympy import Basic, Integer, Tuple
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.loop_patterns import as_contraction
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.normal_form import fresh_name
from svertka.spec.notation import Divides, Reduction, Select
from svertka.spec.rewrite import conditions, conjunction, index_set, range_conditions

__all__ = ["outer_conditions", "without_outer_conditions"]


def without_outer_conditions(layer: Layer) -> Layer:
    """Take conditions out of sums that are products without them."""
    taken = set(layer.tensors)
    equations: list[Equation] = []
    for equation in layer.equations:
        outer = outer_conditions(equation)
        if not outer:
            equations.append(equation)
            continue
        target, value = equation.target, equation.value
        whole = target.like(fresh_name(f"{target.name}_product", taken))
        equations.append(Equation(whole, _without(value, outer)))
        equations.append(Equation(target, Select(conjunction(outer), whole[target.axes], Integer(0))))
    return Layer(layer.name, layer.inputs, tuple(equations), layer.outputs)


def outer_conditions(equation: Equation) -> tuple[Boolean, ...]:
    """The conditions without which a sum is a contraction; empty if it is one with them, or none without them."""
    value = equation.value
    if not isinstance(value, Reduction) or value.operation != "sum" or as_contraction(equation) is not None:
        return ()
    needed = range_conditions(value.body)
    outer = tuple(c for c in conditions(value.guard) if c not in needed and _is_outer(c, value))
    product = Equation(equation.target, _without(value, outer))
    return outer if outer and as_contraction(product) is not None else ()


def _is_outer(condition: Boolean, value: Reduction) -> bool:
    """Whether a condition holds or not for all of a sum, and says nothing of where its tensors may be read."""
    return not (isinstance(condition, Divides) or reads(condition) or index_set(condition) & {*value.indices})


def _without(value: Reduction, outer: tuple[Boolean, ...]) -> Reduction:
    rest: Basic = conjunction(c for c in conditions(value.guard) if c not in outer)
    return Reduction(value.args[0], value.body, rest, Tuple(*value.indices))
