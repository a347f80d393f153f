"""Tables of the results of validation and compilation.

Input: ``Verdict``s, or the gate's figures. Output: tables of ``rich``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from svertka.codegen.verify.levels import Outcome
from svertka.codegen.verify.levels.numbers import largest_tightness
from svertka.codegen.verify.validate import Verdict

__all__ = ["figures", "matrix", "tightness"]


def matrix(verdicts: Sequence[Verdict], levels: Sequence[str]) -> Table:
    """Layers by levels: the number of elements shown, or that some failed, or why the level does not apply."""
    table = Table("layer", *levels, title="elements shown equal, or within their bound")
    for verdict in verdicts:
        table.add_row(verdict.definition, *(_cell(verdict.of(level)) for level in levels))
    return table


def _cell(outcomes: Sequence[Outcome]) -> str:
    failures = sum(len(outcome.failures) for outcome in outcomes)
    if failures:
        return f"[red]{failures} fail[/red]"
    elements = sum(outcome.elements for outcome in outcomes)
    silent = [outcome for outcome in outcomes if outcome.inapplicable]
    if not silent:
        return f"[green]{elements}[/green]" + _probability(outcomes)
    return f"{elements or '-'} ({_reason(silent[0])})"


def _reason(outcome: Outcome) -> str:
    return outcome.inapplicable.rpartition(": ")[2]


def _probability(outcomes: Sequence[Outcome]) -> str:
    """The probability that a difference was accepted."""
    found = [value for o in outcomes for key, value in o.figures.items() if key.endswith("probability")]
    if not found:
        return ""
    return f"  error < {max(found):.0e}" if max(found) else "  certain"


def tightness(verdicts: Sequence[Verdict], levels: Sequence[str] = ("rounding",)) -> Table:
    """Largest observed error / bound at some levels, by layer and dtype."""
    figures = {v.definition: largest_tightness([o for level in levels for o in v.of(level)]) for v in verdicts}
    dtypes = sorted({dtype for found in figures.values() for dtype in found})
    table = Table("layer", *dtypes, title="largest observed error / bound")
    for name, found in figures.items():
        table.add_row(name, *(f"{found[dtype]:.3f}" if dtype in found else "-" for dtype in dtypes))
    return table


def figures(rows: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """Rows by name, one column per figure."""
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    table = Table(title, *names)
    for row, found in rows.items():
        table.add_row(row, *(str(found.get(name, "")) for name in names))
    return table
