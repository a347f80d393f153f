"""The benchmark workload that an item names."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

from svertka.codegen.machine.bench import timing
from svertka.codegen.machine.bench.measure import Limits, Row
from svertka.codegen.machine.bench.workload import Workload, in_phase, shrunk

__all__ = ["Item", "data_of", "failures_of", "item_of", "limits_of", "say", "shrunk_timing", "workload_of"]

Item = dict[str, Any]
SHRUNK: dict[str, Any] = {"COPIED": 2**22, "MATRIX": 128, "WARM_UP": 1, "BATCHES": 1, "LEAST_RUNS": 2, "MOST_SETS": 2}


def item_of(workload: Workload) -> Item:
    """A workload as an item."""
    name = f"{workload.name} {workload.dtype} {workload.layout}"
    return {"id": name, "name": workload.name, "dtype": workload.dtype, "layout": workload.layout}


def workload_of(item: Item, phase: str) -> Workload:
    """The workload of an item of a phase; smaller if the numbers are not used.

    Raises:
        ValueError: the phase has no such workload.
    """
    wanted = (item["name"], item["dtype"], item["layout"])
    for workload in in_phase(phase):
        if (workload.name, workload.dtype, workload.layout) == wanted:
            return shrunk(workload) if item["shrink"] else workload
    raise ValueError(f"workload {wanted}: phase {phase!r} has none; look into workloads.json")


def shrunk_timing(wanted: bool) -> AbstractContextManager[Any]:
    """Small tensors and few runs, for a run whose numbers are not used."""
    return mock.patch.multiple(timing, **SHRUNK) if wanted else nullcontext()


def limits_of(item: Item) -> Limits:
    """The limits that the first phase measured; without it they are unknown, and rates count as infinite."""
    known = item["shared"].get("limits") or {"bandwidth": float("inf"), "operations": float("inf")}
    return Limits(**known)


def data_of(row: Row, workload: Workload) -> Item:
    """A row as JSON values, with its function."""
    return {**row.data(), "function": workload.function}


def failures_of(row: Row) -> list[str]:
    """Failures in a row: results that differ from the formula, roads that did not run."""
    wrong = [f"values: {row.direction}: {text}" for text in row.wrong]
    return wrong + [f"{road} {row.direction}: {text}" for road, text in row.failed.items()]


def say(text: str) -> None:
    """Write a line to the log immediately."""
    print(text, file=sys.stderr, flush=True)
