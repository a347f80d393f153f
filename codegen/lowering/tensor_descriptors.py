"""Contractions whose operands are boxes of their tensors, which a GPU's copy engine fetches whole.

A box is a rectangle of consecutive elements along each axis. Elements outside the tensor are fetched as 0, so padding
and guards cost nothing. In each step of the sum the operand is a box if each of its axes is read in one of these ways:

- at an index of the tile, ``c``;
- at such an index plus indices that are walked one by one, ``p + r*dilation - padding``;
- at a multiple of such an index, ``p*stride + r``. The tensor then counts as several tensors, one for each remainder
  modulo the stride (a *phase*). The walked indices are those for which the read is of the current phase;
- at an exact quotient of such an index, as in the gradient of a strided read. The result then has the phases.

Indices of small, constant extent are walked: an index of the sum step after step, an index of the result by different
programs. Nothing depends on which layer it is.

Input: a contraction's equation and how its indices divide. Output: ``Boxes``, or None where some operand is no box.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sympy import Expr

from svertka.codegen.ir.kernel import Apply, BoxAxis, Boxes, BoxOperand, Node, Tap, TileAxis, Walk
from svertka.codegen.ir.loop_patterns import Contraction
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.codegen.lowering.residue_classes import ResidueClass, phase_of
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Divides, FloorDiv, Index, InRange, Read
from svertka.spec.rewrite import coefficient, conditions, index_set

__all__ = ["boxes"]

MOST_AXES = 5  # of a box, a limit of the hardware
Value = TypeVar("Value")


def boxes(equation: Equation, split: Contraction, layer: Layer, constants: Collection[str]) -> Boxes | None:
    """Describe the boxes of a contraction.

    Args:
        equation: the sum.
        split: how its indices divide.
        layer: for the operands' dimensions.
        constants: names of extents that are small and known at compile time.

    Returns:
        The boxes, or None if some operand is not a box: the contraction then loads its operands by pointers.
    """
    factors = (split.left, split.right)
    if not all(isinstance(factor, Read) and factor.args[1].name == "real" for factor in factors):
        return None
    roles = _roles(equation, split, frozenset(constants))
    if roles is None or not _is_implied(equation, factors):
        return None
    accesses = _all_found(_access(factor, layer, roles) for factor in factors)
    if accesses is None:
        return None
    known = {*constants, *(parameter.name for parameter in layer.parameters)}
    classes = [axis.congruence for access in accesses for axis in access.axes if axis.congruence is not None]
    if not all(one.follows_from(known) for one in classes):
        return None
    walked = _walked([axis for access in accesses for axis in access.axes], roles)
    fastest = _fastest(accesses, layer)
    if walked is None or fastest is None:
        return None
    sides = zip(accesses, (roles.left, roles.right), fastest, strict=True)
    operands = _all_found(_operand(access, free, last, roles) for access, free, last in sides)
    return None if operands is None else _described(operands[0], operands[1], roles, walked)


def _all_found(values: Iterable[Value | None]) -> list[Value] | None:
    """The values, or None if one of them is None."""
    found: list[Value] = []
    for value in values:
        if value is None:
            return None
        found.append(value)
    return found


def _node(expression: Expr) -> Node:
    return ExpressionLowering({}).integer(expression)


# Indices ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Roles:
    """How each index of a contraction is computed.

    Attributes:
        left, right: indices of the result that vary within a tile: those of the left factor, those of the right one.
        summed: indices of the sum that vary within a tile.
        taps: indices of the sum that are walked one by one.
        fixed: indices of the result that have one value in each program.
    """

    left: tuple[Index, ...]
    right: tuple[Index, ...]
    summed: tuple[Index, ...]
    taps: tuple[Index, ...]
    fixed: tuple[Index, ...]

    @property
    def tiled(self) -> frozenset[Index]:
        """Indices that vary within a tile."""
        return frozenset((*self.left, *self.right, *self.summed))


def _roles(equation: Equation, split: Contraction, constants: frozenset[str]) -> _Roles | None:
    """The roles of all indices; None if a tile would have a side without indices."""

    def large(indices: Iterable[Index]) -> tuple[Index, ...]:
        """Indices of a tile, the one that counts examples last: its extent is the largest and divides best."""
        found = [index for index in indices if str(index.extent) not in constants]
        return tuple(sorted(found, key=lambda index: index.batch))

    bound = equation.value.indices
    left, right, summed = large(split.m), large(split.n), large(bound)
    if not (left and right and summed):
        return None
    taps = tuple(index for index in bound if index not in summed)
    fixed = tuple(index for index in equation.target.axes if index not in (*left, *right))
    return _Roles(left, right, summed, taps, fixed)


def _is_implied(equation: Equation, factors: Sequence[Read]) -> bool:
    """Whether the sum's guard excludes only what boxes exclude: elements outside tensors, and inexact quotients."""
    implied = set()
    for read in factors:
        for place, extent in zip(read.indices, read.extents, strict=True):
            implied.add(InRange(place, extent))
            if isinstance(place, FloorDiv):
                implied.add(Divides(place.args[1], place.args[0]))
    return set(conditions(equation.value.guard)) <= implied


# Axes of operands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """How an operand is read along one axis of its tensor.

    Attributes:
        index: the tensor's axis.
        tile: the index of the tile along it, or None where the box is one element wide.
        shift: how far beyond the tile's index it is read; where there is no tile, where it is read.
        step: if not None, every ``step``-th element is read, the first of them at the phase of ``index``.
        tile_step: if not None, a tile has every ``tile_step``-th index of the result, the first of them the phase of
            ``tile``.
        congruence: which values of a walked index meet the phase.
    """

    index: Index
    tile: Index | None
    shift: Expr
    step: Expr | None = None
    tile_step: Expr | None = None
    congruence: ResidueClass | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is read at the tile's index itself."""
        return self.tile is not None and self.shift == 0 and self.step is None and self.tile_step is None


@dataclass(frozen=True)
class _Access:
    """How an operand is read: its tensor, and one entry for each axis."""

    tensor: str
    axes: tuple[_Axis, ...]


def _access(read: Read, layer: Layer, roles: _Roles) -> _Access | None:
    """How an operand is read, or None if some axis is read in another way than those of a box."""
    axes = layer.tensors[read.tensor].axes
    found = _all_found(_axis(place, axis, roles) for place, axis in zip(read.indices, axes, strict=True))
    return None if found is None else _Access(read.tensor, tuple(found))


def _axis(place: Expr, axis: Index, roles: _Roles) -> _Axis | None:
    divisor = None
    if isinstance(place, FloorDiv):
        place, divisor = place.args
    indices = index_set(place)
    tiles, taps = indices & roles.tiled, indices & {*roles.taps}
    if not indices <= {*roles.tiled, *roles.taps, *roles.fixed} or len(tiles) > 1 or len(taps) > 1:
        return None
    if not tiles:
        return _Axis(axis, None, place) if divisor is None else None
    (tile,) = tiles
    tap = next(iter(taps), None)
    line = coefficient(place, tile)
    if line is None:
        return None
    slope, rest = line
    if divisor is not None:
        return _quotient(axis, tile, rest, divisor, tap) if slope == 1 and tile not in roles.summed else None
    if slope == 1:
        return _Axis(axis, tile, rest)
    return _strided(axis, tile, rest, slope, tap) if slope.is_positive else None


def _strided(axis: Index, tile: Index, rest: Expr, step: Expr, tap: Index | None) -> _Axis | None:
    """A read of every step-th element; with a walked index, of all phases one after another."""
    phase = phase_of(axis)
    found = _Axis(axis, tile, FloorDiv(rest - phase, step), step=step)
    return found if tap is None else _coupled(found, tap, rest, step, phase)


def _quotient(axis: Index, tile: Index, rest: Expr, step: Expr, tap: Index | None) -> _Axis | None:
    """A read at an exact quotient: a tile has every step-th index of the result."""
    phase = phase_of(tile)
    found = _Axis(axis, tile, FloorDiv(rest + phase, step), tile_step=step)
    if tap is None:
        return found if rest == 0 else None
    return _coupled(found, tap, rest, step, -phase)


def _coupled(axis: _Axis, tap: Index, rest: Expr, step: Expr, phase: Expr) -> _Axis | None:
    """The axis with the condition that ``rest`` is the phase modulo the step; None if that is no line in the tap."""
    line = coefficient(rest, tap)
    if line is None:
        return None
    slope, constant = line
    if index_set(slope) or index_set(constant):
        return None
    return replace(axis, congruence=ResidueClass(tap, slope, phase - constant, step))


# Phases of both operands --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Walked:
    """What is walked, collected from all axes of both operands.

    Attributes:
        steps: the step of tiles' indices that take every step-th value.
        taps: indices of the sum, with the condition on each.
        programs: indices and phases that have one value in each program.
        parts: phases that have one value in each part of the sum.
    """

    steps: Mapping[Index, Expr]
    taps: tuple[Tap, ...]
    programs: tuple[Walk, ...]
    parts: tuple[Walk, ...]


def _walked(axes: Sequence[_Axis], roles: _Roles) -> _Walked | None:
    """Collect steps, phases and conditions.

    None if an index has two steps or two conditions, or if two phases have one name, as those of axes of one name have.
    """
    stepping = [(axis.tile, axis.tile_step) for axis in axes if axis.tile is not None and axis.tile_step is not None]
    steps = dict(stepping)
    strided = [axis for axis in axes if axis.step is not None]
    coupled = [axis.congruence for axis in axes if axis.congruence is not None]
    names = [index.name for index in roles.fixed]
    names += [phase_of(index).name for index in (*steps, *(axis.index for axis in strided))]
    if len(steps) < len({*stepping}) or len({*names}) < len(names) or len({one.tap for one in coupled}) < len(coupled):
        return None
    of_taps = {one.tap: one for one in coupled}
    of_indices = [Walk(index.name, _node(index.extent)) for index in roles.fixed]
    of_result = [Walk(phase_of(tile).name, _node(step)) for tile, step in steps.items()]
    of_sum = [Walk(phase_of(axis.index).name, _node(axis.step)) for axis in strided if axis.congruence is not None]
    plain = {tap: Tap(tap.name, _node(tap.extent)) for tap in roles.taps}
    taps = tuple(of_taps[tap].walked() if tap in of_taps else plain[tap] for tap in roles.taps)
    return _Walked(steps, taps, (*of_indices, *of_result), tuple(of_sum))


# Operands -----------------------------------------------------------------------------------------------------------


def _fastest(accesses: Sequence[_Access], layer: Layer) -> list[_Axis] | None:
    """The axis of each operand whose elements are neighbours: with row-major tensors if possible, else channels last.

    A box needs such an axis, read at the tile's index itself.
    """
    for choice in (-1, 1):
        chosen = []
        for access in accesses:
            dims = layer.tensors[access.tensor].dims
            name = (dims[choice] if len(dims) > 1 else dims[0])[-1]
            chosen.append(next(axis for axis in access.axes if axis.index == name))
        if all(axis.is_plain for axis in chosen):
            return chosen
    return None


def _operand(access: _Access, free: tuple[Index, ...], last: _Axis, roles: _Roles) -> BoxOperand | None:
    """An operand's boxes, or None if their shape is not the one that the matrix unit or the copy engine needs.

    Args:
        access: how the operand is read.
        free: the indices of the result that are its own.
        last: the axis whose elements are neighbours.
        roles: what each index does.
    """
    tiled = {axis.tile: axis for axis in access.axes if axis.tile is not None}
    single = [axis for axis in access.axes if axis.tile is None]
    if tiled.keys() != {*free, *roles.summed} or len(tiled) + len(single) < len(access.axes):
        return None
    transposed = last.tile in free
    order = (*roles.summed, *free) if transposed else (*free, *roles.summed)
    if order[-1] != last.tile or any(_has_moving_limit(axis, roles) for axis in access.axes):
        return None
    in_address = [a for a in single if not index_set(a.shift) & {*roles.taps}] if len(access.axes) > MOST_AXES else []
    boxed = [*(axis for axis in single if axis not in in_address), *(tiled[index] for index in order)]
    if len(boxed) > MOST_AXES:
        return None
    base, axes = (tuple(_box_axis(axis, roles) for axis in some) for some in (in_address, boxed))
    return BoxOperand(access.tensor, base, axes, transposed)


def _box_axis(axis: _Axis, roles: _Roles) -> BoxAxis:
    found = BoxAxis(
        axis=axis.index.name,
        extent=_node(axis.index.extent),
        tile="" if axis.tile is None else axis.tile.name,
        shift=None if axis.shift == 0 else _node(axis.shift),
        limit=_limit(axis, roles),
    )
    if axis.step is None:
        return found
    phase = phase_of(axis.index)
    place = axis.shift.args[0] + phase  # the shift is (place - phase) // step
    residue = None if axis.congruence is not None else _remainder(_node(place), _node(axis.step))
    return replace(found, step=_node(axis.step), phase=phase.name, residue=residue)


def _remainder(number: Node, divisor: Node) -> Node:
    """The remainder of a number that may be negative; a remainder of the kernel's language has the number's sign."""
    signed = Apply("remainder", (number, divisor), "integer")
    return Apply("remainder", (Apply("add", (signed, divisor), "integer"), divisor), "integer")


def _has_limit(axis: _Axis, roles: _Roles) -> bool:
    """Whether it is read at a summed index whose last value is not the last element of the tensor.

    Beyond that value both operands must give 0, so the box ends there.
    """
    return axis.tile in roles.summed and not (axis.shift == 0 and axis.step is None)


def _has_moving_limit(axis: _Axis, roles: _Roles) -> bool:
    """Whether the limit along a summed index depends on a walked index; a box has one limit for all of them."""
    return _has_limit(axis, roles) and bool(index_set(axis.shift) & {*roles.taps})


def _limit(axis: _Axis, roles: _Roles) -> Node | None:
    """How far along a summed index the box has elements; None where it has all."""
    return _node(axis.tile.extent + axis.shift) if axis.tile is not None and _has_limit(axis, roles) else None


# The whole ----------------------------------------------------------------------------------------------------------


def _described(left: BoxOperand, right: BoxOperand, roles: _Roles, walked: _Walked) -> Boxes | None:
    """The boxes of both operands; rows come from an operand with one index of its own, so that its box is a matrix."""

    def tile(indices: Iterable[Index]) -> tuple[TileAxis, ...]:
        steps = [walked.steps.get(index) for index in indices]
        nodes = [None if step is None else _node(step) for step in steps]
        return tuple(TileAxis(i.name, _node(i.extent), node) for i, node in zip(indices, nodes, strict=True))

    rows, columns = roles.left, roles.right
    if len(rows) > 1:
        left, right, rows, columns = right, left, columns, rows
    if len(rows) > 1:
        return None
    sides = (tile(rows), tile(columns), tile(roles.summed))
    return Boxes(*sides, walked.taps, walked.programs, walked.parts, left, right)
