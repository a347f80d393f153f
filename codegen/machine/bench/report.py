"""The table, the JSON file and the pictures of a run, and its progress file.

Input: ``Row``s and the run's settings. Output: a table of ``rich``, files.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch
from rich.table import Table

from svertka.codegen.machine.bench.measure import WHOLE, Limits, Problem, Row
from svertka.codegen.machine.bench.predict import predictions
from svertka.codegen.machine.bench.timing import METHOD
from svertka.codegen.machine.bench.workload import workloads

__all__ = ["Lines", "draw", "predicted", "settings", "summary", "table", "write"]


UNPREDICTED = {("matrix", dtype) for dtype in WHOLE}


def settings(device: str) -> dict[str, Any]:
    """Settings of the machine and of torch that a reader must know."""
    cuda = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())) if cuda else "",
        "torch": torch.__version__,
        "triton": version("triton"),
        "python": platform.python_version(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "timing": METHOD["cuda" if cuda else "cpu"],
        "host": "times of launching" if cuda else "times of launching kernels that do nothing",
        "products of float32": "tf32 in rows of dtype tf32 (matmul precision high, cudnn.allow_tf32), nowhere else",
    }


def table(rows: Sequence[Row]) -> Table:
    """Times and ratios: above 1 svertka is faster; efficiency is the limit over svertka's time."""
    others = list(dict.fromkeys(road for row in rows for road in (*row.seconds, *row.failed) if road != "svertka"))
    ratios = (f"x {road}" for road in others)
    made = Table("workload", "dtype", "layout", "direction", "ms", *ratios, "of limit", "check")
    for row in rows:
        cells = [f"{row.ratio(road):.2f}" if road in row.seconds else "-" for road in others]
        limit = f"{row.efficiency:.2f}" if row.limit else "-"
        check = "[red]wrong[/red]" if row.wrong else "not checked" if row.unchecked else ""
        time = f"{row.seconds['svertka'] * 1e3:.4g}"
        made.add_row(row.name, row.dtype, row.layout, row.direction, time, *cells, limit, check)
    return made


def predicted(quick: bool, kinds: tuple[str, ...], only: str) -> Table:
    """Predictions from bytes and operations for an H200: times in milliseconds, and ratios as in ``table``."""
    made = Table(
        "workload", "dtype", "layout", "direction", "bound by", "kernels", "limit ms", "ms", "x eager", "of limit"
    )
    # Predictions use the rate of half precision.
    chosen = (w for w in workloads(quick, kinds) if only in w.name and (w.kind, w.dtype) not in UNPREDICTED)
    for workload in chosen:
        for one in predictions(workload):
            figures = f"{one.limit * 1e3:.4g}", f"{one.ours * 1e3:.4g}", f"{one.eager / one.ours:.2f}"
            cells = (one.direction, one.bound, str(one.launches), *figures, f"{one.limit / one.ours:.2f}")
            made.add_row(workload.name, workload.dtype, workload.layout, *cells)
    return made


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Geometric mean and minimum of the ratios, by kind, group of directions and road."""
    found: dict[str, dict[str, float]] = {}
    groups: dict[str, list[float]] = {}
    for row in rows:
        sort = "forward" if row.direction == "forward" else "host" if row.direction == "host" else "backward"
        for road in row.seconds:
            if road != "svertka":
                groups.setdefault(f"{_sort_of(row)} {sort} x {road}", []).append(row.ratio(road))
        if row.limit:
            groups.setdefault(f"{_sort_of(row)} {sort} of limit", []).append(row.efficiency)
    for name, ratios in groups.items():
        found[name] = {"geometric mean": geometric_mean(ratios), "least": min(ratios), "count": len(ratios)}
    return found


def _sort_of(row: Row) -> str:
    """Group of rows that may be averaged: products in float32 and in tf32 are separate."""
    return f"{row.kind} {row.dtype}" if row.kind == "matrix" and row.dtype in WHOLE else row.kind


class Lines:
    """A file of rows and problems, one line of JSON each, written immediately, so that a killed run loses none.

    Attributes:
        path: the file; its first line has the settings and limits.
    """

    def __init__(self, limits: Limits, device: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = _path(settings(device), folder).with_suffix(".jsonl")
        first = {"settings": settings(device), "limits": asdict(limits)}
        self.path.write_text(json.dumps(first) + "\n", encoding="utf-8")

    def add(self, found: Row | Problem) -> None:
        """Write one line and flush it to the operating system."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({type(found).__name__.lower(): found.data()}) + "\n")

    def done(self) -> None:
        """Remove the file: the whole report is written."""
        self.path.unlink(missing_ok=True)


def _path(known: Mapping[str, Any], folder: Path) -> Path:
    return folder / f"bench-{str(known['device']).lower().replace(' ', '-')}.json"


def write(rows: Sequence[Row], limits: Limits, device: str, folder: Path, problems: Mapping[str, str]) -> Path:
    """Write the JSON file; its name contains the device."""
    known = settings(device)
    content = {
        "settings": known,
        "limits": asdict(limits),
        "summary": summary(rows),
        "rows": [row.data() for row in rows],
        "did not run": dict(problems),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(known, folder)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def draw(rows: Sequence[Row], limits: Limits, path: Path) -> list[Path]:
    """A roofline with every measured direction on it, and bars of the speed-ups, as PNG beside the JSON."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pictures = [_bars(pyplot, rows, path)]
    if any(row.bytes for row in rows):  # no kernel was launched without a GPU
        pictures.append(_roofline(pyplot, rows, limits, path))
    return pictures


def _roofline(pyplot: Any, rows: Sequence[Row], limits: Limits, path: Path) -> Path:
    figure, axes = pyplot.subplots(figsize=(9, 6))
    shown = [row for row in rows if row.bytes]
    for kind in dict.fromkeys(row.kind for row in shown):
        some = [row for row in shown if row.kind == kind]
        intensity = [max(row.operations, row.bytes / 64) / row.bytes for row in some]
        rate = [max(row.operations, row.bytes / 64) / row.seconds["svertka"] for row in some]
        axes.scatter(intensity, rate, label=kind, s=18)
    span = [1 / 128, 2.0**14]
    corner = limits.operations / limits.bandwidth
    axes.plot([span[0], corner, span[1]], [span[0] * limits.bandwidth, *[limits.operations] * 2], color="black", lw=1)
    axes.set(xscale="log", yscale="log", xlabel="operations / byte", ylabel="operations / s", title="Roofline")
    axes.legend()
    return _saved(pyplot, figure, path.with_name(f"{path.stem}-roofline.png"))


def _bars(pyplot: Any, rows: Sequence[Row], path: Path) -> Path:
    shown = [row for row in rows if "eager" in row.seconds]
    figure, axes = pyplot.subplots(figsize=(10, max(3, 0.22 * len(shown))))
    labels = [f"{row.name} {row.dtype} {row.layout} {row.direction}" for row in shown]
    for place, road in enumerate(("eager", "compile")):
        ratios = [row.ratio(road) if road in row.seconds else 0 for row in shown]
        axes.barh([y + 0.4 * place for y in range(len(shown))], ratios, height=0.38, label=f"{road} / svertka")
    axes.axvline(1, color="black", lw=1)
    axes.set_yticks(range(len(shown)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.set(xlabel="times as fast")
    axes.legend()
    return _saved(pyplot, figure, path.with_name(f"{path.stem}-speed-up.png"))


def _saved(pyplot: Any, figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return path
