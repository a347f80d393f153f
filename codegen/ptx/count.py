"""What the benchmark's calls cost, counted: compiled kernels are executed on the machine, at sizes with fewer examples.

Instructions are PTX, an element of the result; where the result has fewer dimensions than the input, an element of the
input. Sectors and wavefronts stand over the least that the bytes of each access fill (``counts``), and all bytes that
are moved over those of the tensors that go in and come out: 1 is the best.

Input: ``Workload``s and a target. Output: ``Row``s, a table and a JSON of them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch
import triton
from rich.table import Table

from svertka.codegen.machine.bench.workload import Road, Workload, asking, gradient_groups, precision, roads, shrunk
from svertka.codegen.ptx.counts import SECTOR, Counts, Traffic
from svertka.codegen.ptx.launch import Cost, Executed, executing
from svertka.codegen.ptx.state import WARP
from svertka.codegen.verify.recording import PACKAGE

__all__ = ["Measured", "Row", "count", "counted", "measured", "table", "write"]

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
        registers: of a thread, ``spills``: bytes of a thread, ``shared``: bytes of a program; the most of any kernel.
        conflicts: wavefronts of shared memory beyond the least.
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
    registers: int
    spills: int
    shared: int
    conflicts: int


@dataclass(frozen=True)
class Measured:
    """One direction of a workload that ran.

    Attributes:
        row: its counts.
        costs: of its launches.
        results: what it computed: the result, or gradients in the order of the direction.
    """

    row: Row
    costs: tuple[Cost, ...]
    results: tuple[torch.Tensor, ...]


def count(workload: Workload, target: str) -> Iterator[Row]:
    """Count the forward of a workload that is trained, and its gradients.

    Args:
        workload: a call; it runs with fewer examples.
        target: ``sm_80`` or ``sm_90``.

    Raises:
        PtxError: what the machine refuses.
    """
    yield from (one.row for one in measured(shrunk(workload), target))


def measured(small: Workload, target: str, sample: int = 0) -> Iterator[Measured]:
    """The same with launches and results, at the workload's own size; ``sample``: see ``executing``."""
    runtime = importlib.import_module(f"{PACKAGE}.runtime")
    with mock.patch.object(runtime, "INTERPRETED", True):  # tensors of the CPU go to the kernels
        watch = partial(executing, target, counting=True, sample=sample)
        again = partial(executing, target, only="note") if sample else watch  # its results are not right anyway
        yield from counted(small, roads(small, compiled=False)[0], watch, again)


def counted(
    small: Workload,
    road: Road,
    watch: Callable[[], AbstractContextManager[Executed]],
    again: Callable[[], AbstractContextManager[Executed]] | None = None,
) -> Iterator[Measured]:
    """Run a road forward and backward at the workload's own size.

    Args:
        small: the workload.
        road: what is run.
        watch: in which its launches are counted.
        again: in which a forward runs that was counted; ``watch`` if None.
    """
    tensors = small.tensors("cpu")
    with precision(small):
        with watch() as done:
            result = road(tensors)
        elements = max(result, tensors["input"], key=lambda tensor: tensor.dim()).numel()
        row = _row(small, "forward", elements, done, (*tensors.values(), result))
        yield Measured(row, tuple(done.costs), (result.detach(),))
        drawn = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
        seed = torch.empty_like(result).copy_(drawn)  # in the memory format of the result, as in a network
        groups = gradient_groups(small, tensors)
        for direction, names in groups.items():
            if len(groups) > 1:  # what is differentiated is known when the forward runs
                tensors = asking(tensors, names)
                with (again or watch)():
                    result = road(tensors)
            with watch() as done:
                found = torch.autograd.grad(result, [tensors[name] for name in names], seed, retain_graph=True)
            row = _row(small, direction, elements, done, (*tensors.values(), seed, *found))
            yield Measured(row, tuple(done.costs), found)


def _row(workload: Workload, direction: str, elements: int, done: Executed, tensors: Iterable[torch.Tensor]) -> Row:
    counts = Counts()
    for cost in done.costs:
        counts.add(cost.counts)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    moved = SECTOR * sum(traffic.units for traffic in counts.sectors.values())
    operations = {name: round(number * WARP / elements, 3) for name, number in counts.instructions.most_common()}
    return Row(
        title=workload.title,
        direction=direction,
        elements=elements,
        kernels=tuple(cost.kernel for cost in done.costs),
        instructions=round(sum(counts.instructions.values()) * WARP / elements, 2),
        operations=operations,
        moved=round(moved / needed, 2),
        sectors={kind: _over(traffic) for kind, traffic in counts.sectors.items()},
        wavefronts={kind: _over(traffic) for kind, traffic in counts.wavefronts.items() if traffic.accesses},
        registers=max((cost.registers for cost in done.costs), default=0),
        spills=max((cost.spills for cost in done.costs), default=0),
        shared=max((cost.shared for cost in done.costs), default=0),
        conflicts=sum(traffic.units - traffic.least for traffic in counts.wavefronts.values()),
    )


def _over(traffic: Traffic) -> float:
    return round(traffic.units / max(traffic.least, 1), 2)


def table(rows: Iterable[Row]) -> Table:
    """One line a direction."""
    made = Table(
        "call", "", "kernels", "instructions", "moved", "sectors loaded", "stored", "wavefronts", "registers", "mostly"
    )
    for row in rows:
        most = ", ".join(f"{name} {number:.1f}" for name, number in list(row.operations.items())[:MOST])
        waves = ", ".join(f"{kind} {number:.2f}" for kind, number in row.wavefronts.items()) or "-"
        sectors = [f"{row.sectors[kind]:.2f}" for kind in ("load", "store")]
        figures = [str(len(row.kernels)), f"{row.instructions:.1f}", f"{row.moved:.2f}"]
        registers = f"{row.registers}, {row.spills} B spilled" if row.spills else str(row.registers)
        made.add_row(row.title, row.direction, *figures, *sectors, waves, registers, most)
    return made


def write(rows: Iterable[Row], target: str, folder: Path) -> Path:
    """Write the rows with what they depend on; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"counts-{target}.json"
    content = {"target": target, "triton": triton.__version__, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
