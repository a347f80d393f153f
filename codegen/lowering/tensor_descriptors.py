"""Contractions whose operands are boxes of their tensors, which a GPU's copy engine fetches whole.

A box is a rectangle of consecutive elements along each axis; what lies outside the tensor comes as 0, so that padding
and guards cost nothing. An operand is a box for every step of the sum if each of its axes is read at

- an index of the tile, ``c``;
- such an index beside indices that are walked one by one, ``p + r*dilation - padding``;
- a multiple of such an index: then every stride-th element is seen as a tensor of its own, of which there are as many
  as the stride (its *phases*), and the walked indices are those that meet the phase;
- an exact quotient, as in the gradient of a strided read: then the result has the phases instead.

Walked are the indices of small, constant extent, in the sum one step after another, in the result by different
programs. Nothing else is asked: which layer it is does not matter.

Input: a contraction's equation and how its indices divide. Output: ``Boxes``, or None where some operand is no box.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sympy import Expr, Symbol

from svertka.codegen.ir.kernel import Apply, BoxAxis, Boxes, BoxOperand, Node, Tap, TileAxis, Walk
from svertka.codegen.ir.loop_patterns import Contraction
from svertka.codegen.lowering.expressions import Door
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Divides, FloorDiv, Index, InRange, Read
from svertka.spec.rewrite import coefficient, conditions, index_set

__all__ = ["boxes"]

MOST_AXES = 5  # of a box, as the hardware has it


def boxes(equation: Equation, split: Contraction, layer: Layer, constants: Iterable[str]) -> Boxes | None:
    """Describe the boxes of a contraction.

    Args:
        equation: the sum.
        split: how its indices divide.
        layer: for the operands' dimensions.
        constants: names of extents that are small and known at compile time.
    """
    sides = ((split.left, split.m), (split.right, split.n))
    if not all(isinstance(factor, Read) and factor.args[1].name == "real" for factor, _ in sides):
        return None
    try:
        return _Finder(equation, split, layer, frozenset(constants)).found()
    except _NoBox:
        return None


class _NoBox(Exception):  # noqa: N818 - not an error: the other route is taken
    """An operand is no box."""


def _demand(holds: object) -> None:
    if not holds:
        raise _NoBox


@dataclass(frozen=True)
class _Axis:
    """An axis of an operand: at every ``step``-th element from ``phase``, ``shift`` beyond the tile's index."""

    index: Index
    tile: Index | None
    shift: Expr
    step: Expr | None = None
    phase: Symbol | None = None


@dataclass
class _Finder:
    equation: Equation
    split: Contraction
    layer: Layer
    constants: frozenset[str]
    taps: dict[Index, Tap] = field(default_factory=dict)
    walks: list[Walk] = field(default_factory=list)
    phases: list[Walk] = field(default_factory=list)
    steps: dict[Index, Expr] = field(default_factory=dict)
    summed: list[Index] = field(default_factory=list)
    tiles: set[Index] = field(default_factory=set)
    walked: set[Index] = field(default_factory=set)
    fixed: set[Index] = field(default_factory=set)
    door: Door = field(default_factory=lambda: Door({}))

    def found(self) -> Boxes:
        value = self.equation.value
        self.summed = _ordered(i for i in value.indices if not self._small(i))
        walked = [i for i in value.indices if self._small(i)]
        free = [_ordered(i for i in group if not self._small(i)) for group in (self.split.m, self.split.n)]
        _demand(self.summed and all(free))
        self.tiles = {*self.summed, *free[0], *free[1]}
        self.walked = set(walked)
        self.fixed = {i for i in (*self.split.batch, *self.split.m, *self.split.n) if i not in self.tiles}
        self.walks = [Walk(i.name, self._node(i.extent)) for i in self.equation.target.axes if i in self.fixed]
        self.taps = {i: Tap(i.name, self._node(i.extent)) for i in walked}
        reads: list[Read] = [self.split.left, self.split.right]
        axes = [self._axes(read) for read in reads]
        _demand(self._all_guards_hold(reads))
        last = self._last(reads, axes)
        operands = [self._operand(*each) for each in zip(reads, axes, free, last, strict=True)]
        if len(free[0]) > 1:  # rows come from the operand whose box is a matrix already
            operands, free = operands[::-1], free[::-1]
        _demand(len(free[0]) == 1)
        rows, columns, summed = (tuple(map(self._tile, group)) for group in (*free, self.summed))
        taps = tuple(self.taps.values())
        return Boxes(rows, columns, summed, taps, tuple(self.walks), tuple(self.phases), operands[0], operands[1])

    def _small(self, index: Index) -> bool:
        return str(index.extent) in self.constants

    def _node(self, expression: Expr) -> Node:
        return self.door.integer(expression)

    def _tile(self, index: Index) -> TileAxis:
        step = self.steps.get(index)
        return TileAxis(index.name, self._node(index.extent), None if step is None else self._node(step))

    # Axes -----------------------------------------------------------------------------------------------------------

    def _axes(self, read: Read) -> list[_Axis]:
        axes = self.layer.tensors[read.tensor].axes
        return [self._axis(index, axis) for index, axis in zip(read.indices, axes, strict=True)]

    def _axis(self, place: Expr, axis: Index) -> _Axis:
        divisor = None
        if isinstance(place, FloorDiv):
            place, divisor = place.args
        met = index_set(place)
        tiles, walked = met & self.tiles, met & self.walked
        _demand(met <= self.tiles | self.walked | self.fixed and len(tiles) <= 1 and len(walked) <= 1)
        if not tiles:
            _demand(divisor is None)
            return _Axis(axis, None, place)
        (tile,) = tiles
        parts = coefficient(place, tile)
        _demand(parts is not None)
        assert parts is not None
        slope, rest = parts
        if divisor is not None:
            _demand(slope == 1)
            return self._quotient(axis, tile, rest, divisor, walked)
        if slope == 1:
            return _Axis(axis, tile, rest)
        _demand(slope.is_positive)
        return self._strided(axis, tile, rest, slope, walked)

    def _strided(self, axis: Index, tile: Index, rest: Expr, step: Expr, walked: frozenset[Index]) -> _Axis:
        """Every step-th element: the walked indices of the sum are those that meet the phase."""
        phase = Symbol(f"phase_{axis.name}", integer=True, nonnegative=True)
        if walked:
            self._couple(walked, rest, step, phase)
            self._add_walk(self.phases, phase, step)
        return _Axis(axis, tile, FloorDiv(rest - phase, step), step, phase)

    def _quotient(self, axis: Index, tile: Index, rest: Expr, step: Expr, walked: frozenset[Index]) -> _Axis:
        """An exact quotient: the tile takes every step-th index of the result."""
        _demand(tile not in self.summed and self.steps.get(tile) in (None, step))
        phase = Symbol(f"phase_{tile.name}", integer=True, nonnegative=True)
        if tile not in self.steps:
            self._add_walk(self.walks, phase, step)
        self.steps[tile] = step
        if walked:
            self._couple(walked, rest, step, -phase)
        else:
            _demand(rest == 0)
        return _Axis(axis, tile, FloorDiv(rest + phase, step))

    def _add_walk(self, walks: list[Walk], phase: Symbol, step: Expr) -> None:
        _demand(all(walk.index != phase.name for walk in (*self.walks, *self.phases)))
        walks.append(Walk(phase.name, self._node(step)))

    def _couple(self, walked: frozenset[Index], rest: Expr, step: Expr, phase: Expr) -> None:
        """The walked index r must solve rest(r) = phase modulo step."""
        (tap,) = walked
        parts = coefficient(rest, tap)
        _demand(parts is not None and self.taps[tap].modulus is None)
        assert parts is not None
        slope, constant = parts
        _demand(not index_set(slope) and not index_set(constant))
        nodes = (self._node(part) for part in (slope, phase - constant, step))
        self.taps[tap] = Tap(tap.name, self.taps[tap].extent, *nodes)

    def _all_guards_hold(self, reads: Sequence[Read]) -> bool:
        """Whether boxes leave out just what the guards leave out."""
        implied = set()
        for read in reads:
            for place, extent in zip(read.indices, read.extents, strict=True):
                implied.add(InRange(place, extent))
                if isinstance(place, FloorDiv):
                    implied.add(Divides(place.args[1], place.args[0]))
        return set(conditions(self.equation.value.guard)) <= implied

    # Operands -------------------------------------------------------------------------------------------------------

    def _last(self, reads: Sequence[Read], axes: Sequence[list[_Axis]]) -> list[_Axis]:
        """Each operand's fastest axis: of row-major tensors if all can be, else with channels last."""

        def plain(axis: _Axis) -> bool:
            return axis.tile is not None and axis.shift == 0 and axis.step is None and axis.tile not in self.steps

        dims = [self.layer.tensors[read.tensor].dims for read in reads]
        for choice in (-1, 1):
            names = [(dim[choice] if len(dim) > 1 else dim[0])[-1] for dim in dims]
            chosen = [next(a for a in group if a.index == name) for group, name in zip(axes, names, strict=True)]
            if all(map(plain, chosen)):
                return chosen
        raise _NoBox

    def _operand(self, read: Read, axes: list[_Axis], free: list[Index], last: _Axis) -> BoxOperand:
        groups = (free, self.summed)
        _demand(all({a.tile for a in axes if a.tile in group} == set(group) for group in groups))
        _demand(len({a.tile for a in axes if a.tile}) == len([a for a in axes if a.tile]))
        transposed = last.tile in free
        order = [*self.summed, *free] if transposed else [*free, *self.summed]
        _demand(order[-1] == last.tile)
        batch = [a for a in axes if a.tile is None and not index_set(a.shift) & self.walked]
        base = batch if len(axes) > MOST_AXES else []
        units = [a for a in axes if a.tile is None and a not in base]
        _demand(len(axes) - len(base) <= MOST_AXES)
        tiled = [next(a for a in axes if a.tile == index) for index in order]
        fixed = tuple(self._box_axis(a) for a in base)
        boxed = tuple(self._box_axis(a) for a in (*units, *tiled))
        return BoxOperand(read.tensor, fixed, boxed, transposed)

    def _box_axis(self, axis: _Axis) -> BoxAxis:
        tile = "" if axis.tile is None else axis.tile.name
        shift = None if axis.shift == 0 else self._node(axis.shift)
        if axis.step is None or axis.phase is None:
            return BoxAxis(axis.index.name, self._node(axis.index.extent), tile, shift, limit=self._limit(axis))
        step, walked = self._node(axis.step), any(walk.index == axis.phase.name for walk in self.phases)
        phase = None if walked else self._residue(axis)
        extent = self._node(axis.index.extent)
        return BoxAxis(axis.index.name, extent, tile, shift, step, axis.phase.name, phase, self._limit(axis))

    def _residue(self, axis: _Axis) -> Node:
        """The phase where it follows from the program alone: the offset modulo the step, never negative."""
        assert axis.step is not None
        quotient = axis.shift.args[0] + axis.phase
        node, step = self._node(quotient), self._node(axis.step)
        rest = Apply("add", (Apply("remainder", (node, step), "integer"), step), "integer")
        return Apply("remainder", (rest, step), "integer")

    def _limit(self, axis: _Axis) -> Node | None:
        """Where an index that is summed reaches beyond its extent, both operands must give 0."""
        if axis.tile not in self.summed or (axis.shift == 0 and axis.step is None):
            return None
        _demand(not index_set(axis.shift) & self.walked)
        assert axis.tile is not None
        return self._node(axis.tile.extent + axis.shift)


def _ordered(indices: Iterable[Index]) -> list[Index]:
    """Examples side by side: of them there are most, and their number divides best."""
    return sorted(indices, key=lambda index: index.batch)
