"""Counts of a few calls of each loop pattern (``counted.json``), for the gate: cheap, so that each change is judged.

Input: the data. Output: figures of each launch, by its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from typing import Any

from svertka.codegen.machine.bench.workload import Workload, workloads
from svertka.codegen.ptx.count import Measured, measured
from svertka.codegen.ptx.state import WARP

__all__ = ["TARGET", "counted_figures", "works"]

TARGET = "sm_90"


def works() -> Iterator[Workload]:
    """The calls of the data: workloads with other sizes, types and layouts.

    Raises:
        KeyError: there is no workload of that name.
    """
    known = {workload.name: workload for workload in workloads()}
    rows = json.loads(resources.files("svertka.codegen.ptx").joinpath("counted.json").read_text(encoding="utf-8"))
    for row in rows:
        base = known[row["name"]]
        sizes = {name: tuple(shape) for name, shape in row["shapes"].items()}
        yield replace(
            base,
            dtype=row["dtype"],
            layout=row["layout"],
            shapes={name: sizes[name] for name in base.shapes},
            labels={name: sizes[name] for name in base.labels},
        )


def counted_figures(progress: Callable[[str], None] = lambda name: None) -> dict[str, dict[str, Any]]:
    """Execute the calls and count: for each launch the instructions an element, and all sectors over the least.

    Args:
        progress: called with a call's title when it is done.
    """
    found: dict[str, dict[str, Any]] = {}
    for work in works():
        for one in measured(work, TARGET):
            found |= _figures(one)
        progress(work.title)
    return found


def _figures(one: Measured) -> dict[str, dict[str, Any]]:
    """Figures of the launches of a direction; their place tells those of one kernel apart."""
    made = {}
    for place, cost in enumerate(one.costs):
        units, least = (sum(getattr(t, name) for t in cost.counts.sectors.values()) for name in ("units", "least"))
        executed = sum(cost.counts.instructions.values()) * WARP
        made[f"{cost.kernel} in {one.row.title} {one.row.direction}, {place + 1}"] = {
            "instructions": round(executed / one.row.elements, 3),
            "sectors": round(units / max(least, 1), 3),
        }
    return made
