"""Whatever a worker does, every other item runs, the failed item is named with its cause, and the time limit holds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.phases import Phase
from tests.benchmarks.scheduler import Ended, Scheduler, Worker

pytestmark = pytest.mark.slow

KIND = "tests.rehearsal.faulty"
LIMIT = 20.0  # seconds per item: more than a busy machine takes for one that does nothing


class Bench:
    """A scheduler, and what it reported."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []
        start = time.monotonic()
        self.log = folder / "log.txt"
        self.scheduler = Scheduler(
            dict(os.environ), self.log, self._keep, self.lines.append, start, start + seconds, 1.0
        )

    def _keep(self, phase: Phase, item: dict[str, Any], found: dict[str, Any]) -> None:
        self.found[item["id"]] = found

    def run(self, *acts: str, processes: int = 1, limit: float = LIMIT, end: float = 300, **more: Any) -> Ended:
        """Run items, one per act, as the phase of that name."""
        phase = Phase(more.pop("name", "phase"), more.pop("kind", KIND), end, processes, limit, more.pop("resumes", ""))
        items = [{"id": f"{act} {place}", "does": act, **more} for place, act in enumerate(acts)]
        (ended,) = self.scheduler.run([phase], {phase.name: items})
        return ended


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, 300)


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("crashes", "the process was ended by SIGSEGV"),
        ("leaves", "the process ended with exit code 7"),
        ("fails", "values: it does not hold"),
    ],
)
def test_an_item_at_fault_is_named_and_the_others_run(bench: Bench, act: str, cause: str) -> None:
    ended = bench.run("well", act, "well")
    assert ended.done == ended.total == 3
    assert ended.whole
    assert [bool(found["failures"]) for found in bench.found.values()] == [False, True, False]
    assert bench.found[f"{act} 1"]["failures"][0].startswith(cause)
    assert [line.split("  ")[-1].startswith("FAILS") for line in bench.lines if act in line] == [True]


def test_an_item_that_hangs_is_ended_with_all_that_it_started(bench: Bench, tmp_path: Path) -> None:
    child = tmp_path / "child"
    ended = bench.run("hangs with a child", "well", limit=6, file=str(child))
    assert bench.found["hangs with a child 0"]["failures"] == ["it took longer than 6 s and was ended"]
    assert bench.found["well 1"]["failures"] == []
    assert ended.done == 2
    assert not _lives(int(child.read_text(encoding="utf-8")))


def _lives(number: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_worker_whose_context_is_dead_gets_no_other_item(bench: Bench) -> None:
    bench.run("well", "context", "well", "well")
    first, context, *rest = bench.found.values()
    assert context["failures"] == ["RuntimeError: an illegal memory access"]
    assert [found["failures"] for found in rest] == [[], []]
    assert first["process"] not in {found["process"] for found in rest}


def test_what_libraries_print_is_no_answer(bench: Bench) -> None:
    bench.run("prints")
    assert bench.found["prints 0"]["failures"] == []
    assert "a line that is no answer" in bench.log.read_text(encoding="utf-8")


def test_what_an_item_shares_reaches_later_ones(bench: Bench) -> None:
    bench.run("shares", "well")
    assert bench.found["well 1"]["seen"] == {"limit": 3}
    assert "shared" not in bench.found["shares 0"]


def test_a_phase_ends_at_its_time_and_says_what_it_did_not_come_to(bench: Bench) -> None:
    begun = time.monotonic()
    ended = bench.run("well", "hangs", "well", end=12)
    assert time.monotonic() - begun < 25
    assert [item["id"] for item in ended.left] == ["hangs 1", "well 2"]
    assert all("shared" not in item for item in ended.left)
    assert not ended.whole
    assert list(bench.found) == ["well 0"]


def test_a_later_phase_takes_up_what_is_left(bench: Bench) -> None:
    first = bench.run("sleeps", "sleeps", end=0, name="first")
    assert len(first.left) == 2
    later = bench.run(name="later", resumes="first")
    assert (later.done, later.total) == (2, 2)
    assert first.whole
    assert later.whole


def test_nothing_runs_after_the_deadline(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 0)
    ended = bench.run("well", end=300)
    assert [item["id"] for item in ended.left] == ["well 0"]
    assert bench.found == {}


def test_workers_that_cannot_start_are_not_started_for_ever(bench: Bench) -> None:
    ended = bench.run("well", "well", kind="tests.rehearsal.there_is_none")
    assert ended.done == 0
    assert len(ended.left) == 2
    assert "ModuleNotFoundError" in ended.trouble


def test_stopping_waits_for_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = bench.scheduler
    phase = Phase("phase", KIND, 300, 1, LIMIT)
    worker = Worker(phase, scheduler.environment, bench.log, scheduler.answers)
    scheduler.workers.add(worker)
    with monkeypatch.context() as patched:
        patched.setattr(worker.process, "wait", lambda: pytest.fail("a signal may have come while this was waited for"))
        scheduler.stop()
    assert worker.process.wait() == -signal.SIGKILL


def test_processes_share_the_items(bench: Bench) -> None:
    bench.run(*["sleeps"] * 12, processes=3)
    assert len({found["process"] for found in bench.found.values()}) == 3


def test_a_phase_that_only_helps_does_not_hold_its_stage_up(bench: Bench) -> None:
    leading = Phase("leading", KIND, 300, 1, LIMIT)
    helping = Phase("helping", KIND, 300, 1, 200, waits=False)
    items = {"leading": _items("sleeps"), "helping": _items("hangs", "well")}
    first, second = bench.scheduler.run([leading, helping], items)
    assert (first.done, second.done) == (1, 0)
    assert second.whole  # no wanted item is missing


def _items(*acts: str) -> Sequence[dict[str, Any]]:
    return [{"id": act, "does": act} for act in acts]
