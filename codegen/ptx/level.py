"""Level "compiled": what the compiler made of the kernels computes the formulas, on the machine.

The levels "exact" and "rounding" are checked once more, with the kernels compiled for a target, with its tiles, and
executed by the machine: in every format on whole numbers to the last bit, on real numbers within the bound of the
matrix unit's arithmetic. All that the machine refuses is a failure too.

Input: a formula with its kernels, and a target. Output: ``Outcome``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.lowering.built import built
from svertka.codegen.ptx.launch import executing
from svertka.codegen.verify.levels import LEVELS, Outcome, Subject
from svertka.codegen.verify.levels.numbers import largest_tightness
from svertka.codegen.verify.recording import PACKAGE
from svertka.spec.definition import Definition, Variant

__all__ = ["CHECKED", "TARGETS", "check", "survey"]

NAME = "compiled"
CHECKED = ("exact", "rounding")  # levels that are checked on compiled kernels
TARGETS = ("sm_80", "sm_90")


def check(
    module: KernelModule,
    variant: Variant,
    target: str,
    package: str = PACKAGE,
    levels: Sequence[str] = CHECKED,
    forced: str = "",
) -> Outcome:
    """Check a formula's kernels, compiled for a target.

    Args:
        module: the definition's kernels and programs.
        variant: which of its formulas.
        target: one of ``TARGETS``.
        package: name of the generated package.
        levels: of ``CHECKED``.
        forced: an entry of the tables of tiles that serves every size.
    """
    subject = Subject(module, variant, package, target=target)
    began, kernels = time.process_time(), set()
    outcomes, failures = [], []
    launches = 0
    for level in levels:
        try:
            with executing(target, forced, package) as done, np.errstate(all="ignore"):
                outcomes.append(LEVELS[level](subject))
            failures += [f"{level}: {text}" for text in outcomes[-1].failures]
        except Exception as error:
            failures.append(f"{level}: the kernel does not run: {type(error).__name__}: {error}")
        launches += done.launches
        kernels |= set(done.kernels)
    seconds = round(time.process_time() - began, 1)
    figures = {"target": target, "launches": launches, "kernels": sorted(kernels), "seconds": seconds}
    figures["tightness"] = largest_tightness(outcomes)
    cases, elements = sum(o.cases for o in outcomes), sum(o.elements for o in outcomes)
    return Outcome(NAME, variant.layer.name, cases, elements, figures, tuple(failures))


def survey(
    definitions: Sequence[Definition],
    targets: Sequence[str] = TARGETS,
    levels: Sequence[str] = CHECKED,
    package: str = PACKAGE,
) -> Iterator[Outcome]:
    """Check every formula of some definitions for every target; arguments as ``check``'s."""
    for definition in definitions:
        module = built(definition)
        for variant in definition.variants:
            for target in targets:
                yield check(module, variant, target, package, levels)
