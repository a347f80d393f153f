"""Try all faults, two at a time, and store every result, so that a killed run continues where it stopped.

Input: ``Mutant``s. Output: one ``Result`` each, in ``build/mutation.jsonl`` until the last one is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .faults import KERNELS, REPOSITORY, Mutant
from .nursery import Result, Step, serve
from .trial import FOLDERS

__all__ = ["RESULTS", "known_results", "run", "state_of_repository"]

RESULTS = REPOSITORY / "build/mutation.jsonl"
WORKERS = 2
JUDGES = ("trial.py", "nursery.py")
"""Modules of this folder that affect a result."""


def state_of_repository() -> str:
    """A digest of all files in which faults are planted, or which check them."""
    total = hashlib.sha256()
    folders = [REPOSITORY / name for name in FOLDERS]
    files = [path for folder in folders for path in folder.rglob("*")]
    files += [Path(__file__).with_name(name) for name in JUDGES]
    for path in sorted(files):
        if path.suffix in (".py", ".jinja") or path.parent.name == "schedules":
            total.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def known_results(path: Path, state: str) -> dict[str, Result]:
    """Results of an earlier run by the mutants' identifiers, as far as they belong to this state of the repository."""
    found: dict[str, Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:  # empty, or the run was killed while it wrote this line
            continue
        if entry["state"] == state:
            found[entry["mutant"]] = Result([Step(**step) for step in entry["steps"]], entry["changed"])
    return found


def run(
    mutants: Sequence[Mutant],
    sound: Mapping[str, str],
    results: Path,
    state: str,
    progress: Callable[[Mutant, Result], None],
    workers: int = WORKERS,
) -> dict[str, Result]:
    """Try those of the mutants that have no result yet.

    Args:
        mutants: the faults.
        sound: the output of the stages without a fault.
        results: the file of results.
        state: the state of the repository to which they belong.
        progress: called with every mutant and its result.
        workers: how many are tried at a time.
    """
    found = known_results(results, state)
    results.parent.mkdir(parents=True, exist_ok=True)
    for mutant in mutants:
        if mutant.identifier in found:
            progress(mutant, found[mutant.identifier])
    with results.open("a", encoding="utf-8") as stream:
        stream.write("\n")  # ends an incomplete line of a killed run
        for emitted in (True, False):  # each needs separate nurseries
            due = [m for m in mutants if (m.kind in KERNELS) == emitted and m.identifier not in found]
            for mutant, result in _tried(due, emitted, sound, workers):
                entry = {"mutant": mutant.identifier, "state": state, **result.as_data()}
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
                stream.flush()
                found[mutant.identifier] = result
                progress(mutant, result)
    return {mutant.identifier: found[mutant.identifier] for mutant in mutants}


def _tried(
    due: Sequence[Mutant], emitted: bool, sound: Mapping[str, str], workers: int
) -> Iterator[tuple[Mutant, Result]]:
    """Give mutants to nurseries as these become free."""
    pending = list(reversed(due))
    with _nurseries(min(workers, len(due)), emitted, sound) as connections:
        busy: dict[Any, Mutant] = {}
        while pending or busy:
            for connection in [c for c in connections if c not in busy and pending]:
                if pending:
                    busy[connection] = pending.pop()
                    connection.send(busy[connection])
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                yield busy.pop(ready), ready.recv()


@contextmanager
def _nurseries(count: int, emitted: bool, sound: Mapping[str, str]) -> Iterator[list[Connection]]:
    context = get_context("spawn")
    ends: list[Connection] = []
    processes = []
    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, emitted, {} if emitted else dict(sound)), daemon=False)
            process.start()
            there.close()
            ends.append(here)
            processes.append(process)
        yield ends
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.join()
