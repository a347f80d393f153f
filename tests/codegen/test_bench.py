"""Benchmarks where there is no GPU: fewer examples, and kernels that do nothing for the host's part of a call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svertka.codegen.bench.idle import idle_kernels
from svertka.codegen.bench.launched import meta_tensors
from svertka.codegen.bench.workload import roads, shrunk, workloads
from svertka.generated import functional, plans, runtime


def test_nothing_is_computed_and_all_is_put_back() -> None:
    before = runtime.INTERPRETED, plans.ENABLED, dict(plans._PLANS)
    x = torch.linspace(-2, 3, 24).view(4, 6).requires_grad_()
    with idle_kernels():
        for _ in range(2):
            output = functional.relu(x)
            (gradient,) = torch.autograd.grad(output, x, torch.ones_like(output))
        assert output.shape == gradient.shape == x.shape
        assert len(plans._PLANS) == 2  # forward and backward, recorded once
        assert None not in plans._PLANS.values()
    assert before == (runtime.INTERPRETED, plans.ENABLED, plans._PLANS)
    assert torch.equal(functional.relu(x), x.clamp(min=0))


def test_the_command_tells_that_launches_did_nothing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "svertka.codegen", "bench", "--kind", "launch", "--only", "relu"]
    done = subprocess.run(
        [*command, "--into", str(tmp_path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["settings"]["host"] == "times of launching kernels that do nothing"
    (row,) = content["rows"]
    assert row["direction"] == "host"
    assert min(row["seconds"].values()) > 0


@pytest.mark.parametrize("small", [False, True], ids=["whole", "shrunk"])
def test_every_workload_is_a_call(small: bool) -> None:
    """On tensors without data: shapes and arguments fit, those of a machine without a GPU too."""
    names = set()
    for workload in workloads():
        chosen = shrunk(workload) if small else workload
        result = roads(chosen, compiled=False)[0](meta_tensors(chosen))
        assert result.is_meta
        names.add(workload.name)
    assert len(names) > 50
