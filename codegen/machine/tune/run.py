"""``svertka tune``: write a table for this machine's GPU to a file, or check all tables without a GPU.

Input: a device, or targets. Output: a file, and lines that describe the changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path

import torch

from svertka.codegen.emit.tables import Table, changes, read, table_path, tables, text
from svertka.codegen.machine.bench.workload import Workload, workloads
from svertka.codegen.machine.compiling import Compiled
from svertka.codegen.machine.tune.candidates import Limit, candidates, limit_of
from svertka.codegen.machine.tune.cases import cases_by_class, refusal
from svertka.codegen.machine.tune.device import limit_at_hand, measured_on, state_of, target_at_hand, tools
from svertka.codegen.machine.tune.reaching import reaching
from svertka.codegen.machine.tune.search import Case, Finding, Record, Tools, search

__all__ = ["check_tables", "compile_target", "first_classes", "tune_device", "tuned"]

Progress = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]
RECORDS = Path("build")
KINDS = ("memory", "matrix")  # the time of a launch does not depend on tiles


def tune_device(device: str, families: Sequence[str], quick: bool, into: Path | None, progress: Progress) -> list[str]:
    """Search on a GPU and write its table; lines to report.

    Raises:
        ValueError: there is no such device.
    """
    target = target_at_hand(device)
    machine, limit = measured_on(device), limit_at_hand(device)
    path = table_path(target) if into is None else into
    old = read(target)
    record = Record(RECORDS / f"tune-{target}.jsonl", state_of(old, machine, quick))
    torch.cuda.set_device(device)
    chosen = list(workloads(quick, KINDS))
    new, lines = tuned(old, chosen, families, limit, tools(device, limit), record, quick, progress)
    path.write_text(text({**new, "measured": machine}), encoding="utf-8")
    record.done()
    return [*lines, f"{path}: written; `svertka generate` takes it up"]


def first_classes() -> list[str]:
    """The classes with which a search with little time begins, the most important first."""
    found: list[str] = json.loads(
        resources.files("svertka.codegen.machine.tune").joinpath("first.json").read_text("utf-8")
    )
    return found


def tuned(
    old: Table,
    chosen: Sequence[Workload],
    families: Sequence[str],
    limit: Limit,
    given: Tools,
    record: Record,
    quick: bool,
    progress: Progress,
    *,
    classes: Sequence[str] = (),
    late: Callable[[], bool] = lambda: False,
) -> tuple[Table, list[str]]:
    """A better table for some workloads, and lines that say what changed and why.

    Args:
        old: the current table.
        chosen: the workloads that measure an entry.
        families: of classes, as ``FAMILIES`` names them.
        limit: of the target.
        given: compile, time and check.
        record: stores their results.
        quick: whether to try few candidates on few cases.
        progress: shows the progress.
        classes: only these, in this order; all if empty.
        late: whether the time is over; the table then has the classes searched so far.
    """
    with progress("finding cases", len(chosen)) as advance:
        cases = cases_by_class(old, chosen, families, quick, advance)
    cases = {name: cases[name] for name in classes or cases if name in cases}
    count = sum(len(candidates(old, name, limit, quick)) for name in cases)
    with progress("tuning", count) as advance:
        new, findings = search(old, cases, limit, given, record, advance, quick, late)
    return new, [*map(_line, findings), *(changes(old, new) or ["nothing changed"])]


def _line(found: Finding) -> str:
    text = (
        f"{found.name}: {found.tried} candidates, {found.refused} refused by the compiler; "
        f"{found.speed_up:.3f} x as fast as before over {found.cases} cases"
    )
    return "\n".join([text, *(f"  refused, it misses its formula: {miss}" for miss in found.wrong)])


def check_tables(targets: Sequence[str] | None, families: Sequence[str], progress: Progress) -> list[str]:
    """Compile every entry of some targets' tables; one line per entry that cannot be used.

    Raises:
        ValueError: a target has no table.
    """
    known = tables()
    for target in targets or ():
        if target not in known:
            raise ValueError(f"--target {target}: it has no table; use {', '.join(known)}")
    refused = []
    for target in targets or known:
        classes = _every_class(known[target], families)
        compiled: dict[str, Compiled] = {}
        with progress(f"compiling {target}", len(classes)) as advance:
            for name, cases in classes.items():
                table = {**known[target], "target": compile_target(target)}
                reason = refusal(table, name, cases, limit_of(target), compiled)
                refused += [f"{target} {name}: {reason}"] if reason else []
                advance(name)
    return refused


def compile_target(target: str) -> str:
    """The machine for which a target's table is compiled; the default table: the oldest with bfloat16."""
    return target if target.startswith("sm_") else "sm_80"


def _every_class(table: Table, families: Sequence[str]) -> Mapping[str, list[Case]]:
    every = [*workloads(True, ("memory",)), *reaching(table)]
    return cases_by_class(table, every, families, pointers=True)
