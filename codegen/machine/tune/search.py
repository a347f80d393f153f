"""The search: for each class, the candidate with the smallest geometric mean of times that also computes the formula.

Nothing here uses a GPU: measuring, checking and compiling are passed in. Every result is stored immediately, so that a
killed run continues where it stopped.

Input: a table, cases by class, ``Tools``, a ``Record``. Output: a table and ``Finding``s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from svertka.codegen.emit.tables import Table, entry, placed
from svertka.codegen.machine.bench.workload import Workload
from svertka.codegen.machine.tune.candidates import Limit, candidates

__all__ = ["Case", "Finding", "Record", "Tools", "search"]


@dataclass(frozen=True)
class Case:
    """A direction of a workload that uses a class of problems."""

    workload: Workload
    direction: str

    @property
    def name(self) -> str:
        """For records and reports."""
        workload = self.workload
        return f"{workload.name} {workload.dtype} {workload.layout} {self.direction}"


@dataclass(frozen=True)
class Tools:
    """The functions that the search calls; each gets the whole table that is tried.

    Attributes:
        refused: from the cases of a class, why the compiler's result cannot be used; "" if it can.
        seconds: time of a case; a candidate for which it raises is left out.
        wrong: how a case exceeds its formula's bound; empty if it holds.
    """

    refused: Callable[[Table, str, Sequence[Case]], str]
    seconds: Callable[[Table, Case], float]
    wrong: Callable[[Table, Case], Sequence[str]]


@dataclass(frozen=True)
class Finding:
    """The result for a class: ``speed_up``: old / new time, the geometric mean over the cases."""

    name: str
    chosen: Mapping[str, Any]
    speed_up: float
    cases: int
    tried: int
    refused: int
    wrong: tuple[str, ...]


class Record:
    """A file of results, written immediately, for one ``state`` of everything that a time depends on."""

    def __init__(self, path: Path, state: str) -> None:
        self.path, self.state = path, state
        self._known: dict[str, Any] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                found = json.loads(line)
            except ValueError:  # the run was killed while it wrote this line
                continue
            if found["state"] == state:
                self._known[found["key"]] = found["value"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write("\n")  # ends an incomplete line of a killed run

    def once(self, key: Sequence[Any], make: Callable[[], Any]) -> Any:
        """The stored result for a key, or else a new one, which is then stored."""
        text = json.dumps(key, sort_keys=True)
        if text not in self._known:
            self._known[text] = value = make()
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"state": self.state, "key": text, "value": value}) + "\n")
        return self._known[text]

    def done(self) -> None:
        """Remove the file: the table is written."""
        self.path.unlink(missing_ok=True)


def search(
    table: Table,
    classes: Mapping[str, Sequence[Case]],
    limit: Limit,
    tools: Tools,
    record: Record,
    progress: Callable[[str], None] = lambda text: None,
    quick: bool = False,
    late: Callable[[], bool] = lambda: False,
) -> tuple[Table, list[Finding]]:
    """Choose an entry for every class; each is timed with the entries that were chosen before it.

    Args:
        table: the current table.
        classes: cases by class.
        limit: of the target.
        tools: compile, time and check.
        record: stores their results.
        progress: called with a class's name for each of its candidates.
        quick: whether to try few candidates.
        late: whether the time is over: no further class and no further candidate is then tried.

    Raises:
        Exception: the table's own entry does not run, or none runs any more.
    """
    findings = []
    for name, cases in classes.items():
        if late():
            break
        finding = _best(table, name, cases, limit, tools, record, progress, quick, late)
        findings.append(finding)
        table = placed(table, name, finding.chosen)
    return table, findings


def _best(
    table: Table,
    name: str,
    cases: Sequence[Case],
    limit: Limit,
    tools: Tools,
    record: Record,
    progress: Callable[[str], None],
    quick: bool,
    late: Callable[[], bool],
) -> Finding:
    standing = entry(table, name)
    every = candidates(table, name, limit, quick)
    timed: list[tuple[float, int]] = []
    wrong: list[str] = []
    for place, chosen in enumerate(every):
        if late() and timed:
            every = every[:place]
            break
        progress(name)
        tried = placed(table, name, chosen)
        if record.once([name, chosen, "refused"], lambda t=tried: tools.refused(t, name, cases)):  # type: ignore[misc]
            continue
        times = [record.once([name, chosen, c.name], partial(_seconds, tools, table, tried, c)) for c in cases]
        broken = [f"{c.name}: {time}" for c, time in zip(cases, times, strict=True) if isinstance(time, str)]
        if broken:
            wrong += broken
        else:
            timed.append((geometric_mean(times), place))
    old = next((time for time, place in timed if place == 0), None)
    for time, place in sorted(timed):
        tried = placed(table, name, every[place])
        misses = [f"{c.name}: {text}" for c in cases for text in tools.wrong(tried, c)]
        if not misses:
            speed_up = old / time if old else 1.0
            return Finding(name, every[place], speed_up, len(cases), len(every), len(every) - len(timed), tuple(wrong))
        wrong += misses
    return Finding(name, standing, 1.0, len(cases), len(every), len(every) - len(timed), tuple(wrong))


def _seconds(tools: Tools, standing: Table, tried: Table, case: Case) -> float | str:
    """Time of a case; or why it does not run, if it runs with the current table."""
    try:
        return tools.seconds(tried, case)
    except Exception as error:  # compilers and drivers raise any exception
        if tried == standing:
            raise
        tools.seconds(standing, case)  # if the device is lost, this raises: the fault is not the candidate's
        return f"{type(error).__name__}: {str(error)[:200]}"
