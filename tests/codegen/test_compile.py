"""Every kernel compiles for GPUs that are not here; ``test_gate`` reads the machine code for one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from svertka.codegen.build import build
from svertka.spec.layers import DEFINITIONS


@pytest.mark.parametrize(("target", "dtype"), [("sm_80", "bfloat16"), ("sm_100", "float32"), ("gfx942", "float32")])
def test_every_kernel_compiles(target: str, dtype: str) -> None:
    """In a process without the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    options = ["--json", "--row-major", "--target", target, "--dtype", dtype]
    command = [sys.executable, "-m", "svertka.codegen", "compile", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["kernel"] for row in rows} == {k.name for d in DEFINITIONS.values() for k in build(d).kernels}
    assert all(row["registers"] > 0 for row in rows)
