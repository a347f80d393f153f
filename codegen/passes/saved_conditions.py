"""Replace conditions on an argument of a maximum by conditions on the maximum, so that the argument is not kept.

The gradient of ``max(u, c)`` needs the condition ``u <= c``. It is equivalent to ``max(u, c) <= c``, also for NaN. If u
is computed by a reduction, it would have to be kept for the backward in addition to the result, which has the same
size; with the condition on the result, only the result is kept.

If u is an input, the result simply replaces it in the backward, because ``max(max(u, c), c) = max(u, c)``.

Input: the normal form of a layer's adjoint. Output: the same with conditions on results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sympy import Basic, Expr, Le

from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Read, maximum
from svertka.spec.rewrite import replace, substitute

__all__ = ["answers_of", "recalled"]


def recalled(derived: Layer, primal: Layer, results: Collection[str]) -> tuple[Layer, tuple[Equation, ...]]:
    """Replace conditions on intermediates by conditions on results.

    Args:
        derived: the adjoint in normal form.
        primal: the layer in normal form.
        results: its results.

    Returns:
        The adjoint, and the equations of the results on which it has conditions.
    """
    computed = {equation.target.name for equation in primal.equations}
    asked: list[Equation] = []
    for equation, argument, constant in _maxima(primal, results):
        if argument.tensor in computed:
            changed = _asking(derived, equation, argument, constant)
            if changed != derived:
                derived = changed
                asked.append(equation)
    return derived, tuple(asked)


def answers_of(derived: Layer, primal: Layer, results: Collection[str]) -> dict[str, str]:
    """Inputs of a layer that its adjoint reads only in conditions that a result can decide, and these results.

    If ``max(x, c)`` replaces ``x``, no value of the adjoint changes, so the forward keeps the result instead.

    Args:
        derived: the adjoint in normal form.
        primal: the layer in normal form.
        results: its results.
    """
    shapes = {tensor.name: (tensor.dims, tensor.kind) for tensor in primal.inputs}
    return {
        argument.tensor: equation.target.name
        for equation, argument, constant in _maxima(primal, results)
        if shapes.get(argument.tensor) == (equation.target.dims, equation.target.kind)
        and not any(_asks_more(e.value, argument.tensor, constant) for e in derived.equations)
    }


def _asks_more(value: Basic, tensor: str, constant: Expr) -> bool:
    """Whether a value reads a tensor outside of conditions ``tensor <= constant``."""
    if isinstance(value, Read) and value.tensor == tensor:
        return True
    if _is_condition(value, tensor, constant):
        return any(_asks_more(index, tensor, constant) for index in value.lhs.indices)
    return any(_asks_more(part, tensor, constant) for part in value.args)


def _is_condition(node: Basic, tensor: str, constant: Expr) -> bool:
    """Whether a node is ``tensor <= constant``, at whatever place."""
    return isinstance(node, Le) and node.rhs == constant and isinstance(node.lhs, Read) and node.lhs.tensor == tensor


def _maxima(primal: Layer, results: Collection[str]) -> Iterator[tuple[Equation, Read, Expr]]:
    """Equations of results that are the maximum of an element at the same place and a number, with these two."""
    for equation in primal.equations:
        value = equation.value
        if equation.target.name not in results or not isinstance(value, maximum):
            continue
        arguments = [a for a in value.args if isinstance(a, Read)]
        constants = [a for a in value.args if a.is_number]
        pair = len(value.args) == 2 and len(arguments) == len(constants) == 1
        if pair and arguments[0].indices == equation.target.axes:  # another place would answer for another element
            yield equation, arguments[0], constants[0]


def _asking(derived: Layer, equation: Equation, argument: Read, constant: Expr) -> Layer:
    """The adjoint with ``argument <= constant`` replaced, for all indices of the argument."""
    axes = equation.target.axes

    def value(node: Basic) -> Basic:
        found = {
            part: Le(substitute(equation.target[axes], dict(zip(axes, part.lhs.indices, strict=True))), constant)
            for part in walk(node)
            if _is_condition(part, argument.tensor, constant)
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
