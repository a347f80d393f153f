"""``python -m tests.mutation``: the mutation gate. Exit code 1 if a fault without a recorded reason survives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .catalogue import catalogue, text_of
from .faults import KERNELS, KINDS, Mutant, difference
from .gate import RESULTS, WORKERS, run, state_of_repository
from .nursery import sound_sources
from .report import HERE, Judged, equivalents, judged, outcome, write_report

console = Console(soft_wrap=True)
SHOWN = 400  # characters of a failure


def main(
    limit: Annotated[int, typer.Option(help="Try so many of the faults, evenly spread; write no report.")] = 0,
    kind: Annotated[str, typer.Option(help=f"One kind: {', '.join(KINDS)}; write no report.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="Try this one and show what each level says.")] = None,
    workers: Annotated[int, typer.Option(help="How many are tried side by side.")] = WORKERS,
    again: Annotated[bool, typer.Option("--again", help="Forget earlier results.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the faults and stop.")] = False,
) -> None:
    """Plant every seeded fault and report which level of validation detects it."""
    mutants = _wanted(limit, kind, only or ())
    if show:
        for mutant in mutants:
            place = f"{mutant.file}:{mutant.line} {mutant.scope}"
            console.print(f"{mutant.identifier} {place} {mutant.operator}", markup=False, highlight=False)
        return
    if again:
        RESULTS.unlink(missing_ok=True)
    sound = sound_sources() if any(mutant.kind not in KERNELS for mutant in mutants) else {}
    reasons = equivalents()
    with _bar(len(mutants)) as advance:
        results = run(
            mutants, sound, RESULTS, state_of_repository(), lambda m, r: advance(outcome(m, r, reasons)), workers
        )
    found = judged(mutants, results, reasons)
    if not (limit or kind or only):
        write_report(found, reasons)
        console.print(f"{HERE / 'REPORT.md'} written", highlight=False)
    missed = [one for one in found if one.outcome in ("survived", "no effect")]
    for one in found if only else missed:
        _show(one)
    console.print(f"{len(found)} faults, {len(missed)} survive without a reason", highlight=False)
    sys.exit(1 if missed else 0)


def _wanted(limit: int, kind: str, only: Sequence[str]) -> list[Mutant]:
    """The chosen faults.

    Raises:
        ValueError: there is no such kind or fault.
    """
    mutants = list(catalogue())
    known = {mutant.identifier for mutant in mutants}
    for name in only:
        if name not in known:
            raise typer.BadParameter(f"{name!r}: there is no such fault; --list shows all")
    if kind and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r}: there is no such kind; use {', '.join(KINDS)}")
    mutants = [m for m in mutants if (not only or m.identifier in only) and kind in ("", m.kind)]
    return mutants[:: max(len(mutants) // limit, 1)][:limit] if limit else mutants


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("mutation", total=total)
        missed = 0

        def advance(word: str) -> None:
            nonlocal missed
            missed += word in ("survived", "no effect")
            bar.update(task, advance=1, description=f"mutation, {missed} survive")

        yield advance


def _show(one: Judged) -> None:
    """A fault's diff and the first failure of each level."""
    mutant = one.mutant
    console.rule(f"{mutant.identifier} {mutant.operator}: {one.outcome}")
    console.print(difference(mutant, text_of(mutant.file)), markup=False, highlight=False)
    for step in one.result.steps:
        said = step.failure or (f"says nothing: {step.inapplicable}" if step.inapplicable else "passed")
        text = f"{step.step:10} {step.layer:28} {step.seconds:5.1f} s  {said[:SHOWN]}"
        console.print(text, markup=False, highlight=False)


if __name__ == "__main__":
    typer.run(main)
