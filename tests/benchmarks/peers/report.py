"""The table of ours beside the peers: Markdown for reading, JSON for comparing.

Input: ``Entry``s. Output: two files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.benchmarks.peers.compare import Entry
from tests.benchmarks.peers.libraries import NAMES

__all__ = ["best", "lines", "write"]

HEAD = """# Ours beside peers, counted

Written by `python3 -m tests.benchmarks.peers`; nothing is timed. Compiled kernels for {target} are executed on the
machine of `codegen/ptx`. Each cell: kernels; PTX instructions an element of the result; bytes of all sectors that are
requested, over those of the call's tensors; registers (bytes spilled; conflicts of shared memory of its wavefronts).
Autotuned kernels have the first of their settings, and Inductor's heuristics know these sizes, not larger ones.
"ATen" is a call of PyTorch's own library, which is not counted. In the last column is the best of the peers whose
result is right, in instructions and in bytes, over ours: below 1 ours does more.

Versions: {versions}.{missing}

"""


def lines(entries: Sequence[Entry]) -> list[str]:
    """The table in Markdown."""
    roads = ("svertka", *(name for name in NAMES if any(entry.road == name for entry in entries)))
    head = ["work", "input", "", *roads, "peers / ours"]
    made = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for title, direction in dict.fromkeys((entry.title, entry.direction) for entry in entries):
        group = {entry.road: entry for entry in entries if (entry.title, entry.direction) == (title, direction)}
        shape = " x ".join(map(str, next(iter(group.values())).shape))
        cells = [_cell(group.get(road)) for road in roads]
        made.append(f"| {' | '.join([title, shape, direction, *cells, best(group.values())])} |")
    return made


def best(group: Iterable[Entry]) -> str:
    """The least instructions and bytes of right peers over ours."""
    known = [entry for entry in group if entry.figures.get("kernels") and not entry.wrong]
    ours = [entry for entry in known if entry.road == "svertka"]
    others = [entry for entry in known if entry.road != "svertka"]
    if not ours or not others:
        return "-"
    ratios = [min(one.figures[name] for one in others) / ours[0].figures[name] for name in ("instructions", "moved")]
    return "; ".join(f"{ratio:.2f}" for ratio in ratios)


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return "-"
    if entry.failed:
        return f"did not run: {entry.failed}".replace("|", "/")
    figures = entry.figures
    if not figures["kernels"]:
        return "ATen"
    kernels, registers = len(figures["kernels"]), str(figures["registers"])
    more = [f"{figures['spills']} B"] if figures["spills"] else []
    if figures["conflicts"]:
        more.append(f"{figures['conflicts']} of {figures['wavefronts']}")
    registers += f" ({', '.join(more)})" if more else ""
    text = f"{kernels}; {figures['instructions']:.1f}; {figures['moved']:.2f}; {registers}"
    return f"**wrong, {entry.wrong}**: {text}" if entry.wrong else text


def write(entries: Sequence[Entry], target: str, missing: Sequence[str], folder: Path) -> list[Path]:
    """Write both files; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: _version(name) for name in ("torch", "triton", "liger-kernel", "flag-gems")}
    content = {"target": target, "versions": known, "entries": [asdict(entry) for entry in entries]}
    data, page = folder / f"peers-{target}.json", folder / f"peers-{target}.md"
    data.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    versions = ", ".join(f"{name} {text}" for name, text in known.items() if text)
    absent = f" Missing: {', '.join(missing)}." if missing else ""
    head = HEAD.format(target=target, versions=versions, missing=absent)
    page.write_text(head + "\n".join(lines(entries)) + "\n", encoding="utf-8")
    return [data, page]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
