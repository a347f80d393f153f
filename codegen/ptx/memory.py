"""Global and shared memory that know of every byte whether it may be touched and was written.

Global memory is one array with red zones between tensors. Shared memory is one array with a part for every program. An
access outside, one that is not aligned, and a read of what was never written are errors; so are two accesses of one
byte that nothing orders (``space``).

Input: lanes, addresses and values. Output: values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from svertka.codegen.ptx.space import Space
from svertka.codegen.ptx.state import SHARED_BASE, Array, State

__all__ = ["GLOBAL_BASE", "NEVER_WRITTEN", "RED_ZONE", "Arena", "Overwritten", "Shared"]

GLOBAL_BASE = 0x7F40_0000_0000  # far above 32 bits, so that a truncated pointer points nowhere
RED_ZONE = 512  # bytes before and after every tensor
OUTSIDE, NEVER_WRITTEN, WRITTEN = 0, 1, 2
ALL_WRITTEN = {size: int.from_bytes(bytes([WRITTEN]) * size, "little") for size in (1, 2, 4, 8)}


class Overwritten(Exception):  # noqa: N818, it is no error
    """A launch stores over what was there before it, so that its reads must be noted too."""


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
