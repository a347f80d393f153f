"""``wgmma``: four warps multiply matrices of shared memory, asynchronously.

Where a matrix lies is said by a descriptor of 64 bits: start, two strides and a swizzle (PTX documentation, "Matrix
Descriptor"; the canonical layouts stand in CUTLASS's ``mma_sm90_desc.hpp``). Until ``wgmma.wait_group`` the operands
may not be written and the accumulators not be read.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.matrix import accumulator_places, fragment_places, values_of
from svertka.codegen.ptx.moves import spread
from svertka.codegen.ptx.numerics import product
from svertka.codegen.ptx.program import Code, Immediate, Instruction, Register, Vector
from svertka.codegen.ptx.state import WARP, Array, Reader, State, Step, reader, unknown, writer
from svertka.codegen.ptx.warps import whole_warps

__all__ = ["descriptor_places", "pending_products", "swizzled", "warpgroup"]

UNIT = "wgmma"
GROUP = 4 * WARP  # threads that execute together
ROWS = 64
PIECE = 16  # bytes that every layout keeps together
SPANS = {0: 16, 1: 128, 2: 64, 3: 32}  # swizzle mode of a descriptor: bytes of a row
_NAME = re.compile(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k(\d+)\.f32\.(\w+)\.(\w+)$")
INNER = {"bf16": 16, "f16": 16, "tf32": 8}


def swizzled(addresses: Array, span: int) -> Array:
    """Addresses after the exclusive or of a swizzle over rows of ``span`` bytes (16: none)."""
    return np.asarray(addresses ^ (((addresses >> 7) & (span // PIECE - 1)) << 4))


def descriptor_places(descriptor: int, outer: int, inner: int, itemsize: int, transposed: bool) -> Array:
    """Addresses of the pieces of 16 bytes of an operand.

    Args:
        descriptor: 64 bits.
        outer: rows of a left, columns of a right operand.
        inner: elements that are summed over.
        itemsize: bytes of an element.
        transposed: whether elements of ``outer`` are neighbours; else those of ``inner``.

    Returns:
        [outer, pieces of inner], or transposed [inner, pieces of outer].
    """
    start, leading, stride = ((descriptor >> shift & 0x3FFF) << 4 for shift in (0, 16, 32))
    span = SPANS[descriptor >> 62]
    if descriptor >> 49 & 7:
        raise ValueError("a base offset of a matrix descriptor is not known")
    rows, length = (inner, outer) if transposed else (outer, inner)
    row = np.arange(rows)[:, None]
    byte = np.arange(length * itemsize // PIECE)[None, :] * PIECE
    if span == PIECE:
        across, down = (stride, leading) if transposed else (leading, stride)
        places = start + row // 8 * down + row % 8 * PIECE + byte // PIECE * across
    elif transposed:
        places = start + byte // span * leading + byte % span + row // 8 * stride + row % 8 * span
    else:
        places = start + row // 8 * stride + row % 8 * span + byte
    return swizzled(places, span)


@dataclass
class _Flight:
    """What an instruction of one warpgroup reads and writes until it is waited for; ``warp``: its first."""

    warp: int
    group: int
    index: Array
    registers: tuple[int, ...]


@dataclass
class _Unit:
    committed: Array
    flying: list[_Flight] = field(default_factory=list)


def _unit(state: State) -> _Unit:
    unit: _Unit = state.unit(UNIT, lambda: _Unit(np.zeros(state.lanes // WARP, np.int64)))
    return unit


def warpgroup(code: Code, instruction: Instruction) -> Step:
    """Every ``wgmma`` instruction, by its name."""
    if instruction.name == "wgmma.fence.sync.aligned":
        return lambda state: None
    if instruction.name == "wgmma.commit_group.sync.aligned":
        return _commit
    if instruction.name == "wgmma.wait_group.sync.aligned" and isinstance(instruction.operands[0], Immediate):
        return _waiting(instruction.operands[0].value)
    return _multiply(code, instruction)


def _commit(state: State) -> None:
    _unit(state).committed[whole_warps(state)] += 1


def _waiting(left: int) -> Step:
    def step(state: State) -> None:
        unit, present = _unit(state), set(whole_warps(state).tolist())
        kept = []
        for flight in unit.flying:
            if flight.warp not in present or flight.group >= unit.committed[flight.warp] - left:
                kept.append(flight)
                continue
            state.shared.hold(flight.index, PIECE, -1)
            for warp in range(flight.warp, flight.warp + 4):  # each knows of itself alone that it is done
                state.shared.note(state, np.full(len(flight.index), warp * WARP), flight.index, PIECE)
                state.warp_tick[warp] = state.tick + 1
            for slot in flight.registers:
                state.flying[slot][flight.warp : flight.warp + 4] -= 1
                if not state.flying[slot].any():
                    del state.flying[slot]
        unit.flying = kept

    return step


def pending_products(state: State) -> bool:
    """Whether products were never waited for."""
    return UNIT in state.units and bool(_unit(state).flying)


@dataclass(frozen=True)
class _Form:
    """What an instruction's name and its constants say."""

    columns: int
    inner: int
    kind: str
    signs: tuple[int, int]
    transposed: tuple[bool, bool]

    @property
    def itemsize(self) -> int:
        return 4 if self.kind == "tf32" else 2


def _multiply(code: Code, instruction: Instruction) -> Step:
    form = _form(code, instruction)
    accumulators, left, right, scale = instruction.operands[:4]
    assert isinstance(accumulators, Vector)
    slots = tuple(part.slot for part in accumulators.parts if isinstance(part, Register))
    if len(slots) != form.columns // 2:
        raise unknown(code, instruction, "it has another number of operands than is known")
    writes = [writer(code, part, np.uint32) for part in accumulators.parts]
    keep = reader(code, scale, bool)
    of_right = reader(code, right, np.uint64)
    of_left = reader(code, left, np.uint64) if isinstance(left, Register) else None
    fragments = [reader(code, part, np.uint32) for part in left.parts] if isinstance(left, Vector) else []
    rows, columns = accumulator_places(16, form.columns)

    def step(state: State) -> None:
        warps = whole_warps(state)
        groups = warps.reshape(-1, 4)
        if (groups[:, 0] % 4).any() or (groups[:, 3] - groups[:, 0] != 3).any():
            raise state.error("not all warps of the warpgroup execute it", int(warps[0]) * WARP)
        read: list[list[Array]] = [[] for _ in groups]
        a = _left_matrix(state, form, groups, of_left, fragments, read)
        b = _matrix(state, form, groups, of_right, 1, read)
        before = np.zeros((len(warps), WARP, len(slots)), np.float32)
        if state.full(keep(state))[warps[0] * WARP]:
            values = [state.registers[slot] for slot in slots]
            if any(value is None for value in values):
                raise state.error("an accumulator is read and was never written")
            words = [state.full(value).reshape(-1, WARP)[warps] for value in values if value is not None]
            before = np.ascontiguousarray(np.stack(words, axis=2)).view(np.float32)
        c = np.zeros((len(warps), 16, form.columns), np.float32)
        c[:, rows, columns] = before
        result = product(a, b, c.reshape(len(groups), ROWS, form.columns))
        result = result.reshape(len(warps), 16, form.columns)[:, rows, columns]
        lanes = (warps[:, None] * WARP + np.arange(WARP)).reshape(-1)
        for place, write in enumerate(writes):
            write(state, spread(state, lanes, np.ascontiguousarray(result[:, :, place]).reshape(-1).view(np.uint32)))
        for (first, *_), index in zip(groups.tolist(), read, strict=True):
            _launch(state, first, np.concatenate(index), slots)

    return step


def _launch(state: State, warp: int, index: Array, slots: tuple[int, ...]) -> None:
    unit = _unit(state)
    state.shared.hold(index, PIECE, 1)
    for slot in slots:
        counts = state.flying.setdefault(slot, np.zeros(state.lanes // WARP, np.int64))
        counts[warp : warp + 4] += 1
    unit.flying.append(_Flight(warp, int(unit.committed[warp]), index, slots))


def _form(code: Code, instruction: Instruction) -> _Form:
    match = _NAME.match(instruction.name)
    constants = [part.value for part in instruction.operands[4:] if isinstance(part, Immediate)]
    if match is None or len(constants) != len(instruction.operands) - 4:
        raise unknown(code, instruction)
    columns, inner, kind, other = int(match.group(1)), int(match.group(2)), match.group(3), match.group(4)
    if kind != other or INNER.get(kind) != inner or columns % 8 or not 8 <= columns <= 256:
        raise unknown(code, instruction, "this shape or these types are not known")
    if any(abs(sign) != 1 for sign in constants[:2]):
        raise unknown(code, instruction)
    turned = [bool(value) for value in constants[2:]]
    both = (False, False) if kind == "tf32" else (turned[0], turned[1]) if len(turned) == 2 else (False, turned[0])
    expected = (0 if kind == "tf32" else 2 if isinstance(instruction.operands[1], Register) else 1) + 2
    if len(constants) != expected:
        raise unknown(code, instruction)
    return _Form(columns, inner, kind, (constants[0], constants[1]), both)


def _left_matrix(
    state: State,
    form: _Form,
    groups: Array,
    descriptor: Reader | None,
    fragments: list[Reader],
    read: list[list[Array]],
) -> Array:
    """The left operand: [warpgroups, 64, inner], from shared memory or from registers."""
    if descriptor is not None:
        return _matrix(state, form, groups, descriptor, 0, read)
    warps = groups.reshape(-1)
    words = np.stack([state.full(one(state)).reshape(-1, WARP)[warps] for one in fragments], axis=2)
    rows, columns = fragment_places(16, form.inner, 8 * form.itemsize)
    whole = np.zeros((len(warps), 16, form.inner), np.float32)
    whole[:, rows, columns] = values_of(form.kind, words)
    return form.signs[0] * whole.reshape(len(groups), ROWS, form.inner)


def _matrix(state: State, form: _Form, groups: Array, descriptor: Reader, side: int, read: list[list[Array]]) -> Array:
    """An operand in shared memory: [warpgroups, 64, inner] or [warpgroups, inner, columns]."""
    given = state.full(descriptor(state))
    outer = form.columns if side else ROWS
    turned = form.transposed[side]
    found = []
    for place, warps in enumerate(groups):
        lane = int(warps[0]) * WARP
        if (given[lane : lane + GROUP] != given[lane]).any():
            raise state.error("threads of a warpgroup have different descriptors", lane)
        try:
            places = descriptor_places(int(given[lane]), outer, form.inner, form.itemsize, turned)
        except ValueError as wrong:
            raise state.error(str(wrong), lane) from None
        addresses = places.reshape(-1)
        lanes = np.full(len(addresses), lane)
        index = state.shared.place(state, lanes, addresses, PIECE)
        state.shared.check_read(state, lanes, index, 4, PIECE // 4, addresses)
        state.shared.visible(state, lanes, index, PIECE, addresses)
        read[place].append(index)
        words = state.shared.data.view(np.uint32)[(index // 4)[:, None] + np.arange(PIECE // 4)]
        whole = values_of(form.kind, words.reshape(places.shape[0], -1))
        found.append(whole if turned == bool(side) else whole.T)
    return form.signs[side] * np.stack(found)
