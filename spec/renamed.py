"""Layers and definitions under other names: the ``grad_maps`` of an adjoint is an input of a separate layer.

Input: a ``Layer`` or a ``Definition``, names. Output: one of the same kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace as replaced

from sympy import Basic, Symbol
from sympy.core.symbol import Str

from svertka.spec.definition import (
    Argument,
    Definition,
    Flag,
    ModuleFace,
    Older,
    PerAxis,
    Real,
    Rule,
    Seed,
    TensorArgument,
    Variant,
    Whole,
)
from svertka.spec.layer import Equation, Layer, reads, walk
from svertka.spec.notation import Index, Read, Reduction, Tensor
from svertka.spec.rewrite import replace

__all__ = ["indices_of", "parameters_of", "renamed", "renamed_arguments", "renamed_tensor"]


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


def renamed_tensor(layer: Layer, old: str, new: str) -> Layer:
    """The layer with one tensor under another name; inputs keep their order."""

    def tensor(one: Tensor) -> Tensor:
        return one.like(new) if one.name == old else one

    def value(node: Basic) -> Basic:
        found = {read: tensor(layer.tensors[old])[read.indices] for read in reads(node) if read.tensor == old}
        return replace(node, found)

    equations = tuple(Equation(tensor(e.target), value(e.value)) for e in layer.equations)
    outputs = tuple(new if output == old else output for output in layer.outputs)
    return Layer(layer.name, tuple(map(tensor, layer.inputs)), equations, outputs)


def indices_of(layer: Layer) -> set[Index]:
    """All indices of a layer: of tensors and of reductions."""
    found = {index for tensor in layer.tensors.values() for index in tensor.axes}
    for equation in layer.equations:
        found |= {index for node in walk(equation.value) if isinstance(node, Reduction) for index in node.indices}
    return found


def parameters_of(definition: Definition) -> set[Symbol]:
    """Parameters of a definition's formulas, and those that occur in its extents alone."""
    layers = [variant.layer for variant in definition.variants]
    extents = {symbol for layer in layers for index in indices_of(layer) for symbol in index.extent.free_symbols}
    behind = {symbol for extent in definition.extents.values() for symbol in extent.free_symbols}
    own = {symbol for layer in layers for symbol in layer.parameters}
    return own | {symbol for symbol in behind - extents if symbol.name not in definition.extents}


def renamed_arguments(name: str, part: Definition, names: Mapping[str, str]) -> Definition:
    """A definition with other names of arguments, and of the tensors and parameters that they stand for.

    Raises:
        ValueError: there is no such argument.
    """
    known = {argument.name: argument for argument in (*part.arguments, *part.older)}
    for old in names:
        if old not in known:
            raise ValueError(f"definition {name}: {part.name} has no argument {old!r}; it has {', '.join(known)}")
    tensors = {a.bound: names[a.name] for a in part.tensor_arguments if a.name in names}
    own = {symbol.name for symbol in parameters_of(part)}
    values = (one for one in part.arguments if isinstance(one, Real | Whole | Flag | Seed) and one.name in names)
    symbols = {one.symbol: names[one.name] for one in values if one.symbol in own}  # extents keep their names

    def told(node: Basic) -> Basic:
        found = (symbol for symbol in node.free_symbols if symbol.name in symbols)
        return replace(node, {symbol: Symbol(symbols[symbol.name], **symbol.assumptions0) for symbol in found})

    meant = {f"<{old}>": f"<{new}>" for old, new in names.items()}

    def argument(one: Argument) -> Argument:
        if isinstance(one, PerAxis):  # None stands for another argument's value
            one = replaced(one, default=meant.get(str(one.default), one.default))
        if isinstance(one, TensorArgument):
            one = replaced(one, ignored=names.get(one.ignored, one.ignored))
        if one.name not in names:
            return one
        more = {"tensor": ""} if isinstance(one, TensorArgument) else {}
        if getattr(one, "symbol", "") in symbols:
            more = {"symbol": names[one.name]}
        return replaced(one, name=names[one.name], **more)

    def rule(one: Rule) -> Rule:
        return replaced(one, condition=told(one.condition), argument=names.get(one.argument, one.argument))

    def variant(one: Variant) -> Variant:
        layer = one.layer
        for old, new in tensors.items():
            layer = renamed_tensor(layer, old, new)
        equations = tuple(Equation(e.target, told(e.value)) for e in layer.equations)
        when = {names.get(key, key): value for key, value in one.when.items()}
        return Variant(Layer(layer.name, layer.inputs, equations, layer.outputs), when, tuple(map(rule, one.rules)))

    def face(one: ModuleFace) -> ModuleFace:
        return replaced(one, parameters={names.get(key, key): value for key, value in one.parameters.items()})

    def older(one: Older) -> Older:
        return replaced(one, name=names.get(one.name, one.name), behind=names.get(one.behind, one.behind))

    return replaced(
        part,
        variants=tuple(map(variant, part.variants)),
        arguments=tuple(map(argument, part.arguments)),
        older=tuple(map(older, part.older)),
        translated=tuple(re.sub(r"\w+", lambda word: names.get(word[0], word[0]), line) for line in part.translated),
        extents={key: told(value) for key, value in part.extents.items()},
        rules=tuple(map(rule, part.rules)),
        modules=tuple(map(face, part.modules)),
    )
