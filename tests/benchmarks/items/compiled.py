"""Times of a workload against ``torch.compile``."""

from __future__ import annotations

from typing import Any

from svertka.codegen.machine.bench.measure import measured
from svertka.codegen.machine.bench.workload import COMPILE
from tests.benchmarks.items.benchmark import FIGURE, SHRUNK_FIGURE
from tests.benchmarks.items.choice import data_of, failures_of, limits_of, shrunk_timing, workload_of

ON_GPU = True
OPTIONS = {**COMPILE, "mode": "default"}  # max-autotune searches kernels, which takes too long here

__all__ = ["ON_GPU", "run"]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Measure ``torch.compile``; ``rows`` has one row per direction."""
    workload = workload_of(item, "compile")
    budget = SHRUNK_FIGURE if item["shrink"] else FIGURE
    with shrunk_timing(bool(item["shrink"])):
        rows = list(measured(workload, limits_of(item), "cuda", True, budget=budget, options=OPTIONS))
    return {
        "rows": [data_of(row, workload) for row in rows],
        "failures": [text for row in rows for text in failures_of(row)],
    }
