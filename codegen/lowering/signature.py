"""What a kernel takes and walks: its tensors, extents, constants and axes.

Input: a ``FusionGroup``, its layer and what is known of its parameters. Output: the arguments of a ``Kernel``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sympy import Basic

from svertka.codegen.ir.chains import InnerProduct
from svertka.codegen.ir.kernel import Axes, Extent, TensorArgument
from svertka.codegen.ir.loop_patterns import LoopPattern, as_contraction
from svertka.codegen.lowering.fusion import FusionGroup
from svertka.spec.layer import Layer, reads, symbols_of, walk
from svertka.spec.notation import Index, Read

__all__ = ["Signature"]


@dataclass
class Signature:
    """What is known of a kernel before its statements; see ``lower`` for the attributes."""

    group: FusionGroup
    layer: Layer
    constants: set[str]
    scalars: set[str]
    optional: set[str]
    channels: bool

    def extents_of(self, indices: Iterable[Index]) -> tuple[Extent, ...]:
        """Indices with their extents, and whether these are small."""
        return tuple(Extent(i.name, str(i.extent), str(i.extent) in self.constants) for i in indices)

    def axes_of(self, indices: Iterable[Index]) -> Axes:
        """The order of loops. With channels last, loops over windows are outside those over channels."""
        order = self.extents_of(indices)
        return Axes(order, tuple(sorted(order, key=lambda extent: not extent.small)) if self.channels else order)

    def rows(self) -> Axes:
        """The rows in the order of the result's dimensions, and with the second dimension as the last one."""
        order = self.extents_of(self.group.rows)
        dims = self.layer.tensors[self.group.results[0].name].dims
        if not self.channels or len(dims) < 3 or {i for dim in dims for i in dim} != set(self.group.rows):
            return Axes(order, order)
        moved = [index for dim in (dims[0], *dims[2:], dims[1]) for index in dim]
        return Axes(order, self.extents_of(moved))

    def equations(self) -> Iterable[str]:
        """The kernel's equations as text."""
        for one in self._inner():
            yield f"{one.read} = {one.value}"
        for equation in self.group.reductions:
            yield f"{equation.target[equation.target.axes]} = {equation.value}"
        reduced = {e.target.name for e in self.group.reductions}
        for result in self.group.results:
            if result.name not in reduced:
                indices = ", ".join(i.name for i in result.indices)
                yield f"{result.name}[{indices}] = {result.value}"

    def values(self) -> Iterable[Basic]:
        """All expressions that are computed."""
        for one in self._inner():
            yield from (one.left, one.right)
        yield from (e.value for e in self.group.reductions)
        for result in self.group.results:
            value: Any = result.value
            yield value

    def tensors(self) -> Iterable[TensorArgument]:
        """Tensors that are read or stored."""
        made = {e.target.name for e in self.group.reductions} | {one.read.tensor for one in self._inner()}
        read = {n.tensor for e in self.values() for n in walk(e) if isinstance(n, Read)} - made
        stored = [r.name for r in self.group.results]
        known = self.layer.tensors
        # Operands come first: a contraction then has one order of arguments, whichever layer it is a kernel of.
        for tensor in {**{name: known[name] for name in self._of_operands() if name in known}, **known}.values():
            if tensor.name in read or tensor.name in stored:
                default = None if tensor.default is None else Fraction(int(tensor.default.p), int(tensor.default.q))
                axes = tuple(axis.name for axis in tensor.axes)
                optional = tensor.name in self.optional
                yield TensorArgument(tensor.name, axes, tensor.kind, default, tensor.name in stored, optional)

    def _inner(self) -> tuple[InnerProduct, ...]:
        return () if self.group.chain is None else self.group.chain.inner

    def _of_operands(self) -> list[str]:
        """Names of the tensors of a contraction's operands, left before right."""
        split = as_contraction(self.group.reductions[0]) if self.group.pattern == LoopPattern.CONTRACTION else None
        sides = () if split is None else (split.left, split.right)
        return [read.tensor for side in sides for read in reads(side)]

    def is_whole(self, name: str) -> bool:
        """Whether a parameter is a whole number."""
        return any(symbol.name == name and symbol.is_integer for symbol in self.layer.parameters)

    def numbers(self, columns: Iterable[Index]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Names of numbers: extents, compile-time constants, and parameters that vary from call to call."""
        depth = (index for one in self._inner() for index in one.depth)
        indices = {*self.group.rows, *columns, *depth, *(i for e in self.group.reductions for i in e.value.indices)}
        names = {s.name for i in indices for s in i.extent.free_symbols}
        names |= {s.name for e in self.values() for s in symbols_of(e)}
        parameters = {s.name for s in self.layer.parameters}
        scalars = names & self.scalars
        constants = (names & (self.constants | parameters)) - scalars
        return tuple(sorted(names - constants - scalars)), tuple(sorted(constants)), tuple(sorted(scalars))
