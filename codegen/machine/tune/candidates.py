"""The entries that a table may have for a class of problems, without those that cannot be good on a target.

Input: a table, a class's name, a target's limits. Output: entries, the table's own first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from svertka.codegen.emit.tables import KEYS, Table, entry

__all__ = ["Limit", "candidates", "limit_of"]

KIB = 1024
SHARED = {"sm_80": 163 * KIB, "sm_90": 227 * KIB, "sm_100": 227 * KIB}
LEAST_SHARED = 64 * KIB  # available on every GPU with matrix units
LANES_A_WARP = 32
MOST_ACCUMULATORS = 128  # of the 255 registers a thread; addresses and operands need the others
ITEM = {"half": 2, "boxes": 2, "float32": 4, "float64": 8}

FULL: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "lanes/pointwise": {"block": (512, 1024, 2048, 4096), "warps": (4, 8)},
    "lanes/window": {"window_block": (128, 256, 512, 1024), "unroll": (1, 16), "window_warps": (2, 4, 8)},
    "rows/along": {"elements": (4096, 8192, 16384, 32768), "elements_a_warp": (256, 512, 1024), "short_row": (1024,)},
    "rows/beside": {"contiguous_rows": (8, 16, 32, 64, 128)},
    "half": {"m": (64, 128, 256), "n": (32, 64, 128, 256), "k": (32, 64), "warps": (4, 8), "stages": (2, 3, 4)},
    "boxes": {"m": (64, 128, 256), "n": (64, 128, 256), "k": (32, 64, 128), "warps": (4, 8), "stages": (3, 4, 5)},
    "float32": {"m": (32, 64, 128), "n": (32, 64, 128), "k": (16, 32), "warps": (4, 8), "stages": (2, 3)},
    "float64": {"m": (32, 64), "n": (32, 64), "k": (16,), "warps": (4, 8), "stages": (2, 3)},
}
QUICK: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "lanes/pointwise": {"block": (1024, 2048)},
    "lanes/window": {"window_block": (256, 512)},
    "rows/along": {"elements": (8192, 16384)},
    "rows/beside": {"contiguous_rows": (16, 32)},
    "half": {"m": (64, 128), "n": (64, 128), "k": (64,), "warps": (4, 8), "stages": (3, 4)},
    "boxes": {"m": (64, 128), "n": (64, 128, 256), "k": (64,), "warps": (4, 8), "stages": (3, 4)},
    "float32": {"m": (64,), "n": (32, 64), "k": (16, 32), "warps": (4,), "stages": (2, 3)},
    "float64": {"m": (32, 64), "n": (32,), "k": (16,), "warps": (4,), "stages": (2,)},
}


@dataclass(frozen=True)
class Limit:
    """A program's limits on a target: bytes of shared memory, and whether there is Hopper's matrix unit."""

    shared: int
    wide: bool


def limit_of(target: str) -> Limit:
    """The limits of a target; the smallest known ones for an unknown target."""
    return Limit(SHARED.get(target, LEAST_SHARED), target == "sm_90")


def candidates(table: Table, name: str, limit: Limit, quick: bool = False) -> list[dict[str, Any]]:
    """Entries for a class: the current one, then the others that fit the limits."""
    standing = entry(table, name)
    grid = QUICK if quick else FULL
    if name in KEYS:
        axes = grid[name]
        found = [standing | dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    else:
        found = list(_products(standing, name.split("/")[1], grid, limit))
    return [standing, *(chosen for chosen in found if chosen != standing)]


def _products(
    standing: Mapping[str, Any], kind: str, grid: Mapping[str, Mapping[str, Sequence[Any]]], limit: Limit
) -> Iterator[dict[str, Any]]:
    """Tiles of a contraction; the other fields of a row stay, and a row with another kind of tile stays unchanged."""
    if "tile" not in standing:
        return
    width = kind.split("_")[0]
    for m, n, k, warps, stages in product(*grid[width].values()):
        staged = (m * k + k * n) * ITEM[width] * stages
        accumulators = m * n * max(ITEM[width] // 4, 1) // (warps * LANES_A_WARP)
        wide = m * n > 128 * 128
        if staged <= limit.shared and accumulators <= MOST_ACCUMULATORS and (limit.wide or not wide):
            yield {**standing, "tile": [m, n, k], "warps": warps, "stages": stages}
