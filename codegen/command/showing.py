"""``svertka slides`` and ``svertka list``: the lecture's numbers, and the layers."""

from __future__ import annotations

import typer
from rich.table import Table

from svertka.codegen.command.terminal import FAILED, application, console, interpret


@application.command()
def slides() -> None:
    """Every worked number of the lecture, computed by the formula, the reference and the kernel."""
    interpret()
    from svertka.codegen.verify.slides import slide_rows

    rows = slide_rows()
    table = Table("slide", "what", "expected", "formula", "reference", "kernel")
    for row in rows:
        table.add_row(*(cell if place in (0, 1, 2) else _mark(cell) for place, cell in enumerate(row.cells)))
    console.print(table)
    failed = [row for row in rows if not row.holds]
    console.print(f"{len(rows)} rows, {len(failed)} do not come out", highlight=False)
    if failed:
        raise typer.Exit(FAILED)


def _mark(cell: str) -> str:
    return cell if cell != "differs" else "[red]differs[/red]"


@application.command("list")
def list_layers() -> None:
    """Show the layers: function, modules, formulas."""
    from svertka.codegen.driver.listing import listed

    table = Table("layer", "function", "modules", "formulas", "source")
    for row in listed():
        table.add_row(*row)
    console.print(table)
