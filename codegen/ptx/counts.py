"""What a launch costs, counted while it runs: instructions by class, sectors of global and wavefronts of shared memory.

A sector is 32 bytes of global memory; a warp's access touches some, and at least as many as its bytes fill. A
wavefront is what shared memory serves at once: a word of each of 32 banks. An access of a warp whose lanes want
different words of one bank takes several; at least as many as its bytes fill.

Input: accesses as they happen. Output: ``Counts``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.state import WARP, Array

__all__ = ["SECTOR", "Counts", "Traffic", "wavefronts"]

SECTOR = 32
BANKS, WORD = 32, 4
_PRODUCT = re.compile(r"(mma|wgmma)\.\S*?\.m(\d+)n(\d+)k(\d+)\.(?:row\.col\.)?\w+\.(\w+)")
_OWNER = 1 << 40  # more than all sectors of a launch: a key is the owner times this, and the sector
_KEPT = 64  # accesses whose sectors are kept apart
_TOGETHER = {"mma": 1, "wgmma": 4}
"""How many warps execute one instruction of the matrix unit together."""


@dataclass
class Traffic:
    """Accesses of one kind: how many by warps, units that they touch, and the least that their bytes fill."""

    accesses: int = 0
    units: int = 0
    least: int = 0

    def add(self, accesses: int, units: int, least: int) -> None:
        """Count some accesses."""
        self.accesses += accesses
        self.units += units
        self.least += least


@dataclass
class Counts:
    """What was counted.

    Attributes:
        instructions: executed by warps, by operation: ``fma``, ``ld.global``.
        sectors: of global loads and stores; ``wavefronts``: of shared loads and stores.
        products: multiplications and additions of the matrix unit, by instruction and type of its operands.
        fetched: sectors that a program touches, each once a program: what a cache of its own must fetch.
        distinct: sectors that a launch touches, each once for loads and once for stores.
        threads: of a program of the launch that is counted.
    """

    instructions: Counter[str] = field(default_factory=Counter)
    sectors: dict[str, Traffic] = field(default_factory=lambda: {"load": Traffic(), "store": Traffic()})
    wavefronts: dict[str, Traffic] = field(default_factory=lambda: {"load": Traffic(), "store": Traffic()})

    products: Counter[str] = field(default_factory=Counter)
    fetched: int = 0
    distinct: int = 0
    threads: int = WARP
    _touched: dict[str, list[Array]] = field(default_factory=lambda: {"load": [], "store": []}, repr=False)

    def product(self, name: str, warps: int) -> None:
        """Count what an instruction of the matrix unit multiplies; nothing if it is another."""
        if found := _PRODUCT.match(name):
            unit, *shape = found.groups()[:4]
            self.products[f"{unit} {found[5]}"] += math.prod(map(int, shape)) * warps // _TOGETHER[unit]

    def finish(self) -> None:
        """Count the sectors that programs and the launch touch, when it has ended."""
        for kind, some in self._touched.items():
            every = np.unique(np.concatenate(some)) if some else np.empty(0, np.int64)
            self.fetched += len(every)
            self.distinct += len(np.unique(every & (_OWNER - 1)))
            self._touched[kind] = []

    def add(self, other: Counts) -> None:
        """Add what was counted elsewhere."""
        self.fetched += other.fetched
        self.distinct += other.distinct
        self.instructions.update(other.instructions)
        self.products.update(other.products)
        for own, given in ((self.sectors, other.sectors), (self.wavefronts, other.wavefronts)):
            for kind, traffic in given.items():
                own[kind].add(traffic.accesses, traffic.units, traffic.least)

    def multiply(self, times: float) -> None:
        """Let what was counted of some programs stand for so many times as many."""
        for some in (self.instructions, self.products):
            some.update({name: round(number * (times - 1)) for name, number in some.items()})
        for traffic in (*self.sectors.values(), *self.wavefronts.values()):
            more = (round(number * (times - 1)) for number in (traffic.accesses, traffic.units, traffic.least))
            traffic.add(*more)
        self.fetched, self.distinct = round(self.fetched * times), round(self.distinct * times)

    def global_access(self, kind: str, lanes: Array, index: Array, size: int) -> None:
        """Count an access of global memory; ``index``: first bytes."""
        warps = lanes // WARP
        span = np.arange(0, max(size, 1), SECTOR)
        sectors = (index[:, None] + np.minimum(span, size - 1)) // SECTOR
        touched = np.unique(np.repeat(warps, len(span)) * _OWNER + sectors.reshape(-1))
        self.sectors[kind].add(len(np.unique(warps)), len(touched), _least(warps, index, size, SECTOR))
        programs = touched // _OWNER * WARP // self.threads
        known = self._touched[kind]
        known.append(np.unique(programs * _OWNER + touched % _OWNER))
        if len(known) > _KEPT:
            self._touched[kind] = [np.unique(np.concatenate(known))]

    def shared_access(self, kind: str, lanes: Array, index: Array, size: int) -> None:
        """Count an access of shared memory; ``index``: first bytes in the memory of all programs."""
        warps = lanes // WARP
        took = wavefronts(lanes, index, size)
        self.wavefronts[kind].add(len(np.unique(warps)), took, _least(warps, index, size, BANKS * WORD))


def _least(warps: Array, index: Array, size: int, unit: int) -> int:
    """Units that the distinct bytes of each warp fill."""
    distinct = np.unique(np.stack([warps, index]), axis=1)[0]
    _, counts = np.unique(distinct, return_counts=True)
    return int((-(-counts * size // unit)).sum())


def wavefronts(lanes: Array, index: Array, size: int) -> int:
    """Wavefronts of one access: of 8 bytes half a warp is served together, of 16 a quarter."""
    together = WARP * WORD // max(size, WORD)
    parts = lanes // together
    words = (index // WORD)[:, None] + np.arange(max(1, size // WORD))
    wanted = np.unique(np.stack([np.repeat(parts, words.shape[1]), words.reshape(-1)]), axis=1)
    banks, counts = np.unique(np.stack([wanted[0], wanted[1] % BANKS]), axis=1, return_counts=True)
    parts_found, first = np.unique(banks[0], return_index=True)
    return int(np.maximum.reduceat(counts, first).sum()) if len(parts_found) else 0
