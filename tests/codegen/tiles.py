"""Tiles other than those of the interpreter's tables, and a record of the launches with them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from svertka.codegen.verify.recording import remembering_nothing

__all__ = ["LARGE_TILES", "SMALL_TILES", "Launched", "few_processors", "recorded", "table", "tiles"]


@dataclass(frozen=True)
class Launched:
    """A launch: the kernel's name, the number of programs, its compile-time constants."""

    kernel: str
    programs: int
    constants: Mapping[str, Any]


def table(lanes: int, row: int, beside: int, contraction: tuple[int, int, int]) -> dict[str, Any]:
    """Tables for the interpreter.

    Args:
        lanes: results per program.
        row: elements per program of a row kernel.
        beside: maximum number of neighbouring rows side by side.
        contraction: rows, columns and depth of a product's tile.
    """
    rows = {"elements": row, "contiguous_rows": beside, "short_row": 1, "elements_a_warp": 512, "most_warps": 4}
    lane = {"block": lanes, "window_block": lanes, "unroll": 1, "warps": 4}
    only = [{"least_m": 0, "least_n": 0, "tile": list(contraction), "warps": 4, "stages": 1}]
    return {
        "interpreter": {**lane, **rows},
        "interpreter_contraction": dict.fromkeys(("half", "float32", "float64"), only),
    }


SMALL_TILES = table(256, 16, 4, (128, 16, 8))
"""Several programs per kernel, several chunks per row and per sum."""
LARGE_TILES = table(65536, 65536, 64, (1024, 64, 256))
"""Tiles larger than extents."""


@contextmanager
def tiles(table: Mapping[str, Any], package: str = "svertka.generated") -> Iterator[None]:
    """Let a package choose its tiles from other tables."""
    schedule = importlib.import_module(f"{package}.schedule")
    before = {key: schedule.TABLE[key] for key in table}
    with remembering_nothing(package):
        schedule.TABLE.update(table)
        try:
            yield
        finally:
            schedule.TABLE.update(before)


@contextmanager
def few_processors(count: int, package: str = "svertka.generated") -> Iterator[None]:
    """Let a package launch as on a device with so many processors."""
    launching = importlib.import_module(f"{package}.launching")
    before = launching.PROCESSORS
    with remembering_nothing(package):
        launching.PROCESSORS = {"cpu": count}
        try:
            yield
        finally:
            launching.PROCESSORS = before


@contextmanager
def recorded(package: str = "svertka.generated", wide: bool = False) -> Iterator[list[Launched]]:
    """Record a package's launches; ``wide``: as if some tensor needed 64-bit offsets."""
    launching = importlib.import_module(f"{package}.launching")
    found: list[Launched] = []
    run = launching.run

    def record(
        kernel: Any,
        how: Any,
        schedule: Any,
        arguments: tuple[Any, ...],
        constants: Mapping[str, Any],
        varying: Sequence[str] = (),
    ) -> None:
        how.wide = how.wide or wide
        every = {**constants, **launching.constants_of(how, arguments), **schedule[1]}
        found.append(Launched(kernel.__name__, schedule[0], every))
        run(kernel, how, schedule, arguments, constants, varying)

    with mock.patch.object(launching, "run", record):
        yield found
