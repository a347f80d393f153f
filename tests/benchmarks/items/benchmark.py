"""Times of a workload against PyTorch and the machine's limits, checked at the timed size; alone on the GPU."""

from __future__ import annotations

from typing import Any

from svertka.codegen.machine.bench.measure import measured
from tests.benchmarks.items.choice import data_of, failures_of, limits_of, say, shrunk_timing, workload_of

ON_GPU = True
FIGURE = 0.1  # seconds for measuring one figure; a convolution has six
SHRUNK_FIGURE = 0.005

__all__ = ["FIGURE", "ON_GPU", "SHRUNK_FIGURE", "run"]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Measure; ``rows`` has one row per direction."""
    workload = workload_of(item, "benchmark")
    budget = SHRUNK_FIGURE if item["shrink"] else FIGURE
    rows, failures = [], []
    with shrunk_timing(bool(item["shrink"])):
        for row in measured(workload, limits_of(item), "cuda", False, budget=budget):
            say(f"{item['id']} {row.direction}: {dict(row.seconds)}")
            rows.append(data_of(row, workload))
            failures += failures_of(row)
    return {"rows": rows, "failures": failures}
