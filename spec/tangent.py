"""The tangent of a layer: the exact directional derivative of every output, forward mode, as a ``Layer``.

The conventions are those of ``svertka.spec.adjoint``: relu'(0) = 0, and the tangent of a maximum is that of its first
maximal element. For every direction v and weight y, <J v, y> = <v, J* y> with the adjoint J*: the two must agree
exactly.

Input: a ``Layer``. Output: a ``Layer`` whose inputs are the given layer's and ``tangent_<input>``, and whose outputs
are ``tangent_<output>``.
"""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Add, Eq, Expr, Integer
from sympy.core.symbol import Str

from svertka.spec.adjoint import partial_derivative, unused_prefix
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import Reduction, Select, Tensor
from svertka.spec.products import other_factors
from svertka.spec.rewrite import linear_position

__all__ = ["tangent", "tangent_name"]


def tangent_name(tensor: str, prefix: str = "tangent") -> str:
    """Name of the derivative of a tensor along the given direction."""
    return f"{prefix}_{tensor}"


def tangent(layer: Layer, wrt: Iterable[str] | None = None) -> Layer:
    """Derive the layer of directional derivatives.

    Args:
        layer: the layer to differentiate.
        wrt: inputs that vary; all real inputs by default.

    Returns:
        The layer ``<name>_tangent``, its outputs ``tangent_<output>`` for every real output of ``layer``.

    Raises:
        ValueError: ``wrt`` contains a name that is no real input of the layer.
    """
    real = [tensor.name for tensor in layer.inputs if tensor.kind == "real"]
    moving = real if wrt is None else list(wrt)
    for name in moving:
        if name not in real:
            raise ValueError(f"tangent of {layer.name}: {name!r} is no real input; it has {', '.join(real) or 'none'}")
    primal = normal_form(layer)
    prefix = unused_prefix(layer, "tangent")
    tangents = {name: _tangent_of(primal.tensors[name], prefix) for name in moving}
    directions = tuple(tangents.values())
    equations: list[Equation] = []
    for equation in primal.equations:
        equations.append(equation)
        equations += _derivatives(equation, tangents, prefix)
    outputs = [name for name in layer.outputs if layer.tensors[name].kind == "real"]
    for name in outputs:
        if name not in tangents:
            tangents[name] = _tangent_of(primal.tensors[name], prefix)
            equations.append(Equation(tangents[name], Integer(0)))
    names = tuple(tangent_name(name, prefix) for name in outputs)
    return Layer(f"{layer.name}_tangent", (*layer.inputs, *directions), tuple(equations), names).only(names)


def _tangent_of(tensor: Tensor, prefix: str) -> Tensor:
    return Tensor(tangent_name(tensor.name, prefix), *tensor.dims)


def _derivatives(equation: Equation, tangents: dict[str, Tensor], prefix: str) -> list[Equation]:
    """The equation of a target's tangent if it varies, after the equation of the position of its maximum."""
    target, value = equation.target, equation.value
    if target.kind != "real":
        return []
    reduced = isinstance(value, Reduction)
    moved = _directional(value.body if reduced else value, tangents)
    if moved == 0:
        return []
    tangents[target.name] = _tangent_of(target, prefix)
    if not reduced:
        return [Equation(tangents[target.name], moved)]
    if value.operation == "sum":
        return [Equation(tangents[target.name], _like(value, "sum", moved))]
    if value.operation == "product":
        return [Equation(tangents[target.name], _like(value, "sum", moved * other_factors(value, target.axes)))]
    position = Tensor(f"{target.name}_position", *target.axes, kind="integer")
    here = Eq(position[target.axes], linear_position(value.indices))
    chosen = _like(value, "sum", Select(here, moved, 0))
    return [
        Equation(position, _like(value, "argmax", value.body)),
        Equation(tangents[target.name], chosen),
    ]


def _directional(value: Expr, tangents: dict[str, Tensor]) -> Expr:
    """Sum over the reads of a value: its derivative by the element times the element's tangent."""
    moving = [read for read in reads(value) if read.tensor in tangents]
    return Add(*(partial_derivative(value, read) * tangents[read.tensor][read.indices] for read in moving))


def _like(value: Reduction, operation: str, body: Expr) -> Reduction:
    return Reduction(Str(operation), body, value.guard, value.args[3])
