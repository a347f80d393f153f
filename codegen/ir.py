"""Kernel IR: what a template prints. SymPy ends before it.

A kernel has parallel indices, sections (straight code or loops with accumulators) and stores. Expressions are trees of
four node types; each node knows whether it is an integer, a real or a condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from svertka.codegen.classify import Family

__all__ = [
    "Accumulator",
    "Apply",
    "Axes",
    "Constant",
    "Extent",
    "Kernel",
    "Let",
    "Load",
    "Name",
    "Node",
    "Operand",
    "Section",
    "Store",
    "TensorArgument",
    "walk_node",
]

Kind = Literal["integer", "real", "condition"]


@dataclass(frozen=True)
class Constant:
    """A number; infinities and NaN are given by name."""

    value: Fraction | str
    kind: Kind


@dataclass(frozen=True)
class Name:
    """An index, an extent, a parameter or a value computed before."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Apply:
    """An operation on nodes."""

    operation: str
    arguments: tuple[Node, ...]
    kind: Kind


@dataclass(frozen=True)
class Load:
    """An element of a tensor; ``masks`` are the conditions under which the address is valid."""

    tensor: str
    indices: tuple[Node, ...]
    masks: tuple[Node, ...]
    kind: Kind


Node = Constant | Name | Apply | Load


def walk_node(node: Node) -> Iterator[Node]:
    """Every node of an expression, parents first."""
    yield node
    children = (
        node.arguments if isinstance(node, Apply) else (*node.indices, *node.masks) if isinstance(node, Load) else ()
    )
    for child in children:
        yield from walk_node(child)


@dataclass(frozen=True)
class Let:
    """``name = value``."""

    name: str
    value: Node


@dataclass(frozen=True)
class Accumulator:
    """A reduction: ``name`` becomes the ``operation`` of ``value`` over all elements with ``guards``.

    Attributes:
        position: the element's place, for argmax.
        best: name of the largest value so far, for argmax.
    """

    name: str
    operation: Literal["sum", "max", "argmax"]
    value: Node
    guards: tuple[Node, ...]
    position: Node | None = None
    best: str = ""


@dataclass(frozen=True)
class Extent:
    """An index with its number of values, for loops and decompositions."""

    index: str
    extent: str
    small: bool


@dataclass(frozen=True)
class Axes:
    """Indices of one flattened loop, slowest first.

    Attributes:
        order: for tensors in row-major order.
        last: for tensors whose second dimension is the fastest (channels last).
    """

    order: tuple[Extent, ...]
    last: tuple[Extent, ...]

    @property
    def names(self) -> frozenset[str]:
        """Names of the indices."""
        return frozenset(extent.index for extent in self.order)


@dataclass(frozen=True)
class Store:
    """``tensor[indices] = value`` wherever the program's indices are in range."""

    tensor: str
    indices: tuple[Node, ...]
    value: Node


@dataclass(frozen=True)
class Section:
    """Code under common loops: over ``loops`` for windows, over the columns for row programs, else over nothing."""

    loops: tuple[Extent, ...]
    lets: tuple[Let, ...] = ()
    accumulators: tuple[Accumulator, ...] = ()
    stores: tuple[Store, ...] = ()


@dataclass(frozen=True)
class Operand:
    """A factor of a contraction, over its own indices and those that are summed.

    Attributes:
        lets: statements it needs.
        value: its elements.
        guards: where they are not 0.
        stored: whether it is a tensor's element as stored, fit for the matrix unit without rounding it.
    """

    lets: tuple[Let, ...]
    value: Node
    guards: tuple[Node, ...]
    stored: bool


@dataclass(frozen=True)
class TensorArgument:
    """A tensor that a kernel takes.

    Attributes:
        name: its name.
        axes: names of the indices of its axes.
        kind: ``"real"`` or ``"integer"``.
        default: its value when absent, or None.
        output: whether the kernel stores it.
        optional: whether a caller may leave the output out.
    """

    name: str
    axes: tuple[str, ...]
    kind: str
    default: Fraction | None
    output: bool
    optional: bool = False


@dataclass(frozen=True)
class Kernel:
    """One GPU kernel.

    Attributes:
        name: function name.
        family: which template prints it.
        equations: what it computes, as text.
        tensors: its tensors, outputs last.
        extents: runtime sizes; ``constants``: sizes and parameters known at compile time.
        scalars: parameters that vary from call to call.
        rows: parallel indices (for contractions: batch, m, n in this order).
        columns: indices of the row program's row, or of the contraction's sum.
        sections: code, in order.
        groups: for contractions: batch, m and n indices.
        operands: for contractions: left and right.
        accumulator: for contractions: name of the sum.
    """

    name: str
    family: Family
    equations: tuple[str, ...]
    tensors: tuple[TensorArgument, ...]
    extents: tuple[str, ...]
    constants: tuple[str, ...]
    scalars: tuple[str, ...]
    rows: Axes
    columns: Axes
    sections: tuple[Section, ...]
    groups: tuple[Axes, ...] = ()
    operands: tuple[Operand, ...] = ()
    accumulator: str = ""

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the tensors that it stores, in order."""
        return tuple(dict.fromkeys(store.tensor for section in self.sections for store in section.stores))

    @property
    def taps(self) -> tuple[Axes, Axes]:
        """The summed indices that walk a window, and the others; no taps unless there are others too."""
        small = tuple(extent for extent in self.columns.order if extent.small)
        others = tuple(extent for extent in self.columns.order if not extent.small)
        if not small or not others:
            return Axes((), ()), self.columns
        return Axes(small, small), Axes(others, others)

    @property
    def gathers(self) -> bool:
        """Whether some operand of a contraction is read through conditions or computed."""
        return any(operand.guards or not operand.stored for operand in self.operands)
