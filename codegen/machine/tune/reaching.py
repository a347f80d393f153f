"""Workloads that reach every row of a table, including rows that no benchmark reaches; to compile, not to time.

The functions are listed as data (``reaching.json``).

Input: a table. Output: workloads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from svertka.codegen.emit.tables import Table
from svertka.codegen.machine.bench.workload import Workload

__all__ = ["reaching"]

DTYPE = {"half": "bfloat16", "boxes": "bfloat16", "float32": "float32", "float64": "float64"}
ALIGNED = 16  # extents are rounded up to multiples, as they mostly are


def reaching(table: Table) -> Iterator[Workload]:
    """Products of the smallest sizes of a row, as results and as a gradient of weights."""
    functions = json.loads(
        resources.files("svertka.codegen.machine.tune").joinpath("reaching.json").read_text(encoding="utf-8")
    )
    for kind, rows in table["contraction"].items():
        width, _, access = kind.partition("_")
        layout = "channels_last" if access == "gathered_last" else "row_major"
        accesses = ["gathered"] if access else ["plain"]
        if not access and f"{width}_gathered" not in table["contraction"]:
            accesses.append("gathered")  # the rows of this kind serve these too
        for row in rows:
            m, n = (-(-max(row[key], 1) // ALIGNED) * ALIGNED for key in ("least_m", "least_n"))
            for outputs in (n, m):
                for name in accesses:
                    yield _workload(functions[name], {"m": m, "n": n, "outputs": outputs}, DTYPE[width], layout)


def _workload(function: Mapping[str, Any], sizes: Mapping[str, int], dtype: str, layout: str) -> Workload:
    shapes = {key: tuple(sizes.get(size, size) for size in function[key]) for key in ("input", "weight")}
    name, arguments = function["function"], function["arguments"]
    return Workload(f"{name} {shapes}", "matrix", name, shapes, arguments, dtype, layout, False, name, arguments)
