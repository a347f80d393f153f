"""Times of a workload against ``torch.compile``."""

from __future__ import annotations

from typing import Any

from svertka.codegen.machine.bench.measure import measured
from svertka.codegen.machine.bench.workload import COMPILE
from tests.benchmarks.items.benchmark import FIGURE, SHRUNK_FIGURE
from tests.benchmarks.items.choice import data_of, failures_of, limits_of, shrunk_timing, workload_of

ON_GPU = True
OPTIONS = {**COMPILE, "mode": "default"}  # searching kernels, as max-autotune does, takes longer than there is

__all__ = ["ON_GPU", "run"]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Measure with the compiled road; ``rows`` has a direction each."""
    workload = workload_of(item, "compile")
    budget = SHRUNK_FIGURE if item["shrink"] else FIGURE
    with shrunk_timing(bool(item["shrink"])):
        rows = list(measured(workload, limits_of(item), "cuda", True, budget=budget, options=OPTIONS))
    return {
        "rows": [data_of(row, workload) for row in rows],
        "failures": [text for row in rows for text in failures_of(row)],
    }
