"""Processes for trials: forked from one that has done the slow imports, with limits of time and memory.

A fault may cause an endless loop, an allocation of all memory or an invalid access; then its process ends, and the
nursery records the step in which it did. Faulty stages need a nursery that has imported nothing of svertka, faulty
kernels one that has imported all of it.

Input: a ``Mutant``. Output: its ``Step``s.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .faults import KERNELS, REPOSITORY, Mutant
from .trial import FOLDERS, GENERATION, baseline, emitted_trial, spoken, tree_trial

__all__ = ["Result", "Step", "attempt", "prepare", "serve", "sound_sources"]

SECONDS = 90.0  # of a core's time, for a step: a busy machine ends no trial; the longest takes 22
LONGEST = 10  # times as long by the clock, for a step that waits for ever
WAIT = 5.0  # seconds between two looks at the time that a trial has used
MEMORY = 8 << 30
LASTING = ("torch", "triton", "triton.language", "triton.runtime.interpreter", "sympy", "numpy", "jinja2", "ruff")


@dataclass
class Step:
    """The result of a level for a layer.

    Attributes:
        step: the level, or ``generation``.
        failure: its first failure; empty if it has none.
        inapplicable: why it does not apply; empty if it does.
    """

    step: str
    layer: str
    failure: str = ""
    inapplicable: str = ""
    seconds: float = 0.0


@dataclass
class Result:
    """The result for a fault.

    Attributes:
        steps: in order.
        changed: layers whose kernels it changes; None for faults in kernels themselves.
    """

    steps: list[Step] = field(default_factory=list)
    changed: list[str] | None = None

    @property
    def refused(self) -> bool:
        """Whether anything failed."""
        return any(step.failure for step in self.steps)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def prepare(with_svertka: bool) -> None:
    """Import what every trial needs, once."""
    os.environ["TRITON_INTERPRET"] = "1"
    sys.dont_write_bytecode = True
    for name in LASTING:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    if with_svertka:
        for name in ("svertka.spec.layers", "svertka.codegen.verify.validate", "svertka.codegen.driver.generate"):
            importlib.import_module(name)


def serve(connection: Any, with_svertka: bool, sound: Mapping[str, str]) -> None:
    """Try mutants from a connection until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare(with_svertka)
    while True:
        try:
            mutant = connection.recv()
        except EOFError:
            return
        connection.send(attempt(mutant, sound))


def attempt(mutant: Mutant, sound: Mapping[str, str]) -> Result:
    """Try a fault, in as many processes as needed: after a killed step, the next process does the remaining ones."""
    result = Result()
    while True:
        done = {(step.step, step.layer) for step in result.steps if step.step != GENERATION}
        stayed = _process(partial(_trial, mutant, sound, done), result)
        if stayed is None:
            return result
        result.steps.append(stayed)
        if stayed.step == GENERATION or stayed.failure == _ENDLESS:
            return result


_ENDLESS = f"it does not end within {SECONDS:.0f} s"


def _trial(mutant: Mutant, sound: Mapping[str, str], done: Any, report: Any, scratch: Path) -> None:
    if mutant.kind in KERNELS:
        emitted_trial(mutant, scratch, done, report)
    else:
        tree_trial(mutant, scratch, done, report, sound)


def sound_sources() -> dict[str, str]:
    """The output of fault-free stages, derived in a separate process."""
    found: dict[str, str] = {}

    def derive(report: Any, scratch: Path) -> None:
        (scratch / "svertka").mkdir()
        for folder in FOLDERS:
            os.symlink(REPOSITORY / folder, scratch / "svertka" / folder)
        os.symlink(REPOSITORY / "package" / "__init__.py", scratch / "svertka" / "__init__.py")
        sys.path.insert(0, str(scratch))
        report(sound=baseline())

    stayed = _process(derive, Result(), found.update)
    if stayed is not None or not found:
        raise RuntimeError(f"the sound stages generate nothing: {stayed}")
    sources: dict[str, str] = dict(found["sound"])  # type: ignore[arg-type]
    return sources


# One process --------------------------------------------------------------------------------------------------------


def _process(
    work: Callable[[Any, Path], None], result: Result, other: Callable[[dict[str, Any]], None] = lambda event: None
) -> Step | None:
    """Run work in a fork; None if it ends normally, else the step in which it stopped."""
    scratch = Path(tempfile.mkdtemp(prefix="mutant-"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(work, scratch, writing)
    os.close(writing)
    try:
        return _watched(child, reading, result, other)
    finally:
        os.close(reading)
        shutil.rmtree(scratch, ignore_errors=True)


def _run(work: Callable[[Any, Path], None], scratch: Path, writing: int) -> None:
    """The child: limits, no output, the work, and an exit without the parent's handlers."""
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (_size() + MEMORY, resource.RLIM_INFINITY))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            report = spoken(stream)
            try:
                work(report, scratch)
            except Exception as error:
                report(step=GENERATION, layer="", failure=f"{type(error).__name__}: {error}")
            report(ended=True)
    finally:
        os._exit(0)


def _size() -> int:
    """Bytes of address space this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _processor_time(process: int) -> float:
    """Seconds of a core's time that a process has used, by itself and by children that ended."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _watched(child: int, reading: int, result: Result, other: Callable[[dict[str, Any]], None]) -> Step | None:
    """Follow a child's events until it ends or a step takes too long."""
    current, begun, spent = Step(GENERATION, ""), time.monotonic(), 0.0
    ended, rest = False, b""
    while True:
        ready, _, _ = select.select([reading], [], [], WAIT)
        if not ready and _processor_time(child) - spent < SECONDS and time.monotonic() - begun < LONGEST * SECONDS:
            continue
        content = os.read(reading, 1 << 16) if ready else b""
        if not content:
            break
        *lines, rest = (rest + content).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "step" not in event:
                ended = ended or "ended" in event
                other(event)
            elif "failure" not in event:
                current, begun = Step(event["step"], event["layer"]), time.monotonic()
                spent = _processor_time(child)
            else:
                _noted(result, event, time.monotonic() - begun)
    if not ready:
        current.failure = _ENDLESS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if ended:
        return None
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    current.failure = current.failure or f"its process ends by signal {killed_by}"
    return current


def _noted(result: Result, event: dict[str, Any], seconds: float) -> None:
    step = Step(event["step"], event["layer"], event["failure"], event.get("inapplicable", ""), seconds)
    if "changed" in event:
        result.changed = event["changed"]
    if step.step == GENERATION:
        result.steps = [known for known in result.steps if known.step != GENERATION]
        result.steps.insert(0, step)
    else:
        result.steps.append(step)
