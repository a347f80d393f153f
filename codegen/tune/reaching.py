"""Workloads that reach every row of a table, also those that no benchmark reaches; for the compiler, not for a clock.

Input: a table. Output: workloads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from svertka.codegen.bench.workload import Workload
from svertka.codegen.tables import Table

__all__ = ["reaching"]

DTYPE = {"half": "bfloat16", "float32": "float32", "float64": "float64"}
ALIGNED = 16  # to which extents are rounded up, as they mostly are


def reaching(table: Table) -> Iterator[Workload]:
    """Products of the least sizes that a row is for, as results and as a gradient of weights."""
    for kind, rows in table["contraction"].items():
        width, _, access = kind.partition("_")
        for row in rows:
            m, n = (-(-max(row[key], 1) // ALIGNED) * ALIGNED for key in ("least_m", "least_n"))
            for outputs in (n, m):
                shapes: dict[str, tuple[int, ...]]
                if not access:
                    shapes = {"input": (m, n), "weight": (outputs, n)}
                    yield _workload("linear", shapes, {}, DTYPE[width], "row_major")
                if access or f"{width}_gathered" not in table["contraction"]:
                    shapes = {"input": (1, n, 1, m), "weight": (outputs, n, 3, 3)}
                    layout = "channels_last" if access == "gathered_last" else "row_major"
                    yield _workload("conv2d", shapes, {"padding": 1}, DTYPE[width], layout)


def _workload(
    function: str, shapes: dict[str, tuple[int, ...]], arguments: dict[str, Any], dtype: str, layout: str
) -> Workload:
    name = f"{function} {shapes}"
    return Workload(name, "matrix", function, shapes, arguments, dtype, layout, False, function, arguments)
