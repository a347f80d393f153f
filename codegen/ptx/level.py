"""Level "compiled": what the compiler made of the kernels computes the formulas, on the machine.

The levels "exact" and "rounding" are checked once more, with the kernels compiled for a target, with its tiles, and
executed by the machine: on whole numbers to the last bit, on real numbers within the bound of the matrix unit's
arithmetic. All that the machine refuses is a failure too. ``plan`` says in which formats and layouts. Besides, kernels
for float32 are executed on expressions (``proof``).

Input: a formula with its kernels, and a target. Output: ``Outcome``.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.ptx.launch import Executed, digests, executing, unlink
from svertka.codegen.ptx.plan import Run, runs
from svertka.codegen.ptx.proof import prove_compiled
from svertka.codegen.ptx.targets import NAME, SYMBOLS, TARGETS
from svertka.codegen.verify.equivalence import draw_values, outcome, real
from svertka.codegen.verify.levels import LEVELS, Outcome, Subject
from svertka.codegen.verify.levels.numbers import largest_tightness
from svertka.codegen.verify.recording import PACKAGE
from svertka.spec.definition import Variant

__all__ = [
    "CHECKED",
    "check",
    "check_forced",
    "check_runs",
    "check_symbols",
    "compiled_texts",
    "digest_of_runs",
    "planned",
]

CHECKED = ("exact", "rounding")  # levels that are checked on compiled kernels


def check(
    module: KernelModule,
    variant: Variant,
    targets: Sequence[str] = TARGETS,
    package: str = PACKAGE,
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Outcome]:
    """Check a formula's kernels, compiled for some targets.

    Args:
        module: the definition's kernels and programs.
        variant: which of its formulas.
        targets: of ``TARGETS``.
        package: name of the generated package.
        known: what is on record by target: digests of compiled kernels by name, and of the runs. A target of which
            both are the same is left out.

    Returns:
        Outcomes by target. Their figures have the number of launches, digests of the compiled kernels by name, and the
        entries of the tables of tiles that were executed.
    """
    evaluations: dict[Any, Any] = {}
    every = planned(module, variant)
    found = {}
    with _without_collections():
        for target in targets:
            subject = Subject(module, variant, package, target=target, known=evaluations)
            before = (known or {}).get(target, {})
            same = before.get("runs") == digest_of_runs(every)
            if not same or before.get("kernels") != digests([compiled_texts(subject, every)]):
                found[target] = check_runs(subject, every)
    unlink()
    return found


def check_symbols(
    module: KernelModule, variant: Variant, targets: Sequence[str] = TARGETS, package: str = PACKAGE
) -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
    """Prove a formula's kernels, compiled for some targets, on expressions; arguments as for ``check``.

    Returns:
        By target what a record has of it, and failures.
    """
    found = {}
    with _without_collections():
        for target in targets:
            try:
                proof = prove_compiled(Subject(module, variant, package, target=target))
                found[target] = proof.figures, tuple(f"{SYMBOLS}: {text}" for text in proof.failures)
            except Exception as error:
                found[target] = {}, (f"{SYMBOLS}: the kernel does not run: {type(error).__name__}: {error}",)
    unlink()
    return found


@contextmanager
def _without_collections() -> Iterator[None]:
    """Without Python's collector: it takes a third of the time to find no cycles among what executes instructions."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def planned(module: KernelModule, variant: Variant) -> tuple[Run, ...]:
    """What is executed of a formula; arguments as for ``check``."""
    return tuple(runs(Subject(module, variant, PACKAGE)))


def check_forced(
    module: KernelModule, variant: Variant, target: str, entry: str, package: str = PACKAGE
) -> Outcome | None:
    """Check a formula's kernels with tiles that its sizes would not choose.

    Args:
        module: as for ``check``.
        variant: as for ``check``.
        target: as for ``check``.
        entry: of the target's tables of tiles, as ``recording.entries`` names it.
        package: as for ``check``.

    Returns:
        None if no run of the formula takes tiles from the entry's table.
    """
    subject = Subject(module, variant, package, target=target)
    table = entry.rpartition("/")[0]
    for run in runs(subject):
        for dtype in run.dtypes:
            alone = replace(run, dtypes=(dtype,), forced=entry)
            if any(
                taken.rpartition("/")[0] == table for taken in compiled_texts(subject, (alone,), noted=True).entries
            ):
                done = check_runs(subject, (alone,))
                return replace(done, figures={**done.figures, "entry": entry})
    return None


def check_runs(subject: Subject, some: Sequence[Run], alter: Callable[[str], str] | None = None) -> Outcome:
    """Check some runs of a formula; ``subject`` has a target.

    Args:
        subject: the formula and its kernels.
        some: the runs.
        alter: what is done to the PTX of every kernel before it runs, to plant a fault.
    """
    began = time.process_time()
    outcomes, failures, executed = [], [], []
    for run in some:
        about = replace(subject, runs=((run.case, run.dtypes),), special=run.special)
        for level in CHECKED:
            try:
                with (
                    _executing(subject, run, alter) as done,
                    np.errstate(all="ignore"),
                ):
                    executed.append(done)
                    outcomes.append(LEVELS[level](about))
                failures += [f"{level}: {text}" for text in outcomes[-1].failures]
            except Exception as error:
                reason = f"the kernel does not run: {type(error).__name__}: {error}"
                failures.append(f"{level}: {run.case.name}: {reason}")
    figures = {
        "launches": sum(done.launches for done in executed),
        "kernels": digests(executed),
        "runs": digest_of_runs(some),
        "entries": sorted({entry for done in executed for entry in done.entries}),
        "tightness": largest_tightness(outcomes),
        "seconds": round(time.process_time() - began, 1),
    }
    elements = sum(outcome.elements for outcome in outcomes)
    level = f"{NAME} {subject.target}"
    return Outcome(level, subject.layer.name, len(some), elements, figures, tuple(failures))


def compiled_texts(subject: Subject, some: Sequence[Run], noted: bool = False) -> Executed:
    """Compile what some runs launch, and execute nothing; or only note what is launched.

    Args:
        subject: the formula and its kernels.
        some: the runs.
        noted: whether nothing is compiled.
    """
    found = Executed(subject.target)
    definition, layer = subject.module.definition, subject.layer
    for run in some:
        values = draw_values(definition, layer, run.case, real)
        only = "note" if noted else "compile"
        with _executing(subject, run, only=only) as done:
            for dtype in run.dtypes:
                list(outcome(definition, layer, subject.kernels, run.case, values, dtype, subject.device))
        found.entries |= done.entries
        for name, texts in done.texts.items():
            found.texts.setdefault(name, set()).update(texts)
    return found


def _executing(
    subject: Subject, run: Run, alter: Callable[[str], str] | None = None, only: str = ""
) -> AbstractContextManager[Executed]:
    target, package = subject.target, subject.package
    return executing(target, run.forced, package, alter, run.wide, only, run.processors, parts=run.parts)


def digest_of_runs(some: Sequence[Run]) -> str:
    """A digest of some runs; of a set, which has no order, a sorted list is told."""
    told = [(replace(run, case=replace(run.case, absent=frozenset())), sorted(run.case.absent)) for run in some]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
