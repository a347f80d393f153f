"""A layer under other names: the ``grad_maps`` of an adjoint is an input of a separate layer.

Input: a ``Layer``, a name, names of tensors. Output: a ``Layer``.
"""

from __future__ import annotations

from sympy import Basic
from sympy.core.symbol import Str

from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Read, Tensor
from svertka.spec.rewrite import replace

__all__ = ["renamed"]


def renamed(layer: Layer, name: str, **tensors: str) -> Layer:
    """The same equations under another name; renamed inputs come first, in the order given.

    Args:
        layer: the layer.
        name: its new name.
        tensors: new name of a tensor, by its old one.

    Raises:
        ValueError: the layer has no tensor of an old name.
    """
    for old in tensors:
        if old not in layer.tensors:
            raise ValueError(f"layer {layer.name}: it has no tensor {old!r}; it has {', '.join(layer.tensors)}")

    def tensor(known: Tensor) -> Tensor:
        return known.like(tensors.get(known.name, known.name))

    def value(node: Basic) -> Basic:
        reads = {part for part in walk(node) if isinstance(part, Read) and part.tensor in tensors}
        return replace(node, {read: Read(Str(tensors[read.tensor]), *read.args[1:]) for read in reads})

    place = {old: number for number, old in enumerate(tensors)}
    inputs = sorted(layer.inputs, key=lambda known: place.get(known.name, len(place)))
    equations = tuple(Equation(tensor(e.target), value(e.value)) for e in layer.equations)
    outputs = tuple(tensors.get(output, output) for output in layer.outputs)
    return Layer(name, tuple(map(tensor, inputs)), equations, outputs)
