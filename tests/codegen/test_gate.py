"""Machine code and traffic agree with the committed table, and each rule of the gate can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from svertka.codegen.machine.gate import Table, complaints, excuses, read, skipped

COMMITTED = Path(__file__).parents[1] / "benchmarks" / "static.json"


def gate(*options: str) -> subprocess.CompletedProcess[str]:
    """``svertka gate`` in a process without the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", "gate", *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=COMMITTED.parents[2]
    )


@pytest.mark.slow
def test_figures_are_as_committed() -> None:
    done = gate()
    assert done.returncode == 0, done.stderr[-3000:]


def edited(table: Table, changes: dict[str, Any], of: str = "") -> tuple[str, Table]:
    """The table with one row changed, the first whose name begins with the text."""
    kernels = {row: dict(figures) for row, figures in table.kernels.items()}
    row = next(row for row in kernels if row.startswith(of))
    kernels[row] |= {figure: change(kernels[row][figure]) for figure, change in changes.items()}
    return row, replace(table, kernels=kernels)


def more(by: int) -> Any:
    return lambda value: value + by


PLANTED = [
    ("linear_output bfloat16", "spills", more(8)),
    ("linear_output bfloat16", "wgmma", lambda value: 0),
    ("linear_output bfloat16", "wide_loads", more(-1)),
    ("softmax_output bfloat16", "wide_stores", more(-1)),
    ("softmax_output bfloat16", "narrow", more(1)),
    ("softmax_output float32", "registers", more(9)),
    ("linear_output float32", "shared", more(129)),
]
"""A row, a figure, and its value for a worse kernel."""


@pytest.mark.parametrize(("of", "figure", "change"), PLANTED)
def test_a_worse_kernel_is_told(of: str, figure: str, change: Any) -> None:
    committed = read(COMMITTED)
    row, worse = edited(committed, {figure: change}, of)
    assert complaints(committed, committed) == []
    (complaint,) = complaints(committed, worse)
    assert (complaint.row, complaint.figure) == (row, figure)
    before = "some" if figure == "wgmma" else committed.kernels[row][figure]
    assert f"{row}: {figure}: committed {before}, found {worse.kernels[row][figure]}; " in str(complaint)


def test_fewer_boxes_and_more_bytes_are_told() -> None:
    table = read(COMMITTED)
    row, boxed = edited(table, {"boxes": more(1)})
    assert [(c.row, c.figure) for c in complaints(boxed, table)] == [(row, "boxes")]
    program, figures = next(iter(table.programs.items()))
    more_bytes = replace(table, programs={program: {**figures, "ratio": figures["ratio"] + 0.01}})
    assert [(c.row, c.figure) for c in complaints(table, more_bytes)] == [(program, "ratio")]


@pytest.mark.parametrize("figure", ["instructions", "sectors"])
def test_counts_that_rise_are_told(figure: str) -> None:
    """By more than a twentieth; the complaint has the kernel's name and both numbers."""
    table = read(COMMITTED)
    assert table.counts
    row = "softmax_grad_input in softmax 1024 float32 row_major backward, 1"
    before = table.counts[row][figure]
    for factor, told in ((1.04, False), (1.06, True), (0.5, False)):
        counts = {**table.counts, row: {**table.counts[row], figure: before * factor}}
        found = [str(one) for one in complaints(table, replace(table, counts=counts), table.kernels)]
        assert bool(found) == told
        assert not told or f"{row}: {figure}: committed {before}, found {before * factor}; " in found[0]
    fewer = {name: figures for name, figures in table.counts.items() if name != row}
    (absent,) = complaints(table, replace(table, counts=fewer), table.kernels)
    assert (absent.row, absent.found) == (row, "absent")
    assert complaints(table, replace(table, counts={}), table.kernels) == []  # of some layers, nothing is counted


def test_what_no_table_excuses() -> None:
    """A spill and a missing wgmma are reported although they are committed."""
    table = read(COMMITTED)
    row, worse = edited(table, {"spills": more(8), "wgmma": lambda value: 0}, "linear_output bfloat16")
    assert {(c.row, c.figure) for c in complaints(worse, worse)} == {(row, "spills"), (row, "wgmma")}


def test_an_excused_spill_may_not_grow() -> None:
    table = read(COMMITTED)
    assert table.excuses
    for kernel in table.excuses:
        row, worse = edited(table, {"spills": more(8)}, f"{kernel} ")
        assert complaints(table, table) == []
        assert [(c.row, c.figure) for c in complaints(table, worse)] == [(row, "spills")]


def test_a_new_table_keeps_the_excuses_of_one_that_can_be_read(tmp_path: Path) -> None:
    assert excuses(COMMITTED) == read(COMMITTED).excuses
    broken = tmp_path / "table.json"
    assert excuses(broken) == {}
    broken.write_text('{"versions": ', encoding="utf-8")
    assert excuses(broken) == {}


def test_within_the_margin_nothing_is_told() -> None:
    table = read(COMMITTED)
    _, close = edited(table, {"registers": more(8), "shared": more(128)})
    assert complaints(table, close) == []


def test_another_compiler_is_not_held_to_registers() -> None:
    table = read(COMMITTED)
    changes = {"registers": more(90), "shared": more(9000), "narrow": more(1), "wide_loads": more(-1)}
    row, worse = edited(table, changes | {"spills": more(8)})
    other = Table({**table.versions, "triton": "0.0"}, worse.kernels, worse.programs, worse.excuses)
    assert [(c.row, c.figure) for c in complaints(table, other)] == [(row, "spills")]
    assert "triton 0.0" in skipped(table, other)
    assert not skipped(table, worse)


def test_rows_that_come_and_go_are_told() -> None:
    table = read(COMMITTED)
    row, *others = table.kernels
    fewer = replace(table, kernels={other: table.kernels[other] for other in others})
    assert [(c.row, c.committed) for c in complaints(fewer, table)] == [(row, "absent")]
    assert [(c.row, c.found) for c in complaints(table, fewer, others)] == [(row, "absent")]
    program, *programs = table.programs
    fewer = Table(table.versions, table.kernels, {other: table.programs[other] for other in programs}, table.excuses)
    assert [(c.row, c.found) for c in complaints(table, fewer, table.kernels)] == [(program, "absent")]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A committed table compared with which one kernel has become worse."""
    data = json.loads(COMMITTED.read_text(encoding="utf-8"))
    row = next(row for row in data["kernels"] if row.startswith("relu_output float32 row-major"))
    data["kernels"][row]["wide_loads"] += 1
    path = tmp_path / "table.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_command_fails_on_a_planted_regression(table: Path) -> None:
    done = gate("relu", "--table", str(table))
    assert done.returncode == 1, done.stderr
    assert "relu_output float32 row-major" in done.stderr
    assert "wide_loads: committed 3, found 2" in done.stderr
    assert "svertka gate --update" in done.stderr


def test_command_wants_a_table_and_the_whole(tmp_path: Path) -> None:
    missing = gate("relu", "--table", str(tmp_path / "none.json"))
    assert missing.returncode == 2
    assert "svertka gate --update" in missing.stderr
    assert gate("relu", "--update").returncode == 2
