"""Other tiles than the interpreter's tables would choose, and a record of what was launched with them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["LARGE_TILES", "SMALL_TILES", "TILES_WITHOUT_TAPS", "Launched", "recorded", "tiles"]


@dataclass(frozen=True)
class Launched:
    """A launch: the kernel's name, the number of programs, its compile-time constants."""

    kernel: str
    programs: int
    constants: Mapping[str, Any]


def _table(lanes: int, row: int, beside: int, contraction: tuple[int, int, int]) -> dict[str, Any]:
    rows = {"elements": row, "contiguous_rows": beside, "short_row": 1, "elements_a_warp": 512, "most_warps": 4}
    lane = {"block": lanes, "window_block": lanes, "unroll": 1, "warps": 4}
    only = [{"least_m": 0, "least_n": 0, "tile": list(contraction), "warps": 4, "stages": 1}]
    return {"interpreter": {**lane, **rows}, "interpreter_contraction": dict.fromkeys(("half", "float32", "float64"), only)}


SMALL_TILES = _table(64, 32, 4, (32, 4, 4))
"""Many programs a kernel, many chunks a row and a sum; taps are walked one by one unless they have one element."""
TILES_WITHOUT_TAPS = _table(128, 64, 1, (64, 8, 64))
"""The summed axes and the window are walked as one."""
LARGE_TILES = _table(65536, 65536, 64, (1024, 64, 16))
"""Tiles larger than extents."""


@contextmanager
def tiles(table: Mapping[str, Any], package: str = "svertka.generated") -> Iterator[None]:
    """Let a package choose its tiles from other tables."""
    schedule = importlib.import_module(f"{package}.schedule")
    before = {key: schedule.TABLE[key] for key in table}
    chosen = (schedule.lanes, schedule.rows, schedule._contraction)
    schedule.TABLE.update(table)
    try:
        for function in chosen:
            function.cache_clear()
        yield
    finally:
        schedule.TABLE.update(before)
        for function in chosen:
            function.cache_clear()


@contextmanager
def recorded(package: str = "svertka.generated", wide: bool = False) -> Iterator[list[Launched]]:
    """Record a package's launches; ``wide``: as if some tensor needed 64-bit offsets."""
    launching = importlib.import_module(f"{package}.launching")
    found: list[Launched] = []
    run = launching.run

    def record(kernel: Any, how: Any, schedule: Any, arguments: tuple[Any, ...], constants: Mapping[str, Any]) -> None:
        how.wide = how.wide or wide
        every = {**constants, **launching.constants_of(how, arguments), **schedule[1]}
        found.append(Launched(kernel.__name__, schedule[0], every))
        run(kernel, how, schedule, arguments, constants)

    launching.run = record
    try:
        yield found
    finally:
        launching.run = run
