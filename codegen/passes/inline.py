"""Substitute maps into the equations that read them, so that only reductions and results are left.

A map that is substituted costs no memory traffic of its own. Two kinds of maps are kept:

- A contraction reads it, and each of its elements is a stored element or 0, without rounding. A contraction reads its
  operands many times, and only operands that are stored can be fetched as boxes and enter the matrix unit in their own
  type.
- An epilogue: it follows reductions over the same rows, and other reductions run over those rows. What the reductions
  gave would be stored between the two kernels; one value a row is stored instead of several.

Input: a ``Layer`` in normal form. Output: a ``Layer`` in which every equation is a reduction, the map of an output,
the operand of a contraction or an epilogue.
"""

from __future__ import annotations

from collections.abc import Collection

from sympy import Basic, Integer, Mul

from svertka.codegen.ir.chains import is_between
from svertka.codegen.ir.loop_patterns import as_contraction
from svertka.spec.layer import Equation, Layer, reads, walk
from svertka.spec.notation import Read, Reduction, Select, Tensor
from svertka.spec.rewrite import replace, substitute

__all__ = ["epilogues", "inline_maps", "inlined", "is_selection", "operands", "without_maps_of"]


def inline_maps(layer: Layer) -> Layer:
    """Replace every read of an intermediate map by the map's own expression."""
    read_by_contractions = operands(layer)
    reduced_over = epilogues(layer)
    maps: dict[str, Equation] = {}
    kept: list[Equation] = []
    for equation in layer.equations:
        value = inlined(equation.value, maps)
        stored = equation.target.name in reduced_over or (
            equation.target.name in read_by_contractions and is_selection(value)
        )
        if (
            not isinstance(value, Reduction)
            and not stored
            and (equation.target.name not in layer.outputs or not _holds_temporaries(value, layer))
        ):
            maps[equation.target.name] = Equation(equation.target, value)
        if isinstance(value, Reduction) or stored or equation.target.name in layer.outputs:
            kept.append(Equation(equation.target, value))
    return Layer(layer.name, layer.inputs, tuple(kept), layer.outputs).only(layer.outputs)


def without_maps_of(layer: Layer, names: Collection[str]) -> Layer:
    """The layer with every intermediate map that reads some tensors computed by its own readers."""
    maps: dict[str, Equation] = {}
    kept: list[Equation] = []
    for equation in layer.equations:
        found = Equation(equation.target, inlined(equation.value, maps))
        of_them = any(read.tensor in names for read in reads(found.value))
        if of_them and not isinstance(found.value, Reduction) and equation.target.name not in layer.outputs:
            maps[equation.target.name] = found
        else:
            kept.append(found)
    return Layer(layer.name, layer.inputs, tuple(kept), layer.outputs) if maps else layer


def operands(layer: Layer) -> set[str]:
    """Names of the tensors that contractions read, also through copies."""
    names: set[str] = set()
    for equation in reversed(layer.equations):
        copied = equation.target.name in names and isinstance(equation.value, Read)
        if copied or as_contraction(equation) is not None:
            names |= {read.tensor for read in reads(equation.value)}
    return names


def epilogues(layer: Layer) -> set[str]:
    """Names of maps that follow reductions over their own rows, and that only reductions over these rows read."""
    readers: dict[str, list[Equation]] = {}
    for equation in layer.equations:
        for name in {read.tensor for read in reads(equation.value)}:
            readers.setdefault(name, []).append(equation)
    reductions = {e.target.name for e in layer.equations if isinstance(e.value, Reduction)}
    products = {e.target.name for e in layer.equations if as_contraction(e) is not None}
    found = set()
    for equation in layer.equations:
        target = equation.target
        sums = [read for read in reads(equation.value) if read.tensor in reductions]
        if (
            not isinstance(equation.value, Reduction)
            and target.name not in layer.outputs
            and any(readers[read.tensor] == [equation] for read in sums)
            and all(read.indices == target.axes for read in sums)
            and all(_reduces_rows(reader, target) for reader in readers[target.name])
            # Reductions between products can compute the elements of the product behind the map themselves.
            and not (products & {read.tensor for read in sums} and is_between(target.name, readers[target.name]))
        ):
            found.add(target.name)
    return found


def _reduces_rows(reader: Equation, target: Tensor) -> bool:
    """Whether an equation reduces the elements of a tensor over some of its rows."""
    value = reader.value
    return isinstance(value, Reduction) and all(
        set(value.indices) & set(read.indices) for read in reads(value) if read.tensor == target.name
    )


def is_selection(value: Basic) -> bool:
    """Whether each element of a map is a stored element, perhaps negated, or 0: nothing is rounded."""
    reads_of_it = [factor for factor in Mul.make_args(value) if isinstance(factor, Read)]
    choices = [factor for factor in Mul.make_args(value) if isinstance(factor, Select)]
    signs = {Integer(0), Integer(1), Integer(-1)}
    plain = len(reads_of_it) == 1 and choices and len(choices) + 1 == len(Mul.make_args(value))
    return bool(plain) and all({*choice.args[1:]} <= signs for choice in choices)


def _holds_temporaries(value: Basic, layer: Layer) -> bool:
    """Whether a map reads what an equation computed; such an output is read from memory, not computed again."""
    inputs = {tensor.name for tensor in layer.inputs}
    return any(isinstance(node, Read) and node.tensor not in inputs for node in walk(value))


def inlined(value: Basic, maps: dict[str, Equation]) -> Basic:
    """A value with every read of a map replaced by the map's own value at the indices of the read."""
    found: dict[Basic, Basic] = {}
    for node in walk(value):
        if isinstance(node, Read) and node.tensor in maps:
            found[node] = at(maps[node.tensor].target, maps[node.tensor].value, node)
    return replace(value, found)


def at(target: Tensor, value: Basic, read: Read) -> Basic:
    """The value of ``target[axes] = value`` at the indices of a read."""
    return substitute(value, dict(zip(target.axes, read.indices, strict=True)))
