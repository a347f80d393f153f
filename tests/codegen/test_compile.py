"""Every kernel compiles for GPUs that are not here, and the machine code is as it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from svertka.codegen.build import build
from svertka.spec.layers import DEFINITIONS


def compiled(target: str, dtype: str, *options: str) -> list[dict[str, Any]]:
    """Rows of ``svertka compile`` in a process without the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", "compile", "--json", "--target", target, "--dtype", dtype]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_every_kernel_is_among(rows: list[dict[str, Any]]) -> None:
    """Training saves what inference does not: of a forward with residuals only the saving kernels are launched."""
    kernels = {kernel.name for definition in DEFINITIONS.values() for kernel in build(definition).kernels}
    found = {row["kernel"] for row in rows}
    assert found <= kernels
    assert len(found) > 0.8 * len(kernels)
    assert {kernel for kernel in kernels if "_grad_" in kernel} <= found


@pytest.mark.parametrize(("target", "dtype"), [("sm_80", "bfloat16"), ("sm_100", "float32"), ("gfx942", "float32")])
def test_every_kernel_compiles(target: str, dtype: str) -> None:
    assert_every_kernel_is_among(compiled(target, dtype, "--row-major"))


def test_every_entry_of_every_table_compiles_without_spills() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", "tune", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-3000:]


def test_machine_code_on_hopper() -> None:
    rows = compiled("sm_90", "bfloat16")
    assert_every_kernel_is_among(rows)
    assert [row for row in rows if row["spills"]] == []
    stored = {
        kernel.name
        for definition in DEFINITIONS.values()
        for kernel in build(definition).kernels
        if kernel.operands and all(operand.stored for operand in kernel.operands)
    }
    assert stored
    assert [row["kernel"] for row in rows if row["kernel"] in stored and not row["matrix"]] == []
