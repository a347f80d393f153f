"""``summary.md``: the summary of a run.

Input: results, how phases ended. Output: Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.benchmarks.goals import goal_lines, measured_rows
from tests.benchmarks.phases import STAGES
from tests.benchmarks.scheduler import Ended

__all__ = ["judged", "summary"]

MOST_FAILURES = 80
PREPARING = {phase.name for stage in STAGES for phase in stage if phase in STAGES[0] or not phase.gpu}
Result = Mapping[str, Any]


def summary(results: Sequence[Result], ended: Sequence[Ended], budget: Sequence[str], seconds: float) -> str:
    """The whole page."""
    parts = [
        _head(results, ended, seconds),
        ["## Phases", "", *_phases(results, ended)],
        ["## What does not hold", "", *_failures(results)],
        ["## What was not come to", "", *_left(ended)],
        ["## Goals", "", *goal_lines(results)],
        ["## Times", "", *_times(results)],
        ["## Tiles", "", *_tiles(results)],
        ["## Does not apply here", "", *_inapplicable(results)],
        ["## Budget of the correctness phase, counted without a GPU", "", *(f"- {line}" for line in budget)],
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def judged(results: Sequence[Result]) -> bool:
    """Whether any item ran except those that only prepare; otherwise the absence of failures means nothing."""
    return any(row["phase"] not in PREPARING for row in results)


def _head(results: Sequence[Result], ended: Sequence[Ended], seconds: float) -> list[str]:
    machine = next((row for row in results if "versions" in row), {})
    device, versions = machine.get("device", {}), machine.get("versions", {})
    failed = sum(bool(row["failures"]) for row in results)
    late = [one.phase.name for one in ended if not one.whole]
    verdict = "Everything that ran holds, and nothing fell away." if judged(results) else "Nothing was judged."
    if failed or late:
        verdict = f"{failed} of {len(results)} items do not hold; {len(late)} phases did not come to their end"
    return [
        "# One run on a GPU",
        "",
        f"- **{verdict}**",
        f"- {seconds:.0f} s",
        f"- {', '.join(f'{name} {value}' for name, value in device.items())}",
        f"- {', '.join(f'{name} {value}' for name, value in versions.items())}",
        f"- limits: {_rates(machine.get('limits', {}))}",
    ]


def _rates(limits: Mapping[str, float]) -> str:
    if not limits:
        return "not measured"
    return f"copy {limits['bandwidth'] / 1e12:.3f} TB/s, product in bfloat16 {limits['operations'] / 1e12:.1f} TFLOP/s"


def _phases(results: Sequence[Result], ended: Sequence[Ended]) -> Iterator[str]:
    yield "| phase | done | of | do not hold | not come to | seconds | trouble |"
    yield "|---|---|---|---|---|---|---|"
    for one in ended:
        name = one.phase.name
        failed = sum(bool(row["failures"]) for row in results if row["phase"] == name)
        yield f"| {name} | {one.done} | {one.total} | {failed} | {len(one.left)} | {one.seconds} | {one.trouble} |"


def _failures(results: Sequence[Result]) -> Iterator[str]:
    failed = [row for row in results if row["failures"]]
    if not failed:
        yield "Nothing."
    for row in failed[:MOST_FAILURES]:
        yield f"- **{row['id']}** ({row['phase']}): {_shown(row['failures'][0])}"
        yield from (f"  - {_shown(text)}" for text in row["failures"][1:4])
    if len(failed) > MOST_FAILURES:
        yield f"- and {len(failed) - MOST_FAILURES} more in results.jsonl"


def _shown(text: str) -> str:
    """One line of a list."""
    return " ".join(text.split())[:300]


def _left(ended: Sequence[Ended]) -> Iterator[str]:
    late = [one for one in ended if not one.whole]
    if not late:
        yield "Nothing: every phase came to its end."
    for one in late:
        names = [str(item["id"]) for item in one.left]
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        why = one.trouble or "its time was over"
        yield f"- **{one.phase.name}** ({why}): {', '.join(names[:20])}{more}"


def _times(results: Sequence[Result]) -> Iterator[str]:
    yield "| workload | direction | ms | x eager | x torch.compile | of limit | result | |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in measured_rows(results):
        own = row.seconds.get("svertka")
        time = f"{own * 1e3:.4f}" if own else "-"
        ratios = " | ".join(_ratio(row.ratio(road)) for road in ("eager", "compile"))
        share = _ratio(row.efficiency)
        yield f"| {row.name} | {row.direction} | {time} | {ratios} | {share} | {row.result} | {row.why} |"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _tiles(results: Sequence[Result]) -> Iterator[str]:
    found = [row for row in results if "lines" in row]
    if not found:
        yield "No class was searched."
    for row in found:
        yield from (f"- {_shown(line)}" for line in row["lines"])
        if row.get("stopped"):
            yield f"- {row['id']}: its time was over before all candidates were tried"


def _inapplicable(results: Sequence[Result]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for row in results:
        if row.get("inapplicable"):
            reasons.setdefault(str(row["inapplicable"]), []).append(str(row["id"]))
    yield from (f"- {reason}: {', '.join(names)}" for reason, names in reasons.items())
