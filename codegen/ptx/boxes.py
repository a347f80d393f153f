"""Boxes: tensor maps that the kernel builds, and copies of boxes between global and shared memory (TMA).

A tensor map is 128 bytes that only the hardware reads. The machine has a layout of its own for them and notes which
fields were set: a map with a field missing is an error, as is one that is used before its fence.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.mbarriers import Flight, barrier_at
from svertka.codegen.ptx.moves import address_reader
from svertka.codegen.ptx.program import Address, Code, Immediate, Instruction
from svertka.codegen.ptx.state import Array, State, Step, reader, unknown
from svertka.codegen.ptx.types import DTYPES
from svertka.codegen.ptx.wgmma import PIECE, swizzled

__all__ = ["TENSOR_MAP", "bulk_copy", "copy_map", "fence_map", "pending_boxes", "replace_field"]

TENSOR_MAP = np.dtype(
    [
        ("global_address", "u8"),
        ("rank", "u4"),
        ("elemtype", "u4"),
        ("interleave_layout", "u4"),
        ("swizzle_mode", "u4"),
        ("fill_mode", "u4"),
        ("box_dim", "u4", 5),
        ("global_dim", "u4", 5),
        ("element_stride", "u4", 5),
        ("set", "u4"),
        ("padding", "u4"),
        ("global_stride", "u8", 4),
    ]
)
"""The machine's own layout of a tensor map. ``set`` has a bit per field, and one per dimension of its last four."""
assert TENSOR_MAP.itemsize == 128
SINGLE = ("global_address", "rank", "elemtype", "interleave_layout", "swizzle_mode", "fill_mode")
SEVERAL = ("box_dim", "global_dim", "element_stride", "global_stride")
ITEM_BYTES = {0: 1, 1: 2, 2: 4, 3: 4, 4: 8, 5: 8, 6: 2, 7: 4, 8: 4, 9: 8, 10: 2, 11: 4, 12: 4}
SPANS = {0: 16, 1: 32, 2: 64, 3: 128}  # swizzle mode: bytes of a row
_LOAD = re.compile(
    r"cp\.async\.bulk\.tensor\.([1-5])d\.(?:shared::cta|shared::cluster)\.global(?:\.tile)?"
    r"\.mbarrier::complete_tx::bytes$"
)
_STORE = re.compile(r"cp\.async\.bulk\.tensor\.([1-5])d\.global\.shared::cta(?:\.tile)?\.bulk_group$")
UNIT, MAPS = "boxes", "maps"


def _bit(name: str, place: int) -> int:
    if name in SINGLE:
        return SINGLE.index(name)
    return len(SINGLE) + 5 * SEVERAL.index(name) + place


def replace_field(code: Code, instruction: Instruction) -> Step:
    """``tensormap.replace``: set one field of a map in shared memory."""
    parts = instruction.modifiers
    name = parts[2] if len(parts) == 6 else ""
    if parts[:2] != ("replace", "tile") or name not in (*SINGLE, *SEVERAL) or parts[3:5] != ("shared::cta", "b1024"):
        raise unknown(code, instruction)
    target, *rest = instruction.operands
    place = 0
    if name in SEVERAL:
        if not isinstance(rest[0], Immediate):
            raise unknown(code, instruction)
        place = rest.pop(0).value  # type: ignore[union-attr]
    address, value = address_reader(code, target), reader(code, rest[0], DTYPES[parts[5]])
    element = TENSOR_MAP[name].base
    offset = int(TENSOR_MAP.fields[name][1]) + place * element.itemsize  # type: ignore[index]
    mark = int(TENSOR_MAP.fields["set"][1])  # type: ignore[index]
    bit = np.uint32(1 << _bit(name, place))

    def step(state: State) -> None:
        lanes = state.chosen()
        start = state.among(address(state), lanes)
        if (start % 128).any():
            raise state.error("a tensor map is not aligned to 128", int(lanes[0]), int(start[0]))
        values = state.among(value(state), lanes).astype(element)
        state.shared.store(state, lanes, start + np.uint64(offset), values.view(f"u{element.itemsize}")[:, None])
        known = state.shared.load(state, lanes, start + np.uint64(mark), 4)
        state.shared.store(state, lanes, start + np.uint64(mark), known.view(np.uint32) | bit)

    return step


def copy_map(code: Code, instruction: Instruction) -> Step:
    """``tensormap.cp_fenceproxy``: a map from shared to global memory, for the copy engine to read."""
    name = "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned"
    target, source, size = instruction.operands
    if instruction.name != name or not isinstance(size, Immediate) or size.value != 128:
        raise unknown(code, instruction)
    to, from_ = address_reader(code, target), address_reader(code, source)

    def step(state: State) -> None:
        lanes = state.chosen()
        lanes = lanes[state.thread[lanes] % 32 == 0]  # the warp copies together
        goal, start = state.among(to(state), lanes), state.among(from_(state), lanes)
        if (goal % 128).any() or (start % 128).any():
            raise state.error("a tensor map is not aligned to 128", int(lanes[0]), int(goal[0]))
        for part in range(0, 128, 16):
            words = state.shared.load(state, lanes, start + np.uint64(part), 4, 4)
            state.arena.store(state, lanes, goal + np.uint64(part), words)
        for one in goal.tolist():
            state.units.setdefault(MAPS, {}).pop(one, None)

    return step


def fence_map(code: Code, instruction: Instruction) -> Step:
    """``fence.proxy.tensormap``: maps written before are seen by the copy engine after it."""
    target, size = instruction.operands
    name = "fence.proxy.tensormap::generic.acquire.gpu"
    if instruction.name != name or not isinstance(size, Immediate) or size.value != 128:
        raise unknown(code, instruction)
    address = address_reader(code, target)

    def step(state: State) -> None:
        lanes = state.chosen()
        for lane, one in zip(lanes.tolist(), state.among(address(state), lanes).tolist(), strict=True):
            state.units.setdefault(MAPS, {}).setdefault(one, set()).add(int(state.program[lane]))

    return step


@dataclass(frozen=True)
class _Box:
    """A box of a tensor: addresses of its elements in global and of its pieces in shared memory.

    Attributes:
        addresses: [elements] in order, where ``inside``.
        inside: which elements lie inside the tensor.
        itemsize: bytes of an element.
        pieces: addresses of pieces of 16 bytes in shared memory, after the swizzle.
    """

    addresses: Array
    inside: Array
    itemsize: int
    pieces: Array


def _box(state: State, lane: int, map_address: int, coordinates: list[int], shared: int) -> _Box:
    """Read a tensor map and lay out the box at some coordinates."""
    fenced = state.units.get(MAPS, {}).get(map_address, set())
    if int(state.program[lane]) not in fenced:
        raise state.error("a tensor map is used without fence.proxy.tensormap after it was written", lane, map_address)
    lanes, places = np.full(8, lane), map_address + np.arange(0, 128, 16, dtype=np.uint64)
    words = state.arena.load(state, lanes, places, 8, 2)
    found = np.ascontiguousarray(words).reshape(-1).view(TENSOR_MAP)[0]
    rank = len(coordinates)
    _complete(state, lane, map_address, found, rank)
    size = ITEM_BYTES[int(found["elemtype"])]
    strides = [size, *(int(stride) for stride in found["global_stride"][: rank - 1])]
    start, span = int(found["global_address"]), SPANS[int(found["swizzle_mode"])]
    extents = [int(extent) for extent in found["box_dim"][:rank]]
    if start % 16 or any(stride % 16 for stride in strides[1:]) or extents[0] * size % 16:
        raise state.error(
            "a tensor map has an address, stride or row that is no multiple of 16 bytes", lane, map_address
        )
    if span > 16 and extents[0] * size > span:
        raise state.error(f"a row of {extents[0] * size} bytes is longer than the swizzle's {span}", lane, map_address)
    if shared % 128:
        raise state.error("a box in shared memory is not aligned to 128", lane, shared)
    address, inside = np.full((1,), start, np.int64), np.ones((1,), bool)
    for axis, extent in enumerate(extents):  # the first dimension is the fastest
        at = coordinates[axis] + np.arange(extent) * int(found["element_stride"][axis])
        address = (at * strides[axis])[:, None] + address.reshape(1, -1)
        inside = ((at >= 0) & (at < int(found["global_dim"][axis])))[:, None] & inside.reshape(1, -1)
        address, inside = address.reshape(-1), inside.reshape(-1)
    pieces = swizzled(shared + np.arange(0, len(address) * size, PIECE), span)
    return _Box(address.astype(np.uint64), inside, size, pieces)


def _complete(state: State, lane: int, map_address: int, found: np.void, rank: int) -> None:
    """Refuse a map in which fields are missing, or have values that are not known."""
    wanted = [(name, 0) for name in SINGLE]
    wanted += [(name, k) for name in SEVERAL for k in range(rank - (name == "global_stride"))]
    for name, place in wanted:
        if not int(found["set"]) >> _bit(name, place) & 1:
            raise state.error(f"field {name} of dimension {place} of a tensor map was never set", lane, map_address)
    if int(found["rank"]) != rank - 1:
        raise state.error(f"a tensor map of {int(found['rank']) + 1} dimensions is used with {rank}", lane, map_address)
    if found["interleave_layout"] or found["fill_mode"] or int(found["elemtype"]) not in ITEM_BYTES:
        raise state.error("interleaved boxes, and those filled with NaN, are not known", lane, map_address)
    if int(found["swizzle_mode"]) not in SPANS:
        raise state.error(f"swizzle mode {int(found['swizzle_mode'])} is not known", lane, map_address)


def bulk_copy(code: Code, instruction: Instruction) -> Step:
    """Every ``cp.async.bulk`` instruction, by its name."""
    name = instruction.name
    if _LOAD.match(name):
        return _load(code, instruction, int(_LOAD.match(name).group(1)))  # type: ignore[union-attr]
    if _STORE.match(name):
        return _store(code, instruction, int(_STORE.match(name).group(1)))  # type: ignore[union-attr]
    if name == "cp.async.bulk.commit_group":
        return _commit
    count = instruction.operands[0] if instruction.operands else None
    if name in ("cp.async.bulk.wait_group", "cp.async.bulk.wait_group.read") and isinstance(count, Immediate):
        return _waiting(count.value)
    raise unknown(code, instruction)


def _load(code: Code, instruction: Instruction, rank: int) -> Step:
    target, source, counted = instruction.operands
    if not isinstance(source, Address) or len(source.coordinates) != rank:
        raise unknown(code, instruction, "its coordinates are not those of its rank")
    to, barrier = address_reader(code, target), address_reader(code, counted)
    maps = address_reader(code, Address(source.base))
    axes = [reader(code, one, np.int32) for one in source.coordinates]

    def step(state: State) -> None:
        state.progress += 1
        lanes = state.chosen()
        given = [state.among(read(state), lanes).tolist() for read in (to, maps, barrier, *axes)]
        for lane, shared, map_address, counter, *coordinates in zip(lanes.tolist(), *given, strict=True):
            box = _box(state, lane, map_address, coordinates, shared)
            found = barrier_at(state, lane, counter)
            data = np.zeros(len(box.addresses), f"u{box.itemsize}")
            some = box.addresses[box.inside]
            data[box.inside] = state.arena.load(state, np.full(len(some), lane), some, box.itemsize)[:, 0]
            who = np.full(len(box.pieces), lane)
            index = state.shared.place(state, who, box.pieces, PIECE)
            state.shared.visible(state, who, index, PIECE, box.pieces)
            state.shared.claim(state, who, index, PIECE, box.pieces, flying=True)
            found.flights.append(Flight(index, data.view(np.uint64).reshape(-1, 2), lane))

    return step


@dataclass
class _Stores:
    """Boxes on their way to global memory: lane, group, places in shared memory."""

    committed: Array
    flying: list[tuple[int, int, Array]] = field(default_factory=list)


def _stores(state: State) -> _Stores:
    found: _Stores = state.unit(UNIT, lambda: _Stores(np.zeros(state.lanes, np.int64)))
    return found


def pending_boxes(state: State) -> int | None:
    """A lane whose stores of boxes were never waited for."""
    flying = _stores(state).flying if UNIT in state.units else []
    return flying[0][0] if flying else None


def _store(code: Code, instruction: Instruction, rank: int) -> Step:
    target, source = instruction.operands
    if not isinstance(target, Address) or len(target.coordinates) != rank:
        raise unknown(code, instruction, "its coordinates are not those of its rank")
    from_, maps = address_reader(code, source), address_reader(code, Address(target.base))
    axes = [reader(code, one, np.int32) for one in target.coordinates]

    def step(state: State) -> None:
        lanes = state.chosen()
        given = [state.among(read(state), lanes).tolist() for read in (from_, maps, *axes)]
        unit = _stores(state)
        for lane, shared, map_address, *coordinates in zip(lanes.tolist(), *given, strict=True):
            box = _box(state, lane, map_address, coordinates, shared)
            who = np.full(len(box.pieces), lane)
            index = state.shared.place(state, who, box.pieces, PIECE)
            state.shared.check_read(state, who, index, 4, PIECE // 4, box.pieces)
            state.shared.visible(state, who, index, PIECE, box.pieces)
            words = state.shared.data.view(np.uint64)[(index // 8)[:, None] + np.arange(2)]
            data = np.ascontiguousarray(words).reshape(-1).view(f"u{box.itemsize}")
            some = box.addresses[box.inside]
            state.arena.store(state, np.full(len(some), lane), some, data[box.inside][:, None])
            state.shared.hold(index, PIECE, 1)
            unit.flying.append((lane, int(unit.committed[lane]), index))

    return step


def _commit(state: State) -> None:
    _stores(state).committed[state.mask()] += 1


def _waiting(left: int) -> Step:
    def step(state: State) -> None:
        unit, active = _stores(state), state.mask()
        kept = []
        for lane, group, index in unit.flying:
            if active[lane] and group < unit.committed[lane] - left:
                state.shared.hold(index, PIECE, -1)
            else:
                kept.append((lane, group, index))
        unit.flying = kept

    return step
