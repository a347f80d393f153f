"""Run phases of items in worker processes, within a time limit that holds whatever a worker does.

If a worker crashes, hangs or breaks its CUDA context, only its current item is lost; it is reported with the cause, and
another worker continues with the rest. Every result is passed on immediately.

Input: stages, their items, a deadline. Output: calls of ``report``, and for every phase how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.phases import Phase

__all__ = ["Ended", "Scheduler", "Worker"]

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 60.0  # seconds that a worker may take to import what it needs
MOST_CRASHES_AT_START = 3
TICK = 0.2
BESIDES = ("shared", "limit")  # data shared by earlier items, and the time limit of an item in seconds
Item = dict[str, Any]
Report = Callable[[Phase, Item, dict[str, Any]], None]


@dataclass
class Ended:
    """How a phase ended: how many of its items are done, and which were not reached, or were interrupted."""

    phase: Phase
    total: int
    done: int = 0
    seconds: float = 0.0
    left: list[Item] = field(default_factory=list)
    trouble: str = ""

    @property
    def whole(self) -> bool:
        """Whether all items are done; always true for a phase that only prepares others."""
        return not self.phase.waits or not (self.left or self.trouble)


class Worker:
    """A process that runs items of a phase, one at a time."""

    def __init__(self, phase: Phase, environment: Mapping[str, str], log: Path, answers: queue.Queue[Any]) -> None:
        self.phase, self.item, self.ready = phase, None, False
        self.limit = time.monotonic() + START_LIMIT
        command = [sys.executable, "-m", "tests.benchmarks.worker", phase.kind]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        threading.Thread(target=self._read, args=(answers,), daemon=True).start()

    item: Item | None

    def _read(self, answers: queue.Queue[Any]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answers.put((self, line))
        answers.put((self, None))

    def give(self, item: Item, limit: float) -> None:
        """Give it an item to run; at ``limit``, on the monotonic clock, its time is over."""
        self.item, self.limit = item, limit
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; its last answer says so
            self.process.stdin.write(json.dumps(item).encode() + b"\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """End it and its child processes, without waiting."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def cause(self) -> str:
        """Why it ended, from its exit code."""
        code = self.process.wait()
        if code < 0:
            return f"the process was ended by {signal.Signals(-code).name}"
        return f"the process ended with exit code {code}"


@dataclass
class _Running:
    """A phase while it runs."""

    phase: Phase
    end: float
    waiting: list[Item]
    ended: Ended
    begun: float
    workers: list[Worker] = field(default_factory=list)
    crashes_at_start: int = 0

    @property
    def busy(self) -> bool:
        return bool(self.waiting) or any(worker.item is not None for worker in self.workers)


def _own(item: Item) -> Item:
    """An item as it was before it was given to a worker."""
    return {name: value for name, value in item.items() if name not in BESIDES}


class Scheduler:
    """Runs stages one after another.

    Args:
        environment: of workers.
        log: the file for their output.
        report: called with every result.
        say: called with lines of progress.
        deadline: on the monotonic clock; nothing runs after it.
        scale: the factor of all times of phases.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        report: Report,
        say: Callable[[str], None],
        start: float,
        deadline: float,
        scale: float,
    ) -> None:
        self.environment, self.log, self.report, self.say = environment, log, report, say
        self.start, self.deadline, self.scale = start, deadline, scale
        self.workers: set[Worker] = set()
        self.ended: dict[str, Ended] = {}
        self.shared: dict[str, Any] = {}
        self.answers: queue.Queue[Any] = queue.Queue()

    def run(self, stage: Sequence[Phase], items: Mapping[str, Sequence[Item]]) -> list[Ended]:
        """Run a stage until it is done, or until its time is over."""
        now = time.monotonic()
        running = []
        for phase in stage:
            own, end = [*items.get(phase.name, ())], min(self.start + phase.end * self.scale, self.deadline)
            if phase.resumes in self.ended:
                own += self.ended[phase.resumes].left
                self.ended[phase.resumes].left = []
            running.append(_Running(phase, end, own, Ended(phase, len(own)), now))
        try:
            while self._goes_on(running):
                for one in running:
                    self._serve(one)
                self._take_answers(running)
        finally:
            for one in running:
                self._close(one)
        return [one.ended for one in running]

    def stop(self) -> None:
        """End every worker immediately.

        It does not wait: a signal may have come while this thread waits for a worker and holds its lock.
        """
        for worker in list(self.workers):
            worker.kill()

    def _goes_on(self, running: Sequence[_Running]) -> bool:
        now = time.monotonic()
        return any(one.busy and one.phase.waits and now < one.end for one in running)

    def _serve(self, one: _Running) -> None:
        """Give items to idle workers, start workers, end those that exceed their time."""
        now = time.monotonic()
        if now >= one.end:
            return
        for worker in list(one.workers):
            if now >= worker.limit and (worker.item is not None or not worker.ready):
                self._blame(one, worker, f"it took longer than {one.phase.limit:g} s and was ended")
        for worker in one.workers:
            if worker.ready and worker.item is None and one.waiting:
                worker.give({**one.waiting.pop(0), **self._besides(one)}, now + one.phase.limit)
        idle = sum(worker.item is None for worker in one.workers)
        while len(one.waiting) > idle and len(one.workers) < one.phase.processes:
            if one.crashes_at_start >= MOST_CRASHES_AT_START:
                one.ended.left += one.waiting
                one.waiting.clear()
                return
            worker = Worker(one.phase, self.environment, self.log, self.answers)
            one.workers.append(worker)
            self.workers.add(worker)
            idle += 1

    def _besides(self, one: _Running) -> Item:
        """Data that a worker gets in addition to an item."""
        return dict(zip(BESIDES, (self.shared, one.phase.limit), strict=True))

    def _take_answers(self, running: Sequence[_Running]) -> None:
        try:
            worker, line = self.answers.get(timeout=TICK)
        except queue.Empty:
            return
        one = next((one for one in running if worker in one.workers), None)
        if one is None:
            return  # of a worker that was ended meanwhile
        if line is None:
            self._blame(one, worker, worker.cause())
            return
        found = json.loads(line)
        if not worker.ready:
            worker.ready = bool(found["started"])
            if not worker.ready:
                one.ended.trouble = f"a worker did not start: {found['failures'][0]}"
            return
        ended = found.pop("ended", False)
        self._done(one, worker, found)
        if ended:
            self._end(worker)
            one.workers.remove(worker)

    def _done(self, one: _Running, worker: Worker, found: dict[str, Any]) -> None:
        item = _own(worker.item or {})
        worker.item = None
        one.ended.done += 1
        self.shared |= found.pop("shared", {})
        verdict = "" if not found["failures"] else f"  FAILS {found['failures'][0][:160]}"
        passed = time.monotonic() - self.start
        count = f"{one.ended.done}/{one.ended.total}"
        line = f"{passed:6.1f} s  {one.phase.name} {count}  {item['id']}  {found.get('seconds', 0):.1f} s{verdict}"
        self.report(one.phase, item, found)  # stored first: if the run ends now, nothing is lost
        self.say(line)

    def _blame(self, one: _Running, worker: Worker, cause: str) -> None:
        """A worker has ended: its item is done with this cause; without an item it is only counted."""
        self._end(worker)
        one.workers.remove(worker)
        if worker.item is not None:
            self._done(one, worker, {"failures": [cause], "lost": True})
        elif not worker.ready:
            one.crashes_at_start += 1
            one.ended.trouble = one.ended.trouble or f"a worker did not start: {cause}"

    def _end(self, worker: Worker) -> None:
        worker.kill()
        worker.process.wait()
        self.workers.discard(worker)

    def _close(self, one: _Running) -> None:
        """End a phase's workers and record the items that were not reached."""
        cut = [worker.item for worker in one.workers if worker.item is not None]
        for worker in list(one.workers):
            self._end(worker)
        left = [*map(_own, cut), *one.waiting]
        one.ended.left += left
        one.ended.seconds = round(time.monotonic() - one.begun, 1)
        self.ended[one.phase.name] = one.ended
