"""What the benchmark's calls cost, counted: compiled kernels are executed on the machine, at sizes with fewer examples.

Instructions are PTX, an element of the result; where the result has fewer dimensions than the input, an element of the
input. Sectors and wavefronts stand over the least that the bytes of each access fill (``counts``), and all bytes that
are moved over those of the tensors that go in and come out: 1 is the best.

Input: ``Workload``s and a target. Output: ``Row``s, a table and a JSON of them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import torch
import triton
from rich.table import Table

from svertka.codegen.machine.bench.workload import Workload, gradient_groups, precision, roads, shrunk
from svertka.codegen.ptx.counts import SECTOR, Counts, Traffic
from svertka.codegen.ptx.launch import Executed, executing
from svertka.codegen.ptx.state import WARP
from svertka.codegen.verify.recording import PACKAGE

__all__ = ["Row", "count", "table", "write"]

MOST = 6  # operations that are shown by name


@dataclass(frozen=True)
class Row:
    """The counts of one direction of a workload.

    Attributes:
        title: name, dtype and layout of the workload; ``direction``: ``"forward"``, or which gradients.
        elements: by which instructions are divided.
        kernels: that ran, in order.
        instructions: an element; ``operations``: the same by operation.
        moved: bytes of all sectors, over the bytes of the tensors of the call, its results and their gradients.
        sectors: of loads and of stores of global memory; ``wavefronts``: of shared memory; each over its least.
    """

    title: str
    direction: str
    elements: int
    kernels: tuple[str, ...]
    instructions: float
    operations: Mapping[str, float]
    moved: float
    sectors: Mapping[str, float]
    wavefronts: Mapping[str, float]


def count(workload: Workload, target: str) -> Iterator[Row]:
    """Count the forward of a workload that is trained, and its gradients.

    Args:
        workload: a call; it runs with fewer examples.
        target: ``sm_80`` or ``sm_90``.

    Raises:
        PtxError: what the machine refuses.
    """
    small = shrunk(workload)
    tensors = small.tensors("cpu")
    road = roads(small, compiled=False)[0]
    runtime = importlib.import_module(f"{PACKAGE}.runtime")
    with precision(small), mock.patch.object(runtime, "INTERPRETED", True):  # tensors of the CPU go to the kernels
        with executing(target) as done:
            done.counts = Counts()
            result = road(tensors)
        elements = max(result, tensors["input"], key=lambda tensor: tensor.dim()).numel()
        yield _row(workload, "forward", elements, done, (*tensors.values(), result))
        seed = torch.randn_like(result)
        for direction, names in gradient_groups(small, tensors).items():
            with executing(target) as done:
                done.counts = Counts()
                found = torch.autograd.grad(result, [tensors[name] for name in names], seed, retain_graph=True)
            yield _row(workload, direction, elements, done, (*tensors.values(), seed, *found))


def _row(workload: Workload, direction: str, elements: int, done: Executed, tensors: Iterable[torch.Tensor]) -> Row:
    counts = done.counts or Counts()
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    moved = SECTOR * sum(traffic.units for traffic in counts.sectors.values())
    operations = {name: round(number * WARP / elements, 3) for name, number in counts.instructions.most_common()}
    return Row(
        title=workload.title,
        direction=direction,
        elements=elements,
        kernels=tuple(done.kernels),
        instructions=round(sum(counts.instructions.values()) * WARP / elements, 2),
        operations=operations,
        moved=round(moved / needed, 2),
        sectors={kind: _over(traffic) for kind, traffic in counts.sectors.items()},
        wavefronts={kind: _over(traffic) for kind, traffic in counts.wavefronts.items() if traffic.accesses},
    )


def _over(traffic: Traffic) -> float:
    return round(traffic.units / max(traffic.least, 1), 2)


def table(rows: Iterable[Row]) -> Table:
    """One line a direction."""
    made = Table("call", "", "kernels", "instructions", "moved", "sectors loaded", "stored", "wavefronts", "mostly")
    for row in rows:
        most = ", ".join(f"{name} {number:.1f}" for name, number in list(row.operations.items())[:MOST])
        waves = ", ".join(f"{kind} {number:.2f}" for kind, number in row.wavefronts.items()) or "-"
        sectors = [f"{row.sectors[kind]:.2f}" for kind in ("load", "store")]
        figures = [str(len(row.kernels)), f"{row.instructions:.1f}", f"{row.moved:.2f}"]
        made.add_row(row.title, row.direction, *figures, *sectors, waves, most)
    return made


def write(rows: Iterable[Row], target: str, folder: Path) -> Path:
    """Write the rows with what they depend on; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"counts-{target}.json"
    content = {"target": target, "triton": triton.__version__, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
