"""``svertka compile`` and ``svertka gate``: machine code for GPUs that need not be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from svertka.codegen.command.terminal import (
    FAILED,
    Names,
    application,
    compilable,
    console,
    definitions_named,
    errors,
    progress,
)

FIGURES = Path("tests/benchmarks/static.json")


@application.command("compile")
def compile_kernels(
    layers: Names = None,
    target: Annotated[list[str] | None, typer.Option(help="sm_80, sm_90, sm_100 or gfx942; all if none.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float16, bfloat16, float32 or float64.")] = None,
    both: Annotated[
        bool, typer.Option("--both-formats/--row-major", help="In channels_last format too, or not.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows of JSON.")] = False,
) -> None:
    """Compile every kernel for GPUs that need not be there, and show registers, spills and the matrix unit's use."""
    compilable()
    from svertka.codegen.compiling import TARGETS, compile_launch
    from svertka.codegen.survey import LAYOUTS, survey

    targets, dtypes = target or list(TARGETS), dtype or ["bfloat16", "float32"]
    for name in targets:
        if name not in TARGETS:
            raise ValueError(f"--target {name}: unknown; use {', '.join(TARGETS)}")
    for name in dtypes:
        if name not in ("float16", "bfloat16", "float32", "float64"):
            raise ValueError(f"--dtype {name}: unknown; use float16, bfloat16, float32 or float64")
    layouts = tuple(LAYOUTS) if both else ("row-major",)
    found = {name: survey(definitions_named(layers), dtypes, layouts, target=name).planned.values() for name in targets}
    rows = []
    with progress("compiling", sum(map(len, found.values()))) as advance:
        for name, planned in found.items():
            for one in planned:
                rows.append(compile_launch(one.launch, name, one.dtype).row())
                advance(one.name)
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(*(rows[0] if rows else ()))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


@application.command("gate")
def check_figures(
    layers: Names = None,
    update: Annotated[bool, typer.Option("--update", help="Write the table instead of comparing with it.")] = False,
    part: Annotated[str, typer.Option(help="2/3: compile the second of three parts only.")] = "1/1",
    path: Annotated[Path, typer.Option("--table", help="The committed table.")] = FIGURES,
) -> None:
    """Compare all kernels' machine code and all programs' traffic with a committed table; no GPU is needed."""
    compilable()
    from svertka.codegen.gate import DTYPES, chosen, complaints, measured, name_of, read, skipped, untaken, write
    from svertka.codegen.report import figures
    from svertka.codegen.survey import survey

    if update and (layers or part != "1/1"):
        raise ValueError("--update: the table is written as a whole; name neither layers nor a part")
    found = survey(definitions_named(layers), DTYPES, tables=not layers)
    with progress("compiling", len(chosen(found, part))) as advance:
        table = measured(found, part, advance)
    committed = table if update else read(path)
    console.print(figures(table.kernels, "kernel"), figures(table.programs, "program"))
    expected = () if layers else map(name_of, found.planned.values())
    broken = [*untaken(found), *complaints(committed, table, expected)]
    for text in filter(None, (skipped(committed, table), *map(str, broken))):
        errors.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(table.kernels)} launches, {len(broken)} figures are not as they must be", highlight=False)
    if broken:
        raise typer.Exit(FAILED)
    if update:
        write(table, path)
