"""``make device``: all checks and measurements that need a GPU, in one command of nine minutes.

``python3 -m tests.benchmarks.device --out DIR --seconds 530`` runs the phases of ``phases.py``, each in its own
processes, and writes its results to DIR immediately:

    results.jsonl       one line per item
    summary.md          a summary to read
    table-sm_90.json    the tiles that were found; ``svertka generate`` reads them from codegen/emit/schedules
    tune.jsonl          every time of the search
    log.txt             the tail of what processes printed

Exit codes: 0 everything ran and holds; 1 a check failed, or an item did not run; 2 there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.phases import STAGES, WHOLE, Phase
from tests.benchmarks.scheduler import Ended, Scheduler
from tests.benchmarks.summary import judged, summary

__all__ = ["main"]

RAM_DISK = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes
LOG_KEPT = 2**20  # bytes
FILES = ("results.jsonl", "summary.md", "log.txt", "tune.jsonl", "table-*.json")
FIRST = {phase.kind for phase in STAGES[0]}
GRACE = 3.0  # seconds after the deadline at which the command ends itself in any case


def options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Everything that only a GPU can tell, in one command.")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "build/device"), help="for results")
    parser.add_argument("--seconds", type=float, default=WHOLE, help="after which it stops itself")
    parser.add_argument("--phases", nargs="*", default=[], help="names of phases; all if none")
    parser.add_argument("--only", nargs="*", default=[], help="names of layers, workloads or classes; all if none")
    parser.add_argument("--processes", type=int, default=0, help="at most so many a phase")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds an item may take, for every phase")
    parser.add_argument("--shrink", action="store_true", help="small tensors, where numbers mean nothing")
    return parser.parse_args()


class Run:
    """One run of the command: its options, its files, its results so far."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.start = given, time.monotonic()
        self.deadline = self.start + given.seconds
        self.out: Path = given.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        for pattern in FILES:  # of an earlier run: a search would continue from its table
            for path in self.out.glob(pattern):
                path.unlink()
        self.results: list[dict[str, Any]] = []
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.budget: list[str] = []
        self.ended: list[Ended] = []
        self.scratch = tempfile.TemporaryDirectory(prefix="svertka-", dir=_disk(), ignore_cleanup_errors=True)
        self.scheduler = Scheduler(
            self._environment(),
            self.out / "log.txt",
            self.report,
            say,
            self.start,
            self.deadline,
            given.seconds / WHOLE,
        )

    def _environment(self) -> dict[str, str]:
        scratch = Path(self.scratch.name)
        caches = {"TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TMPDIR": "temporary"}
        folders = {name: str(scratch / folder) for name, folder in caches.items()}
        (scratch / caches["TMPDIR"]).mkdir()
        inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        return {**inherited, **folders, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

    def report(self, phase: Phase, item: dict[str, Any], found: dict[str, Any]) -> None:
        """Store a result and print its line."""
        if phase.kind == "plan":
            self.items, self.budget = found.pop("items", {}), found.pop("budget", [])
        row = {"phase": phase.name, "id": item["id"], **found}
        self.results.append(row)
        with (self.out / "results.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def all_stages(self) -> int:
        """Run every stage; returns the exit code."""
        for stage in STAGES:
            chosen = [self._limited(phase) for phase in stage if self._is_wanted(phase)]
            if chosen:
                self.ended += self._run(chosen)
                self.write_summary()
            for row in self.results:
                if row.get("no_gpu"):
                    print(f"make device: {row['failures'][0]}", file=sys.stderr)
                    return 2
        self.trim_log()
        whole = all(one.whole for one in self.ended)
        return 0 if whole and judged(self.results) and not any(row["failures"] for row in self.results) else 1

    def _run(self, stage: Sequence[Phase]) -> list[Ended]:
        first = all(phase.kind in FIRST for phase in stage)
        if first or self.items:
            return self.scheduler.run(stage, self.items or self._first_items())
        return [Ended(phase, 0, trouble="its items are not known") for phase in stage]

    def _is_wanted(self, phase: Phase) -> bool:
        names = self.given.phases
        return not names or phase.name in names or phase.kind in FIRST

    def _limited(self, phase: Phase) -> Phase:
        most, limit = self.given.processes, self.given.limit
        return phase.limited(most or phase.processes, limit or phase.limit)

    def _first_items(self) -> Mapping[str, Sequence[dict[str, Any]]]:
        """The items of the first stage, before any result is known."""
        processes = next(phase for stage in STAGES for phase in stage if phase.name == "correctness").processes
        common = {"shrink": self.given.shrink, "out": str(self.out), "only": self.given.only, "processes": processes}
        return {phase.name: [{"id": phase.name, **common}] for phase in STAGES[0]}

    def write_summary(self) -> None:
        """Write ``summary.md`` for the results so far; the file is replaced in one step."""
        try:
            text = summary(self.results, self.ended, self.budget, time.monotonic() - self.start)
        except Exception:  # the results are in results.jsonl; the run continues
            text = f"The summary could not be made:\n\n{traceback.format_exc()}"
        written = self.out / "summary.new"
        written.write_text(text, encoding="utf-8")
        written.replace(self.out / "summary.md")

    def trim_log(self) -> None:
        """Keep only the log's tail."""
        path = self.out / "log.txt"
        if path.exists() and path.stat().st_size > LOG_KEPT:
            with path.open("rb") as stream:
                stream.seek(-LOG_KEPT, os.SEEK_END)
                tail = stream.read()
            path.write_bytes(tail)


def _disk() -> Path | None:
    """The RAM disk if it has enough room for the compilers' caches; None for the usual place."""
    return RAM_DISK if RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free >= ROOM else None


def say(text: str) -> None:
    """Print a line of progress immediately."""
    print(text, flush=True)


def _stop_in_time(run: Run) -> None:
    """End the command and all its processes shortly after its time, or when it is told to."""

    def stop(*unused: Any) -> None:
        run.scheduler.stop()
        run.write_summary()
        run.scratch.cleanup()
        os._exit(1)

    watch = threading.Timer(max(run.deadline - time.monotonic(), 0) + GRACE, stop)
    watch.daemon = True
    watch.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)


def main() -> int:
    """Run everything and write the report; the exit code says whether everything holds."""
    run = Run(options())
    _stop_in_time(run)
    try:
        code = run.all_stages()
    finally:
        run.scheduler.stop()
        run.write_summary()
        run.scratch.cleanup()
    say(f"{time.monotonic() - run.start:.1f} s; {run.out / 'summary.md'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
