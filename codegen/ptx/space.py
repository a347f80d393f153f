"""Bytes of memory that know who wrote them last and when, and who read them since.

What orders two accesses of different threads: a barrier of their program between them, or one of their warp. A write of
an asynchronous copy that was not waited for is in flight: nothing may touch its bytes.

Input: lanes, addresses and values. Output: values, or what the machine refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.state import Array, State

__all__ = ["COPY_ENGINE", "Space"]

LANE_BITS = 24
LANE_MASK = np.int64((1 << LANE_BITS) - 1)
COPY_ENGINE = int(LANE_MASK)  # the writer of boxes, which is no thread


def _stamps(state: State, lanes: Array) -> Array:
    """When and by whom: the instruction's number and the lane."""
    return np.asarray((np.int64(state.tick) << LANE_BITS) | lanes)


def _lanes_of(stamped: Array) -> Array:
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
        self.reads.append((index // self.unit, max(1, size // self.unit), _stamps(state, lanes)))

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
            other = int(_lanes_of(before[found]))
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
        ticks, others = before >> LANE_BITS, _lanes_of(before)
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
                other = _name(state, int(_lanes_of(before[found])))
                reason = f"{self.name} memory is written that {other} wrote without a barrier between"
                raise state.error(reason, lanes[found[0]], addresses[found[0]])
        self._in_flight(state, lanes, before, addresses, "written")
        if self.reading and self.busy[units].any():
            row = int(self.busy[units].any(1).argmax())
            reason = f"{self.name} memory is written while asynchronous instructions read it"
            raise state.error(reason, lanes[row], addresses[row])
        self._after_reads(state, lanes, units, addresses)
        mine = np.broadcast_to(_stamps(state, lanes)[:, None], units.shape)
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
        writers = _lanes_of(before)
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
        self.written[units] = _stamps(state, lanes)[:, None]

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
                other = _name(state, int(_lanes_of(before[found])))
                reason = f"{self.name} memory is written that {other} read without a barrier between"
                raise state.error(reason, lanes[row], addresses[row])

    def met(self, state: State) -> None:
        """After a barrier: forget reads that it orders before everything that follows."""
        if state.active is None:
            self.reads.clear()
            return
        kept = []
        for entry in self.reads:
            lanes = _lanes_of(entry[2])
            if (entry[2] >> LANE_BITS >= state.program_tick[state.program[lanes]]).any():
                kept.append(entry)
        self.reads[:] = kept


def _name(state: State, lane: int) -> str:
    program, thread = divmod(lane, state.threads)
    return "the copy engine" if lane == COPY_ENGINE else f"thread {thread} of program {program}"
