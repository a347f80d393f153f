"""Summary of comparisons of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svertka.codegen.verify.equivalence import Comparison
from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject

__all__ = ["largest_tightness", "summed"]


def summed(
    level: str, subject: Subject, cases: int, comparisons: Sequence[tuple[str, str, Comparison]], **figures: Any
) -> Outcome:
    """The outcome of comparisons, each with its case and dtype; ``tightness`` is the largest observed / bound."""
    tightness: dict[str, float] = {}
    for _, dtype, result in comparisons:
        tightness[dtype] = max(tightness.get(dtype, 0.0), result.ratio)
    return Outcome(
        level,
        subject.layer.name,
        cases,
        sum(result.elements for _, _, result in comparisons),
        {"tightness": tightness, **figures},
        tuple(f"{case} {dtype}: {result}" for case, dtype, result in comparisons if not result.holds),
    )


def largest_tightness(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The largest observed error / bound of some outcomes, by dtype."""
    found: dict[str, float] = {}
    for outcome in outcomes:
        for dtype, value in outcome.figures.get("tightness", {}).items():
            found[dtype] = max(found.get(dtype, 0.0), value)
    return found
