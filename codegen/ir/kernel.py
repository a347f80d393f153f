"""Kernel IR: what a template prints. It contains no SymPy.

A kernel has parallel indices, sections (straight code or loops with accumulators) and stores. Its expressions are those
of ``svertka.codegen.ir.nodes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ir.nodes import Apply, Constant, Kind, Load, Name, Node, walk_node

__all__ = [
    "Accumulator",
    "Apply",
    "Axes",
    "BoxAxis",
    "BoxOperand",
    "Boxes",
    "ChainTiles",
    "Constant",
    "Extent",
    "InnerTile",
    "Kernel",
    "Kind",
    "Let",
    "Load",
    "LoopBounds",
    "Name",
    "Node",
    "Operand",
    "PhasedLanes",
    "Section",
    "Store",
    "Tap",
    "TensorArgument",
    "TileAxis",
    "Walk",
    "walk_node",
]


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
        step: for a recurrence: what the value so far is multiplied by, where the conditions ``step_guards`` hold.
        maximum: for a sum whose values are multiplied by ``exp(x - shift)``: name of the accumulator of the same loop
            that finds the largest x, with the same guards.
        shift: an expression of this accumulator's result.
        ignores_nan: whether a maximum may be of the elements that are no NaN.
        vanishing: whether a sum's values are 0 beyond the loop's end, as their loads are masked there.
    """

    name: str
    operation: Literal["sum", "product", "max", "argmax"]
    value: Node
    guards: tuple[Node, ...]
    position: Node | None = None
    best: str = ""
    step: Node | None = None
    step_guards: tuple[Node, ...] = ()
    maximum: str = ""
    shift: Node | None = None
    ignores_nan: bool = False
    vanishing: bool = False

    @property
    def expressions(self) -> tuple[Node, ...]:
        """Its expressions, but for the position."""
        return (self.value, *self.guards, *(() if self.step is None else (self.step,)), *self.step_guards)

    @property
    def unweighted(self) -> bool:
        """Whether all its values are 1."""
        return self.value == Constant(Fraction(1), "real")


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
class Tap:
    """An index of the sum whose values are walked one by one.

    All values are walked, or those with ``slope * index = residue`` modulo ``modulus``.
    """

    index: str
    extent: Node
    slope: Node | None = None
    residue: Node | None = None
    modulus: Node | None = None


@dataclass(frozen=True)
class TapRange:
    """An index of the sum of which each result walks a few values one by one.

    They are those from ``first`` on, as many as ``width / slope``, rounded up.
    """

    index: str
    first: Node
    width: Node
    slope: Node


@dataclass(frozen=True)
class Section:
    """Code within common loops: over a window, over the columns of a row program, or (empty ``loops``) in no loop.

    Attributes:
        loops: indices of the loops, outermost first.
        taps: those of them of which only values of one residue class, or of a short range, are walked.
        lets, accumulators, stores: the code.
        when: a condition, the same for a whole launch, without which nothing uses what the loop gives: it does not run.
    """

    loops: tuple[Extent, ...]
    lets: tuple[Let, ...] = ()
    accumulators: tuple[Accumulator, ...] = ()
    stores: tuple[Store, ...] = ()
    taps: tuple[Tap | TapRange, ...] = ()
    when: Node | None = None

    def tap(self, index: str) -> Tap | TapRange | None:
        """How a loop's index is walked, if not through all its values."""
        return next((tap for tap in self.taps if tap.index == index), None)

    @property
    def online(self) -> tuple[Accumulator, ...]:
        """The sums of exponentials that are shifted by a maximum of the same loop."""
        return tuple(a for a in self.accumulators if a.maximum)


@dataclass(frozen=True)
class LoopBounds:
    """Bounds of a summed index that the result's indices give: its values lie between ``first`` and ``last``."""

    index: str
    first: tuple[Node, ...]
    last: tuple[Node, ...]


@dataclass(frozen=True)
class Operand:
    """A factor of a contraction, over its own indices and those that are summed.

    Attributes:
        lets: statements it needs.
        value: its elements.
        guards: conditions; where one does not hold, they are 0.
        tensor: the tensor whose stored elements they are, which enter the matrix unit without rounding; empty if they
            are computed.
    """

    lets: tuple[Let, ...]
    value: Node
    guards: tuple[Node, ...]
    tensor: str

    @property
    def stored(self) -> bool:
        """Whether its elements are stored elements of a tensor."""
        return bool(self.tensor)


@dataclass(frozen=True)
class InnerTile:
    """A contraction of which a chain computes a tile wherever it reads its elements.

    Attributes:
        name: of the tile, over rows and columns.
        axes: the summed indices in the left factor; ``right_axes``: those in the right factor, of the same extents.
        left, right: the factors over the rows and over the columns.
    """

    name: str
    axes: Axes
    right_axes: Axes
    left: Operand
    right: Operand


@dataclass(frozen=True)
class ChainTiles:
    """What a chain multiplies: inner tiles, and the other factor of its contraction, if it has one."""

    inner: tuple[InnerTile, ...]
    other: Operand | None


@dataclass(frozen=True)
class TileAxis:
    """An index that varies within a tile: ``step * place + phase``; the phase has one value in each program."""

    index: str
    extent: Node
    step: Node | None = None


@dataclass(frozen=True)
class PhasedLanes:
    """How a window kernel is computed with one lane for all phases of some indices.

    Attributes:
        rows: the kernel's rows, with ``cell_x`` in the place of each divided index x. A cell has ``phases_x`` of its
            values: all phases, or 1 where lanes compute one result.
        phases: the divided indices; x is ``step * cell_x + phase_x``, and the phase a compile-time constant.
        sections: as those of the kernel; loops over taps have values of a residue that the phases decide.
    """

    rows: Axes
    phases: tuple[TileAxis, ...]
    sections: tuple[Section, ...]

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of reduced values that are stored, after all phases have their own."""
        storing = [section for section in self.sections if section.stores]
        used = {
            part.name
            for section in storing
            for root in (*(let.value for let in section.lets), *(store.value for store in section.stores))
            for part in walk_node(root)
            if isinstance(part, Name)
        }
        reduced = [name for section in self.sections for a in section.accumulators for name in (a.name, a.best)]
        return tuple(name for name in reduced if name in used)


@dataclass(frozen=True)
class Walk:
    """An index that has one value in each program, or in each part of a sum."""

    index: str
    extent: Node


@dataclass(frozen=True)
class BoxAxis:
    """An axis of a box.

    Attributes:
        axis: the tensor's axis; ``extent``: its extent.
        tile: the tile's index along it, or "" where a box is one element wide.
        shift: how far beyond the tile's place it is read; without a tile, the place where it is read.
        step: if not None, the box has every ``step``-th element; ``phase``: name of the place of the first of them.
        residue: the value of the phase, if the program's indices alone decide it.
        limit: along a summed index, the largest number of elements that the box may have.
    """

    axis: str
    extent: Node
    tile: str
    shift: Node | None
    step: Node | None = None
    phase: str = ""
    residue: Node | None = None
    limit: Node | None = None


@dataclass(frozen=True)
class BoxOperand:
    """A factor of a contraction, fetched by boxes.

    Attributes:
        tensor: its name.
        base: axes whose place is added to the base address; ``axes``: axes of the box, the fastest last.
        transposed: whether the summed indices come first and those of the result last.
    """

    tensor: str
    base: tuple[BoxAxis, ...]
    axes: tuple[BoxAxis, ...]
    transposed: bool

    @property
    def moves(self) -> bool:
        """Whether the boxes of two programs differ in more than their place."""
        return bool(self.base) or any(axis.residue is not None or axis.limit is not None for axis in self.axes)

    @property
    def phased(self) -> bool:
        """Whether each part of the sum has boxes of its own."""
        return any(axis.step is not None and axis.residue is None for axis in self.axes)


@dataclass(frozen=True)
class Boxes:
    """How a contraction is computed from boxes.

    Attributes:
        rows, columns: indices of the result's tile, one for the rows, one or more for the columns.
        summed: indices of the sum that vary within a tile.
        taps: indices of the sum that are walked one by one.
        walks: indices and phases that have one value in each program.
        phases: phases that have one value in each part of the sum.
        left, right: the operands that give the rows and the columns.
    """

    rows: tuple[TileAxis, ...]
    columns: tuple[TileAxis, ...]
    summed: tuple[TileAxis, ...]
    taps: tuple[Tap, ...]
    walks: tuple[Walk, ...]
    phases: tuple[Walk, ...]
    left: BoxOperand
    right: BoxOperand


@dataclass(frozen=True)
class TensorArgument:
    """A tensor that a kernel takes.

    Attributes:
        name: its name.
        axes: names of the indices of its axes.
        kind: ``"real"`` or ``"integer"``.
        default: its value when it is not given, or None.
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
        pattern: its loop pattern, which says by what template it is printed.
        equations: what it computes, as text.
        tensors: its tensors, in the order of the layer; those of a contraction's operands first, left before right.
        extents: runtime sizes; ``constants``: sizes and parameters known at compile time.
        scalars: parameters that vary from call to call; ``reals``: those of them that are real numbers.
        rows: parallel indices (for contractions and chains: batch, m, n in this order).
        columns: indices of the row program's row, of the place along which a scan runs, or of the sum of a contraction
            or chain.
        sections: code, in order.
        groups: for contractions and chains: batch, m and n indices.
        phases: for contractions: indices of the result of which a tile has every step-th value, the first of them the
            phase, an index of the batch; ``taps``: summed indices of which the phases leave one residue class.
        bounds: for contractions and chains over one index: its bounds.
        used: for contractions: numbers; if one is negative in all of a tile, no result needs the tile's sums. Each is a
            sum of parts along the tile's sides.
        operands: for contractions: left and right.
        accumulator: for contractions, and chains that end in one: name of the sum.
        boxes: for contractions whose operands are boxes: these boxes.
        phased: for windows: how lanes compute several results together, if that leaves less to do.
        reverse: for scans: whether they run from the last column to the first.
        chain: for chains: what they multiply.
    """

    name: str
    pattern: LoopPattern
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
    boxes: Boxes | None = None
    reals: tuple[str, ...] = ()
    phases: tuple[TileAxis, ...] = ()
    taps: tuple[Tap, ...] = ()
    bounds: LoopBounds | None = None
    used: tuple[tuple[Node, ...], ...] = ()
    phased: PhasedLanes | None = None
    reverse: bool = False
    chain: ChainTiles | None = None

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that compute it: with pointers and, if operands are boxes, with boxes."""
        return (self.name,) if self.boxes is None else (self.name, f"{self.name}_boxes")

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the tensors that it stores, in order."""
        return tuple(dict.fromkeys(store.tensor for section in self.sections for store in section.stores))

    @property
    def window(self) -> tuple[Axes, Axes]:
        """The summed indices over a window, and the others; if there are no others, all count as others."""
        small = tuple(extent for extent in self.columns.order if extent.small)
        others = tuple(extent for extent in self.columns.order if not extent.small)
        if not small or not others:
            return Axes((), ()), self.columns
        return Axes(small, small), Axes(others, others)

    @property
    def maps(self) -> bool:
        """Whether a row program reduces nothing: its columns are then divided among programs, too."""
        return self.pattern == LoopPattern.ROW and not any(section.accumulators for section in self.sections)

    @property
    def read_again(self) -> int:
        """Of a row program one of whose tensors is read in more than one loop that always runs: how many are read."""
        walks = [section for section in self.sections if section.loops and section.when is None]
        loads = ((let.value for let in walk.lets if isinstance(let.value, Load)) for walk in walks)
        loaded = [{load.tensor for load in some} for some in loads]
        every = frozenset[str]().union(*loaded)
        again = self.pattern == LoopPattern.ROW and len(every) < sum(map(len, loaded))
        return len(every) if again else 0

    @property
    def splitting(self) -> tuple[int, ...]:
        """Of a row program whose loops do nothing but reduce, one behind another: the places of their sections.

        Behind them may stand loops that only store. Where rows are few and long, several programs reduce a part of each
        in every such loop, what follows is computed of all parts, and each stores a part. Others have none.
        """
        loops = [place for place, section in enumerate(self.sections) if section.loops]
        found = tuple(place for place in loops if self.sections[place].accumulators)
        reducing = [self.sections[place] for place in found]
        if self.pattern != LoopPattern.ROW or not found or tuple(loops[: len(found)]) != found:
            return ()
        plain = all(section.when is None and not section.online for section in self.sections)
        combined = all(a.operation in ("sum", "product", "max") for section in reducing for a in section.accumulators)
        storing = any(section.stores for section in self.sections[: found[-1] + 1])
        return found if plain and combined and not storing else ()

    @property
    def spread(self) -> bool:
        """Whether loops behind those that are split store the row, each program a part of it."""
        return bool(self.splitting) and any(section.loops for section in self.sections[self.splitting[-1] + 1 :])

    @property
    def gathers(self) -> bool:
        """Whether some operand of a contraction is read through conditions or computed."""
        return any(operand.guards or not operand.stored for operand in self.operands)

    @property
    def held(self) -> frozenset[str]:
        """Tensors of which a program holds a tile beside its sums: every row and column reads another element."""
        groups = self.groups[1:] if self.pattern == LoopPattern.CONTRACTION else (self.rows, self.columns)
        sides = [{extent.index for extent in axes.order} for axes in groups]
        values = [let.value for section in self.sections for let in section.lets]
        loads = [node for value in values for node in walk_node(value) if isinstance(node, Load)]
        return frozenset(load.tensor for load in loads if all(side & _names(load.indices) for side in sides))


def _names(nodes: Iterable[Node]) -> set[str]:
    return {part.name for node in nodes for part in walk_node(node) if isinstance(part, Name)}
