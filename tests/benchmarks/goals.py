"""The goals, and the result of a run for each: met or not, by which ratio, and the causes.

Input: results of the benchmark, of torch.compile and of the training step. Output: lines of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

__all__ = ["Measured", "goal_lines", "measured_rows"]

LIMIT_SHARE = 0.90
LEAST_OF_CONVOLUTIONS = 0.85
NORM_RATIO = 8.0
STEP_RATIO = 1.2
NORM, LINEAR = "cross_channel_norm", "linear"
STEP = "training step"
COMPARED = "bfloat16"


@dataclass(frozen=True)
class Measured:
    """A direction of a workload, with the times of every road from all phases.

    Attributes:
        seconds: by road.
        limit: the least time, 0 if not known.
        wrong, unchecked, failed: why a result or a road does not count.
    """

    name: str
    kind: str
    function: str
    dtype: str
    direction: str
    seconds: Mapping[str, float]
    limit: float
    wrong: Sequence[str]
    unchecked: str
    failed: Mapping[str, str]

    def ratio(self, road: str) -> float | None:
        """Time of another road over svertka's time; None if one of them has no time."""
        own, other = self.seconds.get("svertka"), self.seconds.get(road)
        return other / own if own and other else None

    @property
    def efficiency(self) -> float | None:
        """Limit / time."""
        own = self.seconds.get("svertka")
        return self.limit / own if own and self.limit else None

    @property
    def result(self) -> str:
        """The result of the check at this size."""
        return "WRONG" if self.wrong else "not checked" if self.unchecked else "right"

    @property
    def why(self) -> str:
        """The reasons for missing or wrong figures."""
        texts = [*self.wrong[:1], self.unchecked, *(f"{road}: {text}" for road, text in self.failed.items())]
        return "; ".join(" ".join(text.split())[:160] for text in texts if text)

    @property
    def cause(self) -> str:
        """The likely cause of a ratio below the goal, from the figures."""
        if self.wrong:
            return "its result is wrong"
        if not self.limit:
            return "no limit is known"
        shares = {road: self.limit / took for road, took in self.seconds.items() if took}
        return "of the limit: " + ", ".join(f"{road} {share:.2f}" for road, share in shares.items())


def measured_rows(results: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """One per workload and direction; times of later phases are added, each ratio is taken within one phase."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        for row in result.get("rows", ()):
            key = (f"{row['name']} {row['dtype']} {row['layout']}", row["direction"])
            if key not in found:
                found[key] = dict(row)
            elif "compile" in row["seconds"] and row["seconds"].get("svertka"):
                before = found[key]["seconds"]
                own = before.get("svertka", row["seconds"]["svertka"])
                scaled = row["seconds"]["compile"] * own / row["seconds"]["svertka"]
                found[key]["seconds"] = {**row["seconds"], **before, "compile": scaled}
            else:
                found[key]["failed"] = {**found[key].get("failed", {}), **row.get("failed", {})}
    return [_measured(*key, row) for key, row in found.items()]


def _measured(name: str, direction: str, row: Mapping[str, Any]) -> Measured:
    return Measured(
        name,
        row["kind"],
        row["function"],
        row["dtype"],
        direction,
        row["seconds"],
        float(row.get("limit") or 0.0),
        row.get("wrong", ()),
        str(row.get("unchecked", "")),
        row.get("failed", {}),
    )


def goal_lines(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of goals, followed by each figure below its goal, with its cause."""
    rows = [row for row in measured_rows(results) if row.dtype == COMPARED]
    memory = [row for row in rows if row.kind == "memory"]
    linear = [row for row in rows if row.function == LINEAR]
    convolutions = [row for row in rows if row.kind == "matrix" and row not in linear]
    norms = [row for row in memory if row.function == NORM]
    steps = [row for row in measured_rows(results) if row.kind == STEP]
    goals = [
        Goal("memory-bound layers: share of the copy limit", LIMIT_SHARE, memory, lambda row: row.efficiency),
        Goal("memory-bound layers: x eager", 1.0, memory, lambda row: row.ratio("eager")),
        Goal("memory-bound layers: x torch.compile", 1.0, memory, lambda row: row.ratio("compile")),
        Goal("convolutions: x cuDNN, geometric mean", 1.0, convolutions, lambda row: row.ratio("eager"), mean=True),
        Goal("convolutions: x cuDNN, each", LEAST_OF_CONVOLUTIONS, convolutions, lambda row: row.ratio("eager")),
        Goal("linear: x cuBLAS", 1.0, linear, lambda row: row.ratio("eager")),
        Goal("cross-channel norm: x eager", NORM_RATIO, norms, lambda row: row.ratio("eager")),
        Goal("training step of AlexNet, 256 images: x eager", STEP_RATIO, steps, lambda row: row.ratio("eager")),
    ]
    yield "| goal | wanted | least | geometric mean | of | verdict |"
    yield "|---|---|---|---|---|---|"
    yield from (goal.line() for goal in goals)
    yield ""
    for goal in goals:
        yield from goal.short()


@dataclass(frozen=True)
class Goal:
    """A figure that every row must reach, or their geometric mean."""

    name: str
    wanted: float
    rows: Sequence[Measured]
    figure: Callable[[Measured], float | None]
    mean: bool = False

    def figures(self) -> list[tuple[Measured, float]]:
        """The rows that have the figure; wrong results are excluded."""
        pairs = [(row, self.figure(row)) for row in self.rows if not row.wrong]
        return [(row, value) for row, value in pairs if value is not None]

    def line(self) -> str:
        """Its row of the table."""
        known = [value for _, value in self.figures()]
        if not known:
            return f"| {self.name} | {self.wanted:g} | - | - | 0 of {len(self.rows)} | not known |"
        average = geometric_mean(known)
        whole = len(known) == len(self.rows)
        met = (average if self.mean else min(known)) >= self.wanted
        verdict = ("met" if whole else "met as far as known") if met else "MISSED"
        return (
            f"| {self.name} | {self.wanted:g} | {min(known):.2f} | {average:.2f} | {len(known)} of {len(self.rows)} "
            f"| {verdict} |"
        )

    def short(self) -> Iterator[str]:
        """The rows below the goal, with their causes."""
        missed = [(row, value) for row, value in self.figures() if value < self.wanted]
        for row, value in sorted(missed, key=lambda pair: pair[1]):
            yield f"- {self.name}: {row.name} {row.direction}: {value:.2f} of {self.wanted:g}; {row.cause}"
