"""Global and shared memory that know of every byte whether it may be touched, was written, and by whom last.

Global memory is one array with red zones between tensors. Shared memory is one array with a part for every program. An
access outside, one that is not aligned, a read of what was never written, and two accesses of one byte that nothing
orders are errors.

What orders two accesses of different threads: a barrier of their program between them, or one of their warp. A write of
an asynchronous copy that was not waited for is in flight: nothing may touch its bytes.

Input: lanes, addresses and values. Output: values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.state import SHARED_BASE, Array, State

__all__ = [
    "COPY_ENGINE",
    "GLOBAL_BASE",
    "NEVER_WRITTEN",
    "RED_ZONE",
    "Arena",
    "Overwritten",
    "Shared",
    "Space",
    "lanes_of",
    "stamps",
]

GLOBAL_BASE = 0x7F40_0000_0000  # far above 32 bits, so that a truncated pointer points nowhere
RED_ZONE = 512  # bytes before and after every tensor
LANE_BITS = 24
LANE_MASK = np.int64((1 << LANE_BITS) - 1)
COPY_ENGINE = int(LANE_MASK)  # the writer of boxes, which is no thread
OUTSIDE, NEVER_WRITTEN, WRITTEN = 0, 1, 2
ALL_WRITTEN = {size: int.from_bytes(bytes([WRITTEN]) * size, "little") for size in (1, 2, 4, 8)}


class Overwritten(Exception):  # noqa: N818, it is no error
    """A launch stores over what was there before it, so that its reads must be noted too."""


def stamps(state: State, lanes: Array) -> Array:
    """When and by whom: the instruction's number and the lane."""
    return np.asarray((np.int64(state.tick) << LANE_BITS) | lanes)


def lanes_of(stamped: Array) -> Array:
    """The lanes in stamps."""
    return np.asarray(np.abs(stamped) & LANE_MASK)


@dataclass
class Space:
    """Bytes with what is known of them.

    Attributes:
        name: for messages.
        data: the bytes.
        unit: bytes that are looked after together; no access is narrower.
        written: per unit, who wrote it last and when, in this launch; 0 for nobody, negative while a copy is in flight.
        reads: units that were read, their width and the readers' stamps.
        busy: per unit, how many asynchronous reads are in flight; ``reading``: how many there are in all.
        noting: whether reads are noted.
        dirty: whether anything was written in this launch.
        shares: whether threads may store the same value to the same bytes in one instruction.
    """

    name: str
    data: Array
    unit: int
    written: Array = field(init=False)
    busy: Array = field(init=False)
    reads: list[tuple[Array, int, Array]] = field(default_factory=list)
    noting: bool = True
    dirty: bool = False
    reading: int = 0
    shares: bool = True

    def __post_init__(self) -> None:
        self.written = np.zeros(len(self.data) // self.unit, np.int64)
        self.busy = np.zeros(len(self.data) // self.unit, np.int16)

    def place(self, state: State, lanes: Array, addresses: Array, size: int) -> Array:
        """Indices of addresses in ``data``; accesses of ``size`` bytes must be inside and aligned."""
        raise NotImplementedError

    def readable(self, state: State, lanes: Array, index: Array, size: int, count: int, addresses: Array) -> None:
        """Refuse to read what was never written."""

    def storable(self, state: State, lanes: Array, units: Array, index: Array, size: int, addresses: Array) -> None:
        """Refuse to store where nothing may be stored."""

    def count(self, state: State, kind: str, lanes: Array, index: Array, size: int) -> None:
        """Count an access."""
        raise NotImplementedError

    def units_of(self, index: Array, size: int) -> Array:
        """The units of accesses: one row per access."""
        count = max(1, size // self.unit)
        first = index // self.unit
        return first[:, None] if count == 1 else first[:, None] + np.arange(count)

    def load(self, state: State, lanes: Array, addresses: Array, size: int, count: int = 1) -> Array:
        """Values of ``count`` neighbours of ``size`` bytes each: one row per lane."""
        index = self.place(state, lanes, addresses, size * count)
        self.check_read(state, lanes, index, size, count, addresses)
        if state.counts is not None:
            self.count(state, "load", lanes, index, size * count)
        if self.noting:
            self.note(state, lanes, index, size * count)
        words = self.data.view(f"u{size}")
        return np.asarray(words[(index // size)[:, None] + np.arange(count)])

    def note(self, state: State, lanes: Array, index: Array, size: int) -> None:
        """Note that lanes read."""
        self.reads.append((index // self.unit, max(1, size // self.unit), stamps(state, lanes)))

    def quiet(self, state: State, before: Array) -> bool:
        """Whether a glance at the last writes shows that nothing is wrong."""
        return not before.size or bool(before.min() >= 0 and before.max() >> LANE_BITS < state.program_tick.min())

    def check_read(self, state: State, lanes: Array, index: Array, size: int, count: int, addresses: Array) -> None:
        """Refuse reads of what was never written, is in flight, or was written by another thread without a barrier."""
        self.readable(state, lanes, index, size, count, addresses)
        if not self.dirty:
            return
        before = self.written[self.units_of(index, size * count)]
        if self.quiet(state, before):
            return
        self._in_flight(state, lanes, before, addresses, "read")
        found = self._unordered(state, before, np.broadcast_to(lanes[:, None], before.shape))
        if found is not None:
            row = found[0]
            other = int(lanes_of(before[found]))
            reason = f"{self.name} memory is read that {_name(state, other)} wrote without a barrier between"
            raise state.error(reason, lanes[row], addresses[row])

    def _in_flight(self, state: State, lanes: Array, before: Array, addresses: Array, done: str) -> None:
        flying = before < 0
        if flying.any():
            row = int(flying.any(1).argmax())
            reason = f"{self.name} memory is {done} while a copy to it is in flight"
            raise state.error(reason, lanes[row], addresses[row])

    def _unordered(self, state: State, before: Array, lanes: Array) -> tuple[int, int] | None:
        """The place of an access that nothing orders after an earlier one."""
        ticks, others = before >> LANE_BITS, lanes_of(before)
        copied = others == COPY_ENGINE
        others = np.where(copied, lanes, others)  # what a copy engine wrote lies in the memory of the reader's program
        program, warp = state.program[lanes], state.warp[lanes]
        same_program, same_warp = state.program[others] == program, state.warp[others] == warp
        ordered = (before == 0) | (same_program & (ticks < state.program_tick[program]))
        ordered |= np.where(copied, ticks <= state.acquire_tick[lanes], others == lanes)
        ordered |= same_warp & (ticks < state.warp_tick[warp]) & ~copied
        if ordered.all():
            return None
        row, column = np.unravel_index(int((~ordered).argmax()), ordered.shape)
        return int(row), int(column)

    def store(self, state: State, lanes: Array, addresses: Array, values: Array) -> None:
        """Store one row of values per lane."""
        size, count = values.dtype.itemsize, values.shape[1]
        index = self.place(state, lanes, addresses, size * count)
        if state.counts is not None:
            self.count(state, "store", lanes, index, size * count)
        alone = self.claim(state, lanes, index, size * count, addresses)
        words, places = self.data.view(f"u{size}"), (index // size)[:, None] + np.arange(count)
        words[places] = values
        if alone is None:
            return
        differ = (words[places] != values).any(1)
        if differ.any() or not self.shares:
            row = int(differ.argmax()) if differ.any() else alone
            raise state.error(f"two threads write one byte of {self.name} memory at once", lanes[row], addresses[row])

    def claim(
        self, state: State, lanes: Array, index: Array, size: int, addresses: Array, flying: bool = False
    ) -> int | None:
        """Note that lanes write; refuse it where another thread touches the bytes without a barrier between.

        Returns:
            The row of a lane whose bytes another lane writes in the same instruction; None if there is none.
        """
        units = self.units_of(index, size)
        self.dirty = True
        self.storable(state, lanes, units, index, size, addresses)
        before = self.written[units]
        if before.size and before.max() >> LANE_BITS >= state.program_tick.min():
            found = self._unordered(state, before, np.broadcast_to(lanes[:, None], before.shape))
            if found is not None:
                other = _name(state, int(lanes_of(before[found])))
                reason = f"{self.name} memory is written that {other} wrote without a barrier between"
                raise state.error(reason, lanes[found[0]], addresses[found[0]])
        self._in_flight(state, lanes, before, addresses, "written")
        if self.reading and self.busy[units].any():
            row = int(self.busy[units].any(1).argmax())
            reason = f"{self.name} memory is written while asynchronous instructions read it"
            raise state.error(reason, lanes[row], addresses[row])
        self._after_reads(state, lanes, units, addresses)
        mine = np.broadcast_to(stamps(state, lanes)[:, None], units.shape)
        self.written[units] = -mine if flying else mine
        alone = abs(self.written[units]) == mine
        return None if alone.all() else int((~alone).any(1).argmax())

    def hold(self, index: Array, size: int, by: int) -> None:
        """Count asynchronous reads in flight: ``by`` is 1 at their begin, -1 at their end."""
        np.add.at(self.busy, self.units_of(index, size), by)
        self.reading += by

    def visible(self, state: State, lanes: Array, index: Array, size: int, addresses: Array) -> None:
        """Refuse that an asynchronous instruction touches what a thread wrote without a fence between."""
        before = self.written[self.units_of(index, size)]
        writers = lanes_of(before)
        copied = writers == COPY_ENGINE
        ticks, readers = before >> LANE_BITS, np.broadcast_to(lanes[:, None], before.shape)
        fenced = state.fence_tick[np.where(copied, readers, writers)] > ticks
        hidden = ~((before == 0) | copied | fenced | (state.fence_tick[readers] > ticks))
        if hidden.any():
            row = int(hidden.any(1).argmax())
            reason = f"an asynchronous instruction touches {self.name} memory that"
            other = _name(state, int(writers[row, int(hidden[row].argmax())]))
            raise state.error(f"{reason} {other} wrote without fence.proxy.async between", lanes[row], addresses[row])

    def arrive(self, state: State, lanes: Array, index: Array, size: int) -> None:
        """Note that copies to these places are no longer in flight."""
        units = self.units_of(index, size)
        self.written[units] = stamps(state, lanes)[:, None]

    def _after_reads(self, state: State, lanes: Array, units: Array, addresses: Array) -> None:
        """Refuse to write what another thread read without a barrier between."""
        if not self.reads:
            return
        writers = np.full(len(self.written), -1)
        writers[units] = np.arange(len(lanes))[:, None]
        for first, width, readers in self.reads:
            rows = writers[first[:, None] + np.arange(width)]
            met = rows >= 0
            if not met.any():
                continue
            before = np.broadcast_to(readers[:, None], rows.shape)[met][:, None]
            found = self._unordered(state, before, lanes[rows[met]][:, None])
            if found is not None:
                row = int(rows[met][found[0]])
                other = _name(state, int(lanes_of(before[found])))
                reason = f"{self.name} memory is written that {other} read without a barrier between"
                raise state.error(reason, lanes[row], addresses[row])

    def met(self, state: State) -> None:
        """After a barrier: forget reads that it orders before everything that follows."""
        if state.active is None:
            self.reads.clear()
            return
        kept = []
        for entry in self.reads:
            lanes = lanes_of(entry[2])
            if (entry[2] >> LANE_BITS >= state.program_tick[state.program[lanes]]).any():
                kept.append(entry)
        self.reads[:] = kept


def _name(state: State, lane: int) -> str:
    program, thread = divmod(lane, state.threads)
    return "the copy engine" if lane == COPY_ENGINE else f"thread {thread} of program {program}"


class Shared(Space):
    """Shared memory of all programs; each has a part of its own."""

    def __init__(self, programs: int, size: int, unit: int) -> None:
        self.size, self.stride = size, -(-max(size, 1) // 1024) * 1024
        super().__init__("shared", np.zeros(programs * self.stride, np.uint8), unit)

    def place(self, state: State, lanes: Array, addresses: Array, size: int) -> Array:
        """Indices of addresses; see ``Space.place``."""
        offset = addresses.astype(np.int64) - SHARED_BASE
        outside = (offset < 0) | (offset + size > self.size)
        if outside.any():
            row = int(outside.argmax())
            reason = f"{size} bytes outside the {self.size} bytes of shared memory from {SHARED_BASE:#x}"
            raise state.error(reason, lanes[row], addresses[row])
        _aligned(state, lanes, addresses, size)
        return np.asarray(state.program[lanes] * self.stride + offset)

    def count(self, state: State, kind: str, lanes: Array, index: Array, size: int) -> None:
        """Count an access."""
        assert state.counts is not None
        state.counts.shared_access(kind, lanes, index, size)

    def readable(self, state: State, lanes: Array, index: Array, size: int, count: int, addresses: Array) -> None:
        """Refuse to read what was never written."""
        before = self.written[self.units_of(index, size * count)]
        if before.size and not before.all():
            row = int((before == 0).any(1).argmax())
            raise state.error("shared memory is read that was never written", lanes[row], addresses[row])


class Arena(Space):
    """Global memory: tensors with red zones between.

    Args:
        sizes: bytes of each tensor.
        offsets: address of each tensor, modulo 256.
        unit: bytes that are looked after together.
        far: addresses of pieces of tensors whose elements lie too far apart to be kept whole, by the piece's number.
    """

    def __init__(self, sizes: list[int], offsets: list[int], unit: int, far: Mapping[int, int] | None = None) -> None:
        self.starts: list[int] = []
        self.sizes = sizes
        place = 0
        for size, offset in zip(sizes, offsets, strict=True):
            start = -(-(place + RED_ZONE) // 256) * 256 + offset
            self.starts.append(start)
            place = start + size
        whole = -(-(place + RED_ZONE) // 256) * 256
        super().__init__("global", np.zeros(whole, np.uint8), unit)
        self.noting = self.shares = self.lenient = False
        self.valid = np.full(whole, OUTSIDE, np.uint8)
        self.far = dict(sorted((far or {}).items(), key=lambda item: item[1]))
        self.again: list[tuple[int, int]] = []  # index ranges that may be stored to several times

    def address(self, tensor: int) -> int:
        """The address of a tensor."""
        return self.far.get(tensor, GLOBAL_BASE + self.starts[tensor])

    def fill(self, tensor: int, content: Array, written: Array) -> None:
        """Put a tensor's bytes, and which of them were written before."""
        start, size = self.starts[tensor], self.sizes[tensor]
        self.data[start : start + size] = content
        self.valid[start : start + size] = np.where(written, WRITTEN, NEVER_WRITTEN)

    def content(self, tensor: int) -> tuple[Array, Array]:
        """A tensor's bytes, and which of them have been written."""
        start, size = self.starts[tensor], self.sizes[tensor]
        return self.data[start : start + size], self.valid[start : start + size] == WRITTEN

    def place(self, state: State, lanes: Array, addresses: Array, size: int) -> Array:
        """Indices of addresses; see ``Space.place``."""
        index = (addresses.astype(np.uint64) - np.uint64(GLOBAL_BASE)).view(np.int64)
        if self.far:
            index = self._in_pieces(addresses.astype(np.uint64).view(np.int64), index)
        wild = (index < 0) | (index + size > len(self.data))
        outside = wild | (self.valid[np.where(wild, 0, index)] == OUTSIDE)
        outside |= self.valid[np.where(wild, 0, index + size - 1)] == OUTSIDE
        if outside.any():
            row = int(outside.argmax())
            raise state.error(self._where(int(index[row]), size), lanes[row], addresses[row])
        _aligned(state, lanes, addresses, size)
        return np.asarray(index)

    def _in_pieces(self, addresses: Array, index: Array) -> Array:
        """Indices of addresses, some of which lie in pieces with addresses of their own."""
        begins, pieces = np.array(list(self.far.values())), np.array(list(self.far))
        place = np.searchsorted(begins - RED_ZONE, addresses, side="right") - 1
        near = np.maximum(place, 0)
        within = addresses - begins[near]
        size, start = np.array(self.sizes)[pieces[near]], np.array(self.starts)[pieces[near]]
        known = (place >= 0) & (within < size + RED_ZONE)
        return np.asarray(np.where(known, start + within, index))

    def _where(self, index: int, size: int) -> str:
        """How far an access lies outside the nearest tensor."""

        def distance(tensor: int) -> int:
            return max(self.starts[tensor] - index, index - self.starts[tensor] - self.sizes[tensor])

        near = min(range(len(self.starts)), key=distance)
        place = f"at byte {index - self.starts[near]} of the {self.sizes[near]} bytes of tensor {near}"
        return f"{size} bytes outside every tensor: {place}"

    def count(self, state: State, kind: str, lanes: Array, index: Array, size: int) -> None:
        """Count an access."""
        assert state.counts is not None
        state.counts.global_access(kind, lanes, index, size)

    def quiet(self, state: State, before: Array) -> bool:
        """Whether a glance at the last writes shows that nothing is wrong: no barrier is between programs."""
        return not before.any()

    def readable(self, state: State, lanes: Array, index: Array, size: int, count: int, addresses: Array) -> None:
        """Refuse to read what was never written."""
        known = self.valid.view(f"u{size}")[(index // size)[:, None] + np.arange(count)]
        if (known == ALL_WRITTEN[size]).all():
            return
        row = int((known != ALL_WRITTEN[size]).any(1).argmax())
        raise state.error("global memory is read that was never written", lanes[row], addresses[row])

    def storable(self, state: State, lanes: Array, units: Array, index: Array, size: int, addresses: Array) -> None:
        """Refuse to store a result twice; note what is written."""
        if self.lenient:
            self.valid[index[:, None] + np.arange(size)] = WRITTEN
            return
        twice = (self.written[units] != 0).any(1)
        for start, end in self.again:
            twice &= (index < start) | (index >= end)
        if twice.any():
            row = int(twice.argmax())
            raise state.error("a result is stored twice", lanes[row], addresses[row])
        spans = index[:, None] + np.arange(size)
        if not self.noting and (self.valid[spans] == WRITTEN).any():
            raise Overwritten
        self.valid[spans] = WRITTEN


def _aligned(state: State, lanes: Array, addresses: Array, size: int) -> None:
    wrong = addresses.astype(np.int64) & (size - 1)
    if wrong.any():
        row = int((wrong != 0).argmax())
        raise state.error(f"an access of {size} bytes is not aligned to {size}", lanes[row], addresses[row])
