"""An explanation for the terminal.

Input: an ``Explanation``. Output: renderables of ``rich``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from svertka.codegen.book.explanation import Explanation, Formula, Run
from svertka.codegen.book.line import Line
from svertka.codegen.book.printers import plain
from svertka.codegen.book.typeset import element_of

__all__ = ["rendered"]

STEP = 4  # columns of one level of indentation
DEEPEST = 6  # nesting depth of brackets within which a formula may be broken


def rendered(explanation: Explanation, formulas: Sequence[Formula]) -> Iterator[RenderableType]:
    """Everything about a definition, with some of its formulas."""
    definition = explanation.definition
    yield Rule(Text(definition.name, style="bold"))
    yield Text(definition.title)
    yield _pair("source", definition.source)
    yield from _calls(explanation)
    for formula in formulas:
        if len(explanation.formulas) > 1:
            yield Text()
            yield Rule(Text(f"{formula.layer.name}: {formula.when}"), align="left", characters="╌")
        yield from _formula(formula)
        yield from _evidence(explanation, formula)


def _calls(explanation: Explanation) -> Iterator[RenderableType]:
    definition = explanation.definition
    call = f"{explanation.package}.functional.{definition.function}({explanation.signature})"
    yield _pair("function", call)
    for face in definition.modules:
        base = f", a {face.base}"
        yield _pair("module", f"{explanation.package}.{face.name}{base}")
    if definition.orders > 1:
        yield _pair("orders", f"can be differentiated {definition.orders} times")


def _formula(formula: Formula) -> Iterator[RenderableType]:
    yield _heading("formula")
    yield from _lines(formula.lines)
    yield from _legend(formula)
    yield _heading("gradient, derived from the formula")
    if formula.again:
        yield _indented(Text("needed from the forward, kept or computed again:", style="dim"))
        yield from _lines(formula.again)
        yield _indented(Text("then:", style="dim"))
    yield from _lines(formula.gradient)
    for run in formula.runs:
        yield _heading(f"kernels, {run.title}")
        yield from _run(run)
    yield _heading("saved for the backward")
    yield _indented(Text(", ".join(formula.saved) or "nothing but what the forward was given"))


def _legend(formula: Formula) -> Iterator[RenderableType]:
    if formula.indices:
        meanings = ", ".join(f"{letter} {meaning}" for letter, meaning in formula.indices)
        yield _indented(Text(f"indices: {meanings}", style="dim"))
    absent = [f"{plain(element_of(tensor))} is {note}" for tensor, note in formula.tensors if note]
    if absent:
        yield _indented(Text(", ".join(absent), style="dim"))


def _run(run: Run) -> Iterator[RenderableType]:
    for step in run.steps:
        words = f"{step.pattern} loops"
        words += f"; also by {', '.join(step.others)}" if step.others else ""
        words += f"; only for {', '.join(step.serves)}" if step.serves else ""
        yield _indented(Text.assemble((step.name, "cyan"), f"  ({words})"))
        yield from _lines(step.lines, 2)
        yield from (_indented(Text(cost, style="yellow"), 2) for cost in step.costs)


def _evidence(explanation: Explanation, formula: Formula) -> Iterator[RenderableType]:
    yield _heading("what is proven")
    if explanation.evidence.problem:
        yield _indented(Text(f"nothing that counts: {explanation.evidence.problem}", style="red"))
        return
    table = Table.grid(padding=(0, 2))
    for level, words in formula.proven.items():
        table.add_row(Text(level, style="green"), Text(words))
    yield _indented(table)


def _lines(lines: Iterable[Line], depth: int = 1) -> Iterator[RenderableType]:
    for line in lines:
        yield _indented(_Wrapped(plain(line.tree)), depth)
        for word, trees in (("where", line.where), ("such that", line.conditions)):
            for place, tree in enumerate(trees):
                lead = word if place == 0 else " " * len(word)
                yield _indented(_Wrapped(f"{lead} {plain(tree)}", "dim"), depth + 1)


@dataclass(frozen=True)
class _Wrapped:
    """A formula, broken outside of brackets; continuation lines are indented."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Lines for the current width."""
        rows = [""]
        for part in _fitting(self.text, options.max_width - STEP):
            if rows[-1].strip() and len(rows[-1]) + len(part.rstrip()) > options.max_width:
                rows.append(" " * STEP)
            rows[-1] += part
        yield Text("\n".join(row.rstrip() for row in rows), style=self.style)


def _fitting(text: str, width: int, depth: int = 0) -> Iterator[str]:
    """A formula's text cut at spaces: outside of brackets, and within brackets only if necessary."""
    for part in _parts(text, depth):
        if len(part) > width and depth < DEEPEST:
            yield from _fitting(part, width, depth + 1)
        else:
            yield part


def _parts(text: str, deepest: int) -> Iterator[str]:
    """The text cut after the spaces that lie within at most so many brackets."""
    depth, start = 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([{⌊") - (letter in ")]}⌋")
        if letter == " " and depth <= deepest and text[start:place].strip():
            yield text[start : place + 1]
            start = place + 1
    yield text[start:]


def _indented(what: RenderableType, depth: int = 1) -> Padding:
    return Padding(what, (0, 0, 0, STEP * depth), expand=False)


def _heading(words: str) -> Text:
    return Text(f"\n{words}", style="bold")


def _pair(name: str, words: str) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=9, style="dim")
    table.add_column(overflow="fold")
    table.add_row(name, Text(words))
    return table
