"""Fold maps into their readers, so that only reductions and results are left.

Input: a ``Layer`` in normal form. Output: a ``Layer`` in which every equation is a reduction or the map of an output;
a map that reaches a result through no reduction costs no memory traffic of its own.
"""

from __future__ import annotations

from sympy import Basic

from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Read, Reduction, Tensor
from svertka.spec.rewrite import replace, substitute

__all__ = ["inline_maps"]


def inline_maps(layer: Layer) -> Layer:
    """Replace every read of an intermediate map by the map's own expression."""
    maps: dict[str, Equation] = {}
    kept: list[Equation] = []
    for equation in layer.equations:
        value = _inlined(equation.value, maps)
        if not isinstance(value, Reduction) and (
            equation.target.name not in layer.outputs or not _holds_temporaries(value, layer)
        ):
            maps[equation.target.name] = Equation(equation.target, value)
        if isinstance(value, Reduction) or equation.target.name in layer.outputs:
            kept.append(Equation(equation.target, value))
    return Layer(layer.name, layer.inputs, tuple(kept), layer.outputs).only(layer.outputs)


def _holds_temporaries(value: Basic, layer: Layer) -> bool:
    """Whether a map reads what a reduction made; such an output is read back rather than computed again."""
    inputs = {tensor.name for tensor in layer.inputs}
    return any(isinstance(node, Read) and node.tensor not in inputs for node in walk(value))


def _inlined(value: Basic, maps: dict[str, Equation]) -> Basic:
    found: dict[Basic, Basic] = {}
    for node in walk(value):
        if isinstance(node, Read) and node.tensor in maps:
            found[node] = at(maps[node.tensor].target, maps[node.tensor].value, node)
    return replace(value, found)


def at(target: Tensor, value: Basic, read: Read) -> Basic:
    """The value of ``target[axes] = value`` at the indices of a read."""
    return substitute(value, dict(zip(target.axes, read.indices, strict=True)))
