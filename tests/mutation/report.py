"""The results of a run of the mutation gate, as a table to read and as data.

Input: mutants, their results, recorded equivalents. Output: ``REPORT.md`` and ``report.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .faults import KERNELS, KINDS, Mutant
from .nursery import Result, Step

__all__ = ["EQUIVALENT", "LEVELS", "Judged", "equivalents", "judged", "outcome", "write_report"]

HERE = Path(__file__).resolve().parent
EQUIVALENT = HERE / "equivalent.json"
LEVELS = ("generation", "adjoint", "reference", "source", "exact", "rounding")
LONGEST = 160  # characters of a text in the report


def equivalents() -> dict[str, str]:
    """Reasons why mutants compute the same function, by identifier."""
    reasons: dict[str, str] = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return reasons


@dataclass(frozen=True)
class Judged:
    """A mutant with its outcome: killed, survived, without effect, or equivalent."""

    mutant: Mutant
    result: Result
    outcome: str

    def level(self, name: str) -> str:
        """The result of a level: killed, passed, or none."""
        steps = [step for step in self.result.steps if step.step == name]
        if any(step.failure for step in steps):
            return "killed"
        return "passed" if any(not step.inapplicable for step in steps) else ""


def judged(mutants: Sequence[Mutant], results: Mapping[str, Result], reasons: Mapping[str, str]) -> list[Judged]:
    """Each mutant with its outcome."""
    return [Judged(m, results[m.identifier], outcome(m, results[m.identifier], reasons)) for m in mutants]


def outcome(mutant: Mutant, result: Result, reasons: Mapping[str, str]) -> str:
    """The outcome in one or two words."""
    if result.refused:
        return "killed"
    if mutant.identifier in reasons:
        return "equivalent"
    return "no effect" if result.changed == [] else "survived"


def write_report(found: Sequence[Judged], reasons: Mapping[str, str], folder: Path = HERE) -> None:
    """Write both files."""
    (folder / "REPORT.md").write_text(_text(found, reasons), encoding="utf-8")
    data = [_data(one, reasons) for one in found]
    (folder / "report.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _text(found: Sequence[Judged], reasons: Mapping[str, str]) -> str:
    counts = {word: sum(one.outcome == word for one in found) for word in _OUTCOMES}
    summary = ", ".join(f"{count} {word}" for word, count in counts.items())
    parts = [
        "# Mutation gate",
        "",
        f"{len(found)} seeded faults: {summary}. Written by `make mutation`; every fault stands in `report.json`.",
        "",
        "## Kinds by levels",
        "",
        "Killed / judged. A level is judged on the faults that it ran on and has something to say of; layers are tried",
        "up to the first that some level refuses. Equivalent faults are not counted. A fault is killed when any level",
        "refuses it.",
        "",
        *_levels(found),
        "",
        "## Emitted kernels by pattern and direction",
        "",
        *_table("pattern", ("forward", "backward"), _patterns(found)),
        "",
        "## Operators",
        "",
        *_table("operator", ("killed / judged",), _operators(found)),
        "",
        "## Survivors",
        "",
        *(_listed(found, ("survived", "no effect")) or ["None."]),
        "",
        "## Equivalent",
        "",
        *(_listed(found, ("equivalent",), reasons) or ["None."]),
        "",
    ]
    return "\n".join(parts)


_OUTCOMES = ("killed", "equivalent", "survived", "no effect")


def _levels(found: Sequence[Judged]) -> list[str]:
    counted = [one for one in found if one.outcome != "equivalent"]
    rows = {}
    for kind in (*KINDS, "all"):
        some = [one for one in counted if kind in (one.mutant.kind, "all")]
        cells = [_rate([one.level(level) for one in some]) for level in LEVELS]
        rows[kind] = [*cells, _rate(["killed" if one.outcome == "killed" else "passed" for one in some])]
    return _table("kind", (*LEVELS, "any"), rows)


def _rate(words: Iterable[str]) -> str:
    said = [word for word in words if word]
    killed = said.count("killed")
    return f"{killed} / {len(said)} ({100 * killed // len(said)} %)" if said else "-"


def _patterns(found: Sequence[Judged]) -> dict[str, list[str]]:
    emitted = [one for one in found if one.mutant.kind in KERNELS and one.outcome != "equivalent"]
    return _grouped(emitted, lambda one: one.mutant.pattern, lambda one: one.mutant.direction, ("forward", "backward"))


def _operators(found: Sequence[Judged]) -> dict[str, list[str]]:
    counted = [one for one in found if one.outcome != "equivalent"]
    return _grouped(counted, lambda one: one.mutant.operator, lambda one: "", ("",))


def _grouped(
    found: Sequence[Judged], row: Callable[[Judged], str], column: Callable[[Judged], str], columns: Sequence[str]
) -> dict[str, list[str]]:
    rows = {}
    for name in sorted({row(one) for one in found}):
        mine = [one for one in found if row(one) == name]
        rows[name] = [_rate([one.outcome for one in mine if column(one) == place]) for place in columns]
    return rows


def _table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    head = [f"| {corner} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    return head + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


def _listed(found: Sequence[Judged], words: Sequence[str], reasons: Mapping[str, str] | None = None) -> list[str]:
    lines = []
    for one in found:
        if one.outcome in words:
            mutant = one.mutant
            change = f"`{_short(mutant.old)}` -> `{_short(mutant.new)}`"
            reason = f"  \n  {reasons[mutant.identifier]}" if reasons else f" ({one.outcome})"
            place = f"{mutant.file}:{mutant.line}"
            lines.append(f"- `{mutant.identifier}` {place} `{mutant.scope}`, {mutant.operator}: {change}{reason}")
    return lines


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "'")
    return flat if len(flat) <= LONGEST else f"{flat[:LONGEST]}..."


def _data(one: Judged, reasons: Mapping[str, str]) -> dict[str, Any]:
    mutant = one.mutant
    entry: dict[str, Any] = {"mutant": mutant.identifier, "outcome": one.outcome}
    entry |= {name: getattr(mutant, name) for name in ("file", "line", "scope", "operator", "old", "new")}
    if mutant.pattern:
        entry |= {"pattern": mutant.pattern, "direction": mutant.direction}
    if mutant.identifier in reasons:
        entry["reason"] = reasons[mutant.identifier]
    entry["levels"] = [_step(step) for step in one.result.steps]
    return entry


def _step(step: Step) -> dict[str, str]:
    said = {"level": step.step, "layer": step.layer}
    for name, text in (("failure", step.failure), ("inapplicable", step.inapplicable)):
        if text:
            said[name] = _short(text)
    return said
