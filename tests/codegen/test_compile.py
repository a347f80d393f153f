"""Every kernel compiles for GPUs that are not here, and the machine code is as it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from svertka.codegen.build import build
from svertka.spec.layers import DEFINITIONS

pytestmark = pytest.mark.xdist_group("compile")  # one process compiles, all tests look

TARGETS = {"sm_80": "bfloat16", "sm_90": "bfloat16", "sm_100": "float32", "gfx942": "float32"}


def compiled(target: str, dtype: str) -> list[dict[str, Any]]:
    """Rows of ``svertka compile`` in a process without the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", "compile", "--json", "--target", target, "--dtype", dtype]
    if target != "sm_90":
        command.append("--row-major")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[dict[str, Any]]]:
    with ThreadPoolExecutor(2) as pool:
        yield [row for found in pool.map(lambda item: compiled(*item), TARGETS.items()) for row in found]


def test_every_kernel_compiles_for_every_target(rows: list[dict[str, Any]]) -> None:
    launched = {kernel.name for name in DEFINITIONS for kernel in build(DEFINITIONS[name]).kernels}
    saved = {row["kernel"] for row in rows}
    for target in TARGETS:
        found = {row["kernel"] for row in rows if row["target"] == target}
        assert found == saved
    # Training saves what inference does not: only kernels of the plain forward are compiled nowhere here.
    unlaunched = launched - saved
    assert all(any(name.startswith(f"{other}_") for other in DEFINITIONS) for name in unlaunched)
    assert len(saved) > 0.8 * len(launched)


def test_nothing_spills_on_hopper(rows: list[dict[str, Any]]) -> None:
    spilling = [row for row in rows if row["target"] == "sm_90" and row["spills"]]
    assert spilling == []


def test_half_precision_contractions_use_the_matrix_unit(rows: list[dict[str, Any]]) -> None:
    stored = {
        kernel.name
        for definition in DEFINITIONS.values()
        for kernel in build(definition).kernels
        if kernel.operands and all(operand.stored for operand in kernel.operands)
    }
    without = [
        row["kernel"]
        for row in rows
        if row["target"] == "sm_90" and row["dtype"] == "bfloat16" and row["kernel"] in stored and not row["matrix"]
    ]
    assert stored
    assert without == []
