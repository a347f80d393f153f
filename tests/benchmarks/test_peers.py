"""Ours beside peers: what is compared, what is wrong or missing, and one work from end to end with Inductor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from svertka.codegen.machine.bench.workload import roads
from tests.benchmarks.peers.compare import Entry, error_of, works, wrongness
from tests.benchmarks.peers.report import best, lines

RIGHT = {"kernels": ["one"], "instructions": 10.0, "moved": 2.0, "registers": 20, "spills": 0, "conflicts": 0}


def entry(road: str, wrong: str = "", failed: str = "", **figures: Any) -> Entry:
    given = {} if failed else {**RIGHT, "wavefronts": 0, **figures}
    return Entry("softmax", "forward", road, (3, 5), given, 0.0, wrong, failed)


def test_the_best_peer_is_right_and_ran() -> None:
    group = [
        entry("svertka", instructions=20.0),
        entry("liger", instructions=15.0, moved=1.0),
        entry("flag_gems", wrong="off by 1", instructions=1.0),
        entry("inductor", failed="it did not"),
    ]
    assert best(group) == "0.75; 0.50"
    assert best(group[:1]) == best(group[2:]) == "-"
    assert best([group[0], entry("inductor", kernels=[])]) == "-"  # ATen is not counted


def test_the_table_names_what_is_wrong() -> None:
    group = [entry("svertka", spills=8, conflicts=3, wavefronts=9), entry("liger", wrong="off by 1")]
    *_, row = lines([*group, entry("inductor", failed="PtxError: a | b")])
    assert "| 3 x 5 | forward | 1; 10.0; 2.00; 20 (8 B, 3 of 9) |" in row
    assert "**wrong, off by 1**" in row
    assert "did not run: PtxError: a / b" in row


def test_works_have_the_sizes_of_the_table() -> None:
    found = {work.title: work for work in works()}
    assert len(found) == 15
    assert found["cross_entropy 1000 float32 row_major"].labels == {"target": (64,)}
    for work in found.values():
        assert roads(work, compiled=False)[1](work.tensors("cpu")).isfinite().all(), work.title


@pytest.mark.parametrize(("value", "wrong"), [(0.0, False), (0.5, True), (float("nan"), True)])
def test_wrong_results_are_named(value: float, wrong: bool) -> None:
    exact = torch.randn(7, 5, dtype=torch.float64)
    found = exact.float()
    found[3, 2] += value
    assert bool(wrongness(error_of([found], [exact]), torch.float32)) == wrong


def test_one_work_end_to_end(tmp_path: Path) -> None:
    """Without Liger and FlagGems: they are named as missing, and Inductor's kernels run and are right."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.peers",
        "--only",
        "softmax 1024 bfloat16",
        "--into",
        str(tmp_path),
    ]
    environment = {name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "PYTHONPATH")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / "peers-sm_90.json").read_text(encoding="utf-8"))
    found = {(one["road"], one["direction"]): one for one in content["entries"] if not one["failed"]}
    for road in ("svertka", "inductor"):
        for direction in ("forward", "backward"):
            one = found[road, direction]
            assert len(one["figures"]["kernels"]) == 1
            assert one["figures"]["instructions"] > 1
            assert one["error"] < 2**-7
            assert not one["wrong"]
    for package, name in (("liger-kernel", "liger"), ("flag-gems", "flag_gems")):
        there = (name, "forward") in found
        assert there or package.replace("-", "_") in done.stdout
