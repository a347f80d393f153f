"""Level "exact": on whole numbers the kernel equals the formula to the last bit, wherever the formula never rounds.

Sums of products and piecewise linear formulas never round small whole numbers. For each case the largest range of
integers is taken for which the formula's own evaluation proves that. The level does not apply to formulas that round
all of them (exponentials, roots).

Two different polynomials of degree d agree at integers drawn from n values with probability at most d / n (Schwartz and
Zippel); the cases are drawn independently.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from svertka.codegen.verify.cases import Case, cases
from svertka.codegen.verify.equivalence import (
    Comparison,
    Values,
    compare_exactly,
    draw_values,
    format_of,
    formula_parts,
)
from svertka.codegen.verify.levels.bfloat16 import repaired_on
from svertka.codegen.verify.levels.numbers import summed
from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec.exact import Exact, never_exact
from svertka.spec.running_error import Bounded

__all__ = ["DTYPES", "check"]

NAME = "exact"
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
RANGES = (3, 16, 128)  # bfloat16 represents whole numbers up to 256
FRACTION_BITS = (0, 8)
WANTED, TRIED = 3, 12  # exact cases that are used, and cases that are tried for them
DEGREE = 3  # at most, of a product of an input, a weight and a gradient


def check(subject: Subject) -> Outcome:
    """Compare forward and backward in the exact cases; the first case, and the first with boxes, in every dtype."""
    if never_exact(subject.layer):
        return Outcome(NAME, subject.layer.name, inapplicable="it rounds whole numbers")
    comparisons, probability = [], 1.0
    found: list[Case] = []
    for case, dtypes in subject.runs or _tried(subject):
        numbers = subject.evaluated((NAME, case.name), lambda case=case: _whole_numbers(subject, case))  # type: ignore[misc]
        if numbers is None:
            continue
        probability *= DEGREE / (2 * numbers.largest + 1)
        for dtype in dtypes or _dtypes(case, found, subject.compiled):
            comparisons += _comparisons(subject, case, numbers, dtype)
        found.append(case)
        if len(found) == WANTED and not subject.runs:
            break
    if not found:
        return Outcome(NAME, subject.layer.name, inapplicable="it rounds whole numbers")
    return summed(NAME, subject, len(found), comparisons, failure_probability=probability)


def _tried(subject: Subject) -> Iterator[tuple[Case, tuple[torch.dtype, ...]]]:
    """Cases that may be exact, the first of each layout of boxes before all others."""
    boxed = subject.box_cases[: len(subject.layouts)]
    yield from ((case, ()) for case in (*boxed, *cases(subject.module.definition, subject.variant, TRIED)))


def _dtypes(case: Case, before: Sequence[Case], compiled: bool) -> Sequence[torch.dtype]:
    """Every dtype for the first case with boxes and the first without; the interpreter does not round loaded boxes."""
    if any(other.boxed == case.boxed for other in before):
        return DTYPES[:1]
    return DTYPES if compiled or not case.boxed else DTYPES[1:2]


@dataclass(frozen=True)
class _Numbers:
    """Whole numbers up to ``largest`` in magnitude for which nothing rounds, and the formula's results."""

    largest: int
    values: Values
    expected: Mapping[str, Any]


def _whole_numbers(subject: Subject, case: Case) -> _Numbers | None:
    """The largest range of integers for which no operation rounds; None if there is none."""
    definition, layer = subject.module.definition, subject.layer

    def tried(largest: int) -> _Numbers | None:
        values = draw_values(definition, layer, case, partial(_integer, largest=largest))
        for fraction_bits in FRACTION_BITS:
            found = _exact(formula_parts(definition, layer, case, values, Exact(fraction_bits, Tensors())))
            if found is not None:
                return _Numbers(largest, values, found)
        return None

    smallest, *larger = RANGES
    if (found := tried(larger[-1])) is not None:  # most formulas; evaluating one takes longer than its kernels
        return found
    best = tried(smallest)
    for largest in larger[:-1] if best is not None else ():
        best = tried(largest) or best
    return best


def _exact(parts: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """All results of a formula; None as soon as one of them was rounded."""
    found: dict[str, Any] = {}
    for part in parts:
        if any(bool((r.error != 0).any()) for r in part.values() if isinstance(r, Bounded)):
            return None
        found |= part
    return found


def _integer(draw: random.Random, largest: int) -> float:
    return float(draw.randint(-largest, largest))


def _comparisons(
    subject: Subject, case: Case, numbers: _Numbers, dtype: torch.dtype
) -> list[tuple[str, str, Comparison]]:
    with repaired_on(subject.device):
        found = compare_exactly(
            subject.module,
            subject.variant,
            subject.kernels,
            case,
            numbers.values,
            numbers.expected,
            dtype,
            subject.device,
        )
        return [(case.name, format_of(dtype).name, result) for result in found]
