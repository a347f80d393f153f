"""The launches of AlexNet, VGG-16 and ResNet-50 in training: predicted times over what each launch takes at least.

A few programs of each launch are executed and stand for the others, and one image stands for all.

Input: a GPU's limits. Output: forecasts, a table in Markdown and a JSON of their launches, the worst first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from svertka.codegen.ptx.predict import Forecast, Gpu

__all__ = ["SAMPLE", "WORST", "lines", "write"]

SAMPLE = 6  # programs of each launch
WORST = 10  # launches that the table names first
HEAD = """# Launches of AlexNet, VGG-16 and ResNet-50, predicted

Written by `svertka bench --networks --on {gpu}`; nothing is timed. Every call of the three networks in training, of 64
images in bfloat16, once. {sample} programs of each launch are executed on the machine of `codegen/ptx` with one image;
`codegen/ptx/predict.py` says what the prediction leaves out. The limit of a launch is the time of its tensors' bytes,
each once, of its products on the matrix unit, or of an empty launch, whichever is longest.
"""
COLUMNS = ("call", "direction", "kernel", "programs", "us", "limit, us", "over the limit", "bound by", "then")


def lines(found: Iterable[Forecast]) -> list[dict[str, Any]]:
    """One entry a launch, with how many times as long as its limit it takes; the worst first."""
    made = []
    for one in found:
        for launch in one.launches:
            first, second = sorted(launch.parts, key=launch.parts.__getitem__, reverse=True)[:2]
            made.append(
                {
                    "call": one.workload.title,
                    "direction": one.direction,
                    "kernel": launch.kernel,
                    "programs": launch.programs,
                    "us": round(launch.seconds * 1e6, 2),
                    "limit, us": round(launch.limit * 1e6, 2),
                    "over the limit": round(launch.seconds / launch.limit, 2),
                    "bound by": first,
                    "then": f"{second} {launch.parts[second] * 1e6:.3g}",
                }
            )
    return sorted(made, key=lambda line: (-line["over the limit"], line["call"], line["direction"], line["kernel"]))


def write(found: Iterable[Forecast], gpu: Gpu, into: Path) -> Path:
    """Write the table and the JSON; the table's path."""
    made = lines(found)
    path = into / f"networks-{gpu.name}.md"
    path.with_suffix(".json").write_text(
        "[\n" + ",\n".join(f" {json.dumps(line)}" for line in made) + "\n]\n", encoding="utf-8"
    )
    parts = [
        HEAD.format(gpu=gpu.name, sample=SAMPLE),
        f"## The {WORST} farthest from their limits\n",
        _table(_apart(made)),
    ]
    parts += [f"\n## All {len(made)} launches\n", _table(made)]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return path


def _apart(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst launch of each of the worst kernels."""
    first: dict[str, dict[str, Any]] = {}
    for line in made:
        first.setdefault(line["kernel"], line)
    return list(first.values())[:WORST]


def _table(made: list[dict[str, Any]]) -> str:
    rows = [COLUMNS, ["---"] * len(COLUMNS), *([str(line[column]) for column in COLUMNS] for line in made)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
