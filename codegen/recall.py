"""Ask the result instead of what it was made of: ``max(u, c) <= c`` says the same as ``u <= c``.

The gradient of a maximum asks on which side its argument lay. Where the argument came out of a reduction, that would
have to be kept for the backward beside the result, as large as it; the result itself answers too, also for NaN.

Input: the normal form of a layer's adjoint. Output: the same with such questions asked of results.
"""

from __future__ import annotations

from collections.abc import Collection

from sympy import Basic, Expr, Le

from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Read, maximum
from svertka.spec.rewrite import replace, substitute

__all__ = ["recalled"]


def recalled(derived: Layer, primal: Layer, results: Collection[str]) -> tuple[Layer, tuple[Equation, ...]]:
    """Conditions on intermediates asked of results.

    Args:
        derived: the adjoint in normal form.
        primal: the layer in normal form.
        results: its results.

    Returns:
        The adjoint, and the equations of the results that it asks.
    """
    computed = {equation.target.name for equation in primal.equations}
    asked: list[Equation] = []
    for equation in primal.equations:
        value = equation.value
        if equation.target.name not in results or not isinstance(value, maximum):
            continue
        arguments = [a for a in value.args if isinstance(a, Read)]
        constants = [a for a in value.args if a.is_number]
        if len(arguments) == len(constants) == 1 and arguments[0].tensor in computed:
            changed = _asking(derived, equation, arguments[0], constants[0])
            if changed != derived:
                derived = changed
                asked.append(equation)
    return derived, tuple(asked)


def _asking(derived: Layer, equation: Equation, argument: Read, constant: Expr) -> Layer:
    """The adjoint with ``argument <= constant`` replaced, at whatever indices."""
    axes = equation.target.axes
    if argument.indices != axes:
        return derived

    def value(node: Basic) -> Basic:
        found = {
            part: Le(substitute(equation.target[axes], dict(zip(axes, part.lhs.indices, strict=True))), constant)
            for part in walk(node)
            if isinstance(part, Le)
            and isinstance(part.lhs, Read)
            and part.lhs.tensor == argument.tensor
            and part.rhs == constant
        }
        return replace(node, found)

    equations = tuple(
        e if e.target == equation.target else Equation(e.target, value(e.value)) for e in derived.equations
    )
    if equations == derived.equations:
        return derived
    known = {e.target.name for e in equations}
    if equation.target.name not in known:
        place = next(n for n, e in enumerate(equations) if e.target.name == argument.tensor) + 1
        equations = (*equations[:place], equation, *equations[place:])
    return Layer(derived.name, derived.inputs, equations, derived.outputs)
