"""``svertka bench --networks``: launches of whole networks, of which some programs are executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svertka.codegen.machine.bench.workload import of_networks
from svertka.codegen.ptx.counts import Counts
from svertka.codegen.ptx.launch import _sampled
from svertka.codegen.ptx.networks import lines, write
from svertka.codegen.ptx.predict import GPUS, Expected, Forecast
from tests.conftest import Call

COMPARED = """
import json
from svertka.codegen.machine.bench.workload import of_networks
from svertka.codegen.ptx.count import measured
small = next(one for one in of_networks() if "resnet50 max_pool2d" in one.title and one.layout == "channels_last")
small = type(small)(**{**vars(small), "shapes": {"input": (1, 16, 48, 48)}})
rows = [one.row for sample in (0, 6) for one in measured(small, "sm_90", sample)]
print(json.dumps([[row.instructions, row.moved, *row.sectors.values()] for row in rows]))
"""


def compiled(*arguments: str) -> str:
    """What a process that may compile prints."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_some_programs_stand_for_all() -> None:
    """Borders are a part of a sample as they are of the whole; both gradients and results cost what they do."""
    forward, backward, *sampled = json.loads(compiled("-c", COMPARED))
    for whole, some in zip((forward, backward), sampled, strict=True):
        assert some == pytest.approx(whole, rel=0.1)


def test_a_sample_has_the_first_and_the_last_program() -> None:
    assert _sampled(1000, 3).tolist() == [0, 500, 999]
    assert _sampled(2, 6).tolist() == [0, 1]
    assert _sampled(1, 6).tolist() == [0]
    assert len(np.unique(_sampled(7, 6))) == 6


def test_counts_are_multiplied() -> None:
    counts = Counts(fetched=3, distinct=2)
    counts.instructions.update({"fma": 4})
    counts.products.update({"wgmma bf16": 10})
    counts.sectors["load"].add(2, 4, 6)
    counts.multiply(2.5)
    assert counts.instructions == {"fma": 10}
    assert counts.products == {"wgmma bf16": 25}
    assert (counts.fetched, counts.distinct) == (8, 5)
    assert vars(counts.sectors["load"]) == {"accesses": 5, "units": 10, "least": 15}


def test_the_networks_have_all_their_layers() -> None:
    found = list(of_networks())
    assert len({one.title for one in found}) == len(found)
    assert {one.dtype for one in found} == {"bfloat16"}
    assert {one.shapes["input"][0] for one in found} == {64}
    of = {
        name: {one.function for one in found if one.name.startswith(name)} for name in ("alexnet", "vgg16", "resnet50")
    }
    assert of["alexnet"] == {"conv2d", "relu", "max_pool2d", "cross_channel_norm", "dropout", "linear"}
    assert of["vgg16"] == {"conv2d", "relu", "max_pool2d", "linear"}
    normalized = {"batch_norm", "batch_norm_relu", "batch_norm_add_relu"}
    assert of["resnet50"] == {"conv2d", "max_pool2d", "adaptive_avg_pool2d", *normalized}
    assert {one.function for one in found} >= {"softmax", "cross_entropy"}


def test_the_worst_launches_come_first(tmp_path: Path) -> None:
    def launch(kernel: str, seconds: float, limit: float) -> Expected:
        return Expected(kernel, 8, 4, seconds, "memory", {"memory": seconds, "launch": 2.5e-6}, limit)

    workload = next(of_networks())
    some = (launch("near", 12e-6, 10e-6), launch("far", 40e-6, 10e-6), launch("far", 20e-6, 10e-6))
    found = [Forecast(workload, "forward", some)]
    assert [(line["kernel"], line["over the limit"]) for line in lines(found)] == [
        ("far", 4),
        ("far", 2),
        ("near", 1.2),
    ]
    path = write(found, GPUS["H200"], tmp_path)
    assert path.name == "networks-H200.md"
    worst, every = path.read_text().split("## ")[1:]
    assert (worst.count("| far |"), worst.count("| near |")) == (1, 1)
    assert every.startswith("All 3 launches")
    assert json.loads(path.with_suffix(".json").read_text()) == lines(found)


def test_a_gpu_is_needed(call: Call) -> None:
    code, _, said = call("bench", "--networks")
    assert code == 2
    assert "--on" in said
    assert "A100, H100, H200" in said
