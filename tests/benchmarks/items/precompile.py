"""Compile kernels into Triton's cache, so that measuring processes do not wait. The GPU is not used.

An item is a workload of a phase, or a candidate of the tile search.
"""

from __future__ import annotations

import functools
from typing import Any

import triton
from triton.backends.nvidia import driver

from svertka.codegen.emit.tables import Table, placed, read
from svertka.codegen.machine.bench.launched import passes
from svertka.codegen.machine.compiling import asked_of_triton
from svertka.codegen.machine.tune.candidates import candidates, limit_of
from svertka.codegen.machine.tune.cases import cases_by_class, refusal
from svertka.codegen.machine.tune.search import Case
from svertka.codegen.verify.recording import Launched
from tests.benchmarks.items.choice import workload_of

ON_GPU = False

__all__ = ["ON_GPU", "TARGET", "cases_of", "launches", "run"]

TARGET = "sm_90"


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Compile; ``kernels`` is their number, ``refused`` says why a candidate cannot be used."""
    if "candidate" not in item:
        found = launches(item)
        for launch in found:
            _compile(launch)
        return {"kernels": len(found)}
    table, cases = read(TARGET), cases_of(item["class"], bool(item["shrink"]))
    chosen = candidates(table, item["class"], limit_of(TARGET), quick=True)[item["candidate"]]
    reason = refusal(placed(table, item["class"], chosen), item["class"], cases, limit_of(TARGET), {})
    return {"refused": reason}


def _compile(launch: Launched) -> None:
    """Compile a launch; up to Triton 3.6 also its launcher, which is a C module for each list of types there."""
    source, options, gpu = asked_of_triton(launch, TARGET)
    made = triton.compile(source, target=gpu, options=options)
    if hasattr(driver, "make_launcher"):
        driver.CudaLauncher(made.src, made.metadata)


def launches(item: dict[str, Any]) -> list[Launched]:
    """The launches of a workload, forward and backward."""
    found = passes(workload_of(item, item["phase"]), TARGET)
    return [launch for one in found for launch in one.launches]


@functools.cache
def cases_of(name: str, shrink: bool) -> tuple[Case, ...]:
    """The cases of the search for a class of the tables."""
    from svertka.codegen.machine.bench.workload import in_phase, shrunk

    chosen = [shrunk(workload) if shrink else workload for workload in in_phase("tune")]
    table: Table = read(TARGET)
    family = name.split("/")[0]
    return tuple(cases_by_class(table, chosen, (family,), quick=True).get(name, ()))
