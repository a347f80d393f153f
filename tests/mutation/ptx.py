"""``python -m tests.mutation.ptx``: faults in compiled kernels. Exit code 1 if one survives without a reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from .ptx_faults import PTX_KINDS

HERE = Path(__file__).resolve().parent
EQUIVALENT, REPORT, DATA = HERE / "ptx_equivalent.json", HERE / "PTX.md", HERE / "ptx_report.json"
OUTCOMES = ("killed", "equivalent", "survived")
LONGEST = 150  # characters of a text in the report
console = Console(soft_wrap=True)


def main(
    limit: Annotated[int, typer.Option(help="Try so many of the faults, evenly spread; write no report.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Try this one and show it; write no report.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the faults and stop.")] = False,
) -> None:
    """Plant every fault in the PTX of a kernel, run the machine, and report what it kills."""
    from .ptx_equivalence import reason_of
    from .ptx_trial import ptx_catalogue, try_fault

    reasons: dict[str, str] = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    faults = [one for one in ptx_catalogue() if not only or one.mutant.identifier in only]
    faults = faults[:: max(len(faults) // limit, 1)][:limit] if limit else faults
    rows = []
    for fault in faults if show else track(faults, "faults in PTX", console=Console(stderr=True)):
        said = "" if show else try_fault(fault)
        mutant = fault.mutant
        if not said and (ruled := reason_of(fault.text, mutant.applied(fault.text))):
            reasons[mutant.identifier] = ruled
        outcome = "killed" if said else "equivalent" if mutant.identifier in reasons else "survived"
        row = {"mutant": mutant.identifier, "kind": mutant.operator, "kernel": mutant.file, "line": mutant.line}
        rows.append(row | {"old": mutant.old, "new": mutant.new, "outcome": outcome, "said": said})
        if show or only or outcome == "survived":
            console.print(_line(rows[-1]), said, markup=False, highlight=False)
    if show:
        return
    if not (limit or only):
        write_report(rows, reasons)
        console.print(f"{REPORT} written", highlight=False)
    left = sum(row["outcome"] == "survived" for row in rows)
    console.print(f"{len(rows)} faults, {left} survive without a reason", highlight=False)
    sys.exit(1 if left else 0)


def write_report(rows: Sequence[Mapping[str, Any]], reasons: Mapping[str, str], folder: Path = HERE) -> None:
    """Write the page and the data."""
    (folder / REPORT.name).write_text(_text(rows, reasons), encoding="utf-8")
    kept = [{**row, "old": _short(row["old"]), "new": _short(row["new"]), "said": _short(row["said"])} for row in rows]
    (folder / DATA.name).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _text(rows: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]) -> str:
    counts = ", ".join(f"{sum(row['outcome'] == word for row in rows)} {word}" for word in OUTCOMES)
    lines = ["# Faults in compiled kernels", "", f"{len(rows)} faults planted in PTX: {counts}."]
    lines += ["Written by `python -m tests.mutation.ptx`; every fault stands in `ptx_report.json`.", ""]
    lines += ["Refused: the machine stops the kernel. Wrong numbers: the kernel runs, and its results are not the"]
    lines += ["formula's. Equivalent faults are not counted in the rate.", ""]
    columns = ("kind", "faults", "refused", "wrong numbers", "equivalent", "survived", "rate")
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for kind in (*PTX_KINDS, "all"):
        some = [row for row in rows if kind in (row["kind"], "all")]
        killed = [row for row in some if row["outcome"] == "killed"]
        refused = sum("PtxError" in row["said"] for row in killed)
        same, left = (sum(row["outcome"] == word for row in some) for word in OUTCOMES[1:])
        judged = len(some) - same
        rate = f"{100 * len(killed) // judged} %" if judged else "-"
        cells = (kind, len(some), refused, len(killed) - refused, same, left, rate)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for title, word in (("Survivors", "survived"), ("Equivalent", "equivalent")):
        found = [row for row in rows if row["outcome"] == word]
        lines += ["", f"## {title}", "", *([_line(row, reasons) for row in found] or ["None."])]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any], reasons: Mapping[str, str] | None = None) -> str:
    reason = f"  \n  {reasons[row['mutant']]}" if reasons and row["mutant"] in reasons else ""
    change = f"`{_short(row['old'])}` -> `{_short(row['new'])}`"
    return f"- `{row['mutant']}` {row['kernel']}:{row['line']}, {row['kind']}: {change}{reason}"


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "'")
    return flat if len(flat) <= LONGEST else f"{flat[:LONGEST]}..."


if __name__ == "__main__":
    typer.run(main)
