"""``svertka bench`` and ``svertka tune``: times on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from svertka.codegen.command.terminal import FAILED, application, console, errors, progress

RESULTS = Path("tests/benchmarks/results")


@application.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The short run.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="memory, matrix or launch; all if none.")] = None,
    only: Annotated[str, typer.Option(help="Only workloads whose name holds this text.")] = "",
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Compare with torch.compile too.")] = True,
    into: Annotated[Path, typer.Option(help="Folder of the JSON and the pictures.")] = RESULTS,
    predict: Annotated[bool, typer.Option("--predict", help="Only what bytes and operations let expect.")] = False,
    count: Annotated[str, typer.Option(metavar="TARGET", help="Only count, without a GPU: sm_80 or sm_90.")] = "",
    gpu: Annotated[
        str, typer.Option("--on", help="Predict times of launches from counts on an A100, H100 or H200.")
    ] = "",
    networks: Annotated[
        bool, typer.Option("--networks", help="With --on: all launches of three networks, over their limits.")
    ] = False,
    against: Annotated[
        Path | None, typer.Option(help="With --on: a JSON of `bench` on that GPU, to check the times by.")
    ] = None,
) -> None:
    """Time generated functions against PyTorch and the machine's limits, each checked at the timed size."""
    os.environ.pop("TRITON_INTERPRET", None)
    if networks:
        _networks(only, gpu, into)
        return
    if gpu or against:
        _forecast(quick, tuple(kind or ("memory", "matrix")), only, gpu, against)
        return
    if count:
        _count(quick, tuple(kind or ("memory", "matrix")), only, count, into)
        return
    if predict:
        from svertka.codegen.machine.bench.report import predicted

        console.print(predicted(quick, tuple(kind or ("memory", "matrix")), only))
        return
    import torch

    from svertka.codegen.machine.bench.measure import Problem, Row, measure_all, measured_limits
    from svertka.codegen.machine.bench.report import Lines, draw, summary, table, write
    from svertka.codegen.machine.bench.workload import KINDS, shrunk, workloads

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    chosen = [w for w in workloads(quick, tuple(kind or KINDS)) if only in w.name]
    chosen = chosen if device == "cuda" else [shrunk(workload) for workload in chosen]
    if not chosen:
        raise ValueError(f"--only {only!r}: no workload has this in its name; leave it out to see all")
    errors.print(f"{len(chosen)} workloads on {device}; first the machine's own limits", highlight=False)
    limits = measured_limits(device)
    lines = Lines(limits, device, into)
    errors.print(f"each figure as it comes: {lines.path}", highlight=False, soft_wrap=True)

    def report(found: Row | Problem) -> None:
        lines.add(found)
        if isinstance(found, Row):
            text = f"{found.direction}: {found.seconds['svertka'] * 1e3:.4g} ms" + ("  WRONG" if found.wrong else "")
        else:
            text = f"did not run: {found.error}"
        errors.print(f"{found.title} {text}", highlight=False, markup=False)

    with progress("measuring", len(chosen)) as advance:
        rows, problems = measure_all(chosen, limits, device, compiled and device == "cuda", advance, report=report)
    console.print(table(rows))
    for name, figures in summary(rows).items():
        console.print(f"{name}: {', '.join(f'{key} {value:.3g}' for key, value in figures.items())}", highlight=False)
    path = write(rows, limits, device, into, problems)
    pictures = draw(rows, limits, path)
    console.print(f"{path}, {', '.join(picture.name for picture in pictures)}", highlight=False)
    lines.done()
    for name, text in problems.items():
        errors.print(f"{name}: {text}", highlight=False, markup=False)
    for row in rows:
        missing = [f"{road} has no time: {text}" for road, text in row.failed.items()]
        for text in (*row.wrong, *missing):
            errors.print(f"{row.title} {row.direction}: {text}", highlight=False, markup=False)
    if problems or any(row.wrong or row.failed for row in rows):
        raise typer.Exit(FAILED)


def _count(quick: bool, kinds: tuple[str, ...], only: str, target: str, into: Path) -> None:
    """Count what compiled kernels execute and move, on the machine that executes PTX."""
    from svertka.codegen.ptx.count import Row, count, table, write
    from svertka.codegen.ptx.targets import TARGETS

    if target not in TARGETS:
        raise ValueError(f"--count {target}: unknown; use {' or '.join(TARGETS)}")
    chosen = _workloads(quick, kinds, only)
    rows: list[Row] = []
    with progress("counting", len(chosen)) as advance:
        for workload in chosen:
            rows += count(workload, target)
            advance(workload.title)
    console.print(table(rows))
    console.print(f"{write(rows, target, into)} written", highlight=False)


def _workloads(quick: bool, kinds: tuple[str, ...], only: str) -> list[Any]:
    """The workloads that have a word in their names.

    Raises:
        ValueError: none has it.
    """
    from svertka.codegen.machine.bench.workload import workloads

    chosen = [workload for workload in workloads(quick, kinds) if only in workload.title]
    if not chosen:
        raise ValueError(f"--only {only!r}: no workload has this in its name; leave it out to see all")
    return chosen


def _forecast(quick: bool, kinds: tuple[str, ...], only: str, gpu: str, against: Path | None) -> None:
    """Times of launches from what they execute and move, and how they agree with measured ones."""
    from svertka.codegen.ptx.against import agreement, read
    from svertka.codegen.ptx.predict import GPUS, Forecast, forecasts, table

    if gpu not in GPUS:
        raise ValueError(f"--on {gpu}: unknown; use {', '.join(GPUS)}")
    measured = read(against) if against else {}
    chosen = _workloads(quick, kinds, only)
    found: list[Forecast] = []
    with progress("counting", len(chosen)) as advance:
        for workload in chosen:
            found += forecasts(workload, GPUS[gpu])
            advance(workload.title)
    console.print(table(found))
    if measured:
        console.print(str(agreement({one.key: one.seconds for one in found}, measured)), highlight=False)


def _networks(only: str, gpu: str, into: Path) -> None:
    """Predicted times of the launches of three networks, written as a table and a JSON."""
    from svertka.codegen.machine.bench.workload import of_networks
    from svertka.codegen.ptx.networks import SAMPLE, write
    from svertka.codegen.ptx.predict import GPUS, Forecast, forecasts

    if gpu not in GPUS:
        raise ValueError(f"--networks needs --on, not {gpu!r}; use {', '.join(GPUS)}")
    chosen = [workload for workload in of_networks() if only in workload.title]
    found: list[Forecast] = []
    with progress("counting", len(chosen)) as advance:
        for workload in chosen:
            found += forecasts(workload, GPUS[gpu], SAMPLE)
            advance(workload.title)
    console.print(f"{write(found, GPUS[gpu], into)} written", highlight=False)


@application.command()
def tune(
    device: Annotated[str, typer.Option(help="Which GPU: cuda, or cuda:N.")] = "cuda",
    family: Annotated[list[str] | None, typer.Option(help="contraction, rows or lanes; all if none.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few candidates on few workloads.")] = False,
    into: Annotated[Path | None, typer.Option(help="The table's file; the target's own by default.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compile the tables as they are; needs no GPU.")] = False,
    target: Annotated[list[str] | None, typer.Option(help="With --check: whose tables; all if none.")] = None,
) -> None:
    """Search the tile tables of this machine's GPU; `svertka generate` then uses them.

    A run that is killed continues where it stopped.
    """
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise ValueError("TRITON_INTERPRET=1: the interpreter's tables are not measured; unset it")
    from svertka.codegen.machine.tune.cases import FAMILIES
    from svertka.codegen.machine.tune.run import check_tables, tune_device

    families = tuple(family or FAMILIES)
    for name in families:
        if name not in FAMILIES:
            raise ValueError(f"--family {name}: unknown; use {', '.join(FAMILIES)}")
    if check:
        refused = check_tables(target, families, progress)
        for line in refused:
            errors.print(line, highlight=False, markup=False)
        raise typer.Exit(FAILED if refused else 0)
    for line in tune_device(device, families, quick, into, progress):
        console.print(line, highlight=False, markup=False)
