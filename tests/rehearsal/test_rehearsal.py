"""The whole command with a stub of the driver: every phase, with faults planted in kernels.

Kernels are compiled, loaded, launched and replayed by plans as on a GPU, but compute nothing. So every comparison must
fail by its values, and nothing may fail for any other reason except the planted ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.phases import STAGES
from tests.benchmarks.stub import library

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ILLEGAL, THREADS, HANG = "center_crop", "normalize", "dropout"
NONE: Mapping[str, str] = {}
HANGING = {"HANG": f"{HANG}_output"}
FAULTS = {"ILLEGAL": f"{ILLEGAL}_output", "THREADS": f"{THREADS}_output"}
WELL = "relu"  # no fault is planted in it
WORKLOAD = "relu bfloat16 channels_last"
SMALL = "small relu float32 row_major"
CLASS = "rows/along"
ITEMS = [
    WELL,
    f"{ILLEGAL} | first",
    f"{THREADS} | first",
    WORKLOAD,
    SMALL,
    "relu bfloat16",
    CLASS,
    "training step",
    "large",
]
PHASES = [phase.name for stage in STAGES for phase in stage]
MOST_FILES, MOST_BYTES = 8, 16 * 2**20
ENDING = 20.0  # seconds that the system may take to end a process


@dataclass(frozen=True)
class Ran:
    """The files that a run of the command left."""

    code: int
    output: str
    seconds: float
    folder: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The results."""
        return [json.loads(line) for line in (self.folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]

    @property
    def summary(self) -> str:
        """The text of the summary."""
        return (self.folder / "summary.md").read_text(encoding="utf-8")

    def of(self, phase: str) -> list[dict[str, Any]]:
        """Results of a phase."""
        return [row for row in self.rows if row["phase"] == phase]


class Command:
    """The command in a separate process, on the stub."""

    def __init__(self, folder: Path, *arguments: str, stub: bool = True, faults: Mapping[str, str] = NONE) -> None:
        self.folder, self.begun = folder / "out", time.monotonic()
        environment = {name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "OUT")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        if stub:
            library.build(folder / "stub")
            environment |= library.environment(folder / "stub")
        environment |= {f"SVERTKA_STUB_{name}": value for name, value in faults.items()}
        command = [sys.executable, "-m", "tests.benchmarks.device", "--out", str(self.folder), "--shrink", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def ended(self) -> Ran:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=1800)
        return Ran(self.process.returncode, output, time.monotonic() - self.begun, self.folder)


LATE = "2000"  # seconds, so that no phase is late on a busy machine


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A run with a kernel that hangs, and one that does not; it mostly waits while the other command works."""
    arguments = ["--seconds", LATE, "--processes", "1", "--limit", "60", "--phases", "correctness"]
    only = ["--only", f"{HANG} | first", f"{WELL} | first"]
    command = Command(tmp_path_factory.mktemp("hanging"), *arguments, *only, faults=HANGING)
    yield command
    command.process.terminate()
    command.process.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, hanging: Command) -> Ran:
    """A run of every phase, with two faults planted."""
    arguments = ["--seconds", LATE, "--processes", "2", "--limit", "300", "--only", *ITEMS]
    return Command(tmp_path_factory.mktemp("whole"), *arguments, faults=FAULTS).ended()


def kinds(row: dict[str, Any]) -> set[str]:
    """The kinds of a result's failures."""
    return {text.split(":")[0] for text in row["failures"]}


def test_every_phase_runs_and_comes_to_its_end(whole: Ran) -> None:
    done = {row["phase"] for row in whole.rows}
    helping = {phase.name for stage in STAGES for phase in stage if not phase.waits or phase.resumes}
    assert done | helping == set(PHASES), whole.output
    assert "Nothing: every phase came to its end." in whole.summary


def test_kernels_that_compute_nothing_miss_their_values_and_nothing_else(whole: Ran) -> None:
    rows = [row for row in whole.of("correctness") if row["id"].split(" | ")[0] == WELL]
    assert [row["id"] for row in rows] == [f"{WELL} | first", f"{WELL} | rounding", f"{WELL} | exact"]
    assert [kinds(row) for row in rows] == [{"values"}] * 3, rows
    for phase in ("benchmark", "torch.compile", "large tensors", "tiles"):
        assert whole.of(phase), phase
        assert all(kinds(row) == {"values"} for row in whole.of(phase)), whole.of(phase)
    for phase in ("machine", "items", "memcheck", "precompilation", "training step"):
        assert all(row["failures"] == [] for row in whole.of(phase)), whole.of(phase)


def test_an_illegal_access_is_reported_where_it_was_and_the_rest_runs(whole: Ran) -> None:
    (row,) = (row for row in whole.of("correctness") if row["id"] == f"{ILLEGAL} | first")
    assert any("illegal memory access" in text for text in row["failures"]), row
    assert any(text.startswith("the CUDA context is dead") for text in row["failures"]), row
    others = [other for other in whole.rows if other != row]
    assert not any("illegal" in text for other in others for text in other["failures"])
    assert f"**{ILLEGAL} | first** (correctness): " in whole.summary


def test_a_kernel_that_wants_too_much_is_reported_where_it_is(whole: Ran) -> None:
    (row,) = (row for row in whole.of("correctness") if row["id"] == f"{THREADS} | first")
    assert kinds(row) == {"OutOfResources"}, row


def test_the_summary_is_for_a_person(whole: Ran) -> None:
    assert whole.code == 1
    text = whole.summary
    assert "stub of a GPU" in text
    for phase in PHASES:
        assert f"| {phase} | " in text
    assert f"| {WORKLOAD} | forward | " in text
    assert "| memory-bound layers: x eager | 1 |" in text
    assert "| little network x2 float32 channels_last | step | " in text
    assert f"{CLASS}: " in text
    assert "one kernel takes" in text


def test_times_are_measured_on_every_road(whole: Ran) -> None:
    (row,) = (row for row in whole.of("torch.compile") if row["id"] == WORKLOAD)
    for direction in row["rows"]:
        assert set(direction["seconds"]) == {"svertka", "eager", "compile"}, direction
        assert all(took > 0 for took in direction["seconds"].values())
    (step,) = whole.of("training step")
    assert set(step["rows"][0]["seconds"]) == {"svertka", "eager"}


def test_results_are_few_small_and_named_plainly(whole: Ran) -> None:
    files = [path for path in whole.folder.rglob("*") if path.is_file()]
    assert {"results.jsonl", "summary.md", "table-sm_90.json", "log.txt"} <= {path.name for path in files}
    assert len(files) <= MOST_FILES
    for path in files:
        assert path.stat().st_size < MOST_BYTES
        assert path.name.isascii()
        assert all(letter.isalnum() or letter in "._-" for letter in path.name)
        assert path.parent == whole.folder


def test_the_table_of_tiles_is_one_that_generation_takes(whole: Ran) -> None:
    from svertka.codegen.emit.tables import class_names, read

    table = json.loads((whole.folder / "table-sm_90.json").read_text(encoding="utf-8"))
    assert class_names(table) == class_names(read("sm_90"))
    assert table["measured"]["device"] == "stub of a GPU"


def test_progress_is_said_as_it_comes(whole: Ran) -> None:
    lines = [line for line in whole.output.splitlines() if " s  correctness " in line]
    counts = [line.split("correctness ")[1].split()[0] for line in lines]
    assert counts == [f"{done}/{len(counts)}" for done in range(1, len(counts) + 1)]
    assert len(counts) == 5


def test_a_kernel_that_hangs_costs_its_item_alone(hanging: Command) -> None:
    found = hanging.ended()
    rows = {row["id"]: row for row in found.of("correctness")}
    assert rows[f"{HANG} | first"]["failures"] == ["it took longer than 60 s and was ended"]
    assert kinds(rows[f"{WELL} | first"]) == {"values"}
    assert "it took longer than 60 s and was ended" in found.summary
    assert found.code == 1


def test_a_run_that_is_late_stops_itself_and_says_what_fell_away(tmp_path: Path) -> None:
    found = Command(tmp_path, "--seconds", "9", "--only", WELL).ended()
    assert found.seconds < 30
    assert found.code == 1
    assert "phases did not come to their end" in found.summary
    for phase in ("correctness", "benchmark", "tiles", "torch.compile", "large tensors"):
        assert f"- **{phase}** (" in found.summary.split("## What was not come to")[1].split("## Goals")[0]
    assert _workers(found.folder) == []


def test_without_a_gpu_the_command_says_so(tmp_path: Path) -> None:
    found = Command(tmp_path, "--seconds", "530", stub=False).ended()
    assert found.code == 2, found.output
    assert "make device: torch sees no GPU here; run it on a machine with one" in found.output


def test_a_run_that_is_told_to_stop_leaves_its_results_and_no_process(tmp_path: Path) -> None:
    arguments = ["--seconds", "530", "--processes", "2", "--phases", "correctness", "--only", f"{HANG} | first"]
    command = Command(tmp_path, *arguments, faults=HANGING)
    lines: list[str] = []
    assert command.process.stdout is not None
    for line in command.process.stdout:
        lines.append(line)
        if " items 1/1 " in line:
            break
    command.process.terminate()
    found = command.ended()
    assert found.code == 1
    assert [row["phase"] for row in found.rows] == ["machine", "items"]
    assert "stub of a GPU" in found.summary
    assert _workers(found.folder) == []


def _workers(folder: Path) -> Sequence[int]:
    """Processes that still write to a run's log; a process that was told to end has some time to do so."""
    end = time.monotonic() + ENDING
    while (found := _writing(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _writing(folder: Path) -> Sequence[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            names = [os.readlink(entry) for entry in (process / "fd").iterdir()]
        except OSError:  # it ended meanwhile, or is another user's
            continue
        found += [int(process.name)] if str(folder / "log.txt") in names else []
    return found
