"""A predicted time of each launch, from what it executes and moves and the limits of a GPU; nothing is timed.

A launch takes the time of the resource that it uses most, and never less than an empty launch. Resources of a processor
are used by the programs that the fullest processor gets: few programs leave processors idle, and the last ones may be
alone. What is not modelled: latencies that too few warps do not hide, order and dependence of instructions, the power
limit, and the difference between PTX and machine code.

Sources of the limits: processors, clocks, memory, shared memory (one wavefront a clock) and matrix unit, NVIDIA's white
papers and data sheets of the A100, H100 and H200 (SXM); instructions that are issued and results of each class of
arithmetic in a clock, the table "Throughput of Native Arithmetic Instructions" of NVIDIA's CUDA C++ Programming Guide;
the second cache, table 3 of doi:10.1016/j.ultsonch.2023.106546 (5120 bytes a clock, of which a processor takes 64);
the share of the matrix unit that ``mma.sync`` reaches on Hopper, Luo et al., arXiv:2402.13499.

Input: ``Cost``s of launches at a small size, and the launches at the size that is asked. Output: ``Expected``s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from svertka.codegen.machine.bench.launched import Pass, passes
from svertka.codegen.machine.bench.workload import Workload, shrunk
from svertka.codegen.ptx.count import measured
from svertka.codegen.ptx.counts import SECTOR
from svertka.codegen.ptx.launch import Cost, bytes_of

__all__ = ["GPUS", "Expected", "Forecast", "Gpu", "expected", "forecasts", "resident", "table"]

ATTAINED = 0.9  # of a data sheet's bandwidth by a copy: measured copies on an H200 reach 4.3 of 4.8 TB/s
LAUNCH = 2.5e-6  # seconds of a kernel that does nothing, among others that wait
PROGRAMS, WARPS, REGISTERS = 32, 64, 65536  # of a processor; registers are given to a warp by 256
RESERVED = 1024  # bytes of shared memory that the system takes of each program
SPECIAL = {"ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh", "div"}
FLOATING = {"add", "sub", "mul", "fma", "mad", "max", "min"}
FREE = {"mov", "ld.param", "bra", "ret"}  # removed or folded by the assembler


@dataclass(frozen=True)
class Gpu:
    """Limits of a GPU.

    Attributes:
        name: of the product; ``target``: for which it compiles.
        processors, clock: how many, and their frequency in Hz.
        bandwidth: of the memory, bytes per second; ``second``: of the second cache.
        shared: bytes of shared memory of a processor.
        floating: additions in float32 of a processor in a clock; ``special``: exponentials.
        products: multiplications of the matrix unit of a processor in a clock, by the type of its operands.
        narrow: the share of them that ``mma.sync`` reaches.
    """

    name: str
    target: str
    processors: int
    clock: float
    bandwidth: float
    second: float
    shared: int
    floating: int
    special: int
    products: Mapping[str, float]
    narrow: float = 1.0


HALVES = {"f16": 2048.0, "bf16": 2048.0, "tf32": 1024.0, "f64": 128.0}
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100", "sm_80", 108, 1.41e9, 2.039e12, 7.2e12, 164 << 10, 64, 16, {k: v / 2 for k, v in HALVES.items()}),
        Gpu("H100", "sm_90", 132, 1.755e9, 3.35e12, 9.0e12, 228 << 10, 128, 16, HALVES, 0.63),
        Gpu("H200", "sm_90", 132, 1.755e9, 4.8e12, 9.0e12, 228 << 10, 128, 16, HALVES, 0.63),
    )
}


@dataclass(frozen=True)
class Expected:
    """One launch.

    Attributes:
        kernel: its name; ``programs``: how many; ``resident``: of a processor at once.
        seconds: the predicted time; ``bound``: the resource that it waits for.
        parts: seconds by resource.
        limit: seconds that it takes at least: those of its tensors' bytes, each once if it touches them, of its
            products on the matrix unit, or of an empty launch.
    """

    kernel: str
    programs: int
    resident: int
    seconds: float
    bound: str
    parts: Mapping[str, float]
    limit: float


@dataclass(frozen=True)
class Forecast:
    """One direction of a workload."""

    workload: Workload
    direction: str
    launches: tuple[Expected, ...]

    @property
    def seconds(self) -> float:
        """Of all launches, one after another."""
        return sum(one.seconds for one in self.launches)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Name, dtype, layout and direction."""
        return self.workload.name, self.workload.dtype, self.workload.layout, self.direction


def resident(cost: Cost, gpu: Gpu) -> int:
    """Programs that a processor holds at once; 0 if none fits."""
    of_warp = -(-max(cost.registers, 1) * 32 // 256) * 256
    by_registers = REGISTERS // (of_warp * cost.warps)
    return min(PROGRAMS, WARPS // cost.warps, by_registers, gpu.shared // (cost.shared + RESERVED))


def expected(cost: Cost, gpu: Gpu, programs: int = 0, times: float = 1.0) -> Expected:
    """The time of a launch.

    Args:
        cost: of the launch as it was counted.
        gpu: where it is to run.
        programs: at the size that is asked; those that were counted if 0.
        times: how many times as much it does at that size.
    """
    number = programs or cost.programs
    fullest = math.ceil(number / gpu.processors) / number * times  # of all that is done, what one processor does
    counts, clock = cost.counts, gpu.clock
    by_name = counts.instructions
    issued = sum(count for name, count in by_name.items() if name not in FREE)
    lanes = {name: 32 * sum(by_name[one] for one in group) for name, group in (("f", FLOATING), ("s", SPECIAL))}
    waves = sum(traffic.units for traffic in counts.wavefronts.values())
    requested = sum(traffic.units for traffic in counts.sectors.values())
    products = sum(
        number / gpu.products.get(kind.split()[1], HALVES["f16"]) / (gpu.narrow if kind.startswith("mma") else 1.0)
        for kind, number in counts.products.items()
    )
    parts = {
        "memory": counts.distinct * SECTOR * times / (gpu.bandwidth * ATTAINED),
        "second cache": counts.fetched * SECTOR * times / gpu.second,
        "port of a processor": counts.fetched * SECTOR * fullest / (64 * clock),
        "first cache": requested * SECTOR * fullest / (128 * clock),
        "shared memory": waves * fullest / clock,
        "instructions": issued * fullest / (4 * clock),
        "floating point": lanes["f"] * fullest / (gpu.floating * clock),
        "special functions": lanes["s"] * fullest / (gpu.special * clock),
        "matrix unit": products * fullest / clock,
        "launch": LAUNCH,
    }
    bound = max(parts, key=parts.__getitem__)
    least = sum(number / gpu.products.get(kind.split()[1], HALVES["f16"]) for kind, number in counts.products.items())
    needed = min(cost.bytes, counts.distinct * SECTOR)  # a launch need not touch all that it is given
    limit = max(needed * times / (gpu.bandwidth * ATTAINED), least * times / gpu.processors / clock, LAUNCH)
    return Expected(cost.kernel, number, resident(cost, gpu), parts[bound], bound, parts, limit)


def forecasts(workload: Workload, gpu: Gpu, sample: int = 0) -> Iterator[Forecast]:
    """Every direction of a workload at its own size, counted with fewer examples; ``sample``: see ``executing``."""
    small = shrunk(workload)
    whole = {one.direction: one for one in passes(workload, gpu.target)}
    rest = math.prod(workload.shapes["input"]) / math.prod(small.shapes["input"])
    for one in measured(small, gpu.target, sample):
        direction = one.row.direction
        launches = _at_size(one.costs, whole.get(direction), rest)
        yield Forecast(workload, direction, tuple(expected(cost, gpu, *at) for cost, at in launches))


def _at_size(costs: Sequence[Cost], whole: Pass | None, rest: float) -> Iterable[tuple[Cost, tuple[int, float]]]:
    """Programs of each launch at the size that is asked, and how many times as much it does.

    Where other kernels run at that size, the counted ones stand for them, with so many more programs.
    """
    there = [launch for launch in whole.launches if launch.programs] if whole else []
    if [launch.kernel.__name__ for launch in there] == [cost.kernel for cost in costs]:
        for cost, launch in zip(costs, there, strict=True):
            yield cost, (launch.programs, bytes_of(launch) / max(cost.bytes, 1))
        return
    for cost in costs:
        yield cost, (math.ceil(cost.programs * rest), rest)


def table(found: Iterable[Forecast]) -> Table:
    """One line a launch: its time in microseconds, what bounds it, and the resource that is used next to that."""
    made = Table("call", "", "kernel", "programs", "resident", "us", "bound by", "then")
    for one in found:
        for launch in one.launches:
            rest = {name: part for name, part in launch.parts.items() if name != launch.bound}
            then = max(rest, key=rest.__getitem__)
            figures = [str(launch.programs), str(launch.resident), f"{launch.seconds * 1e6:.4g}", launch.bound]
            made.add_row(one.workload.title, one.direction, launch.kernel, *figures, f"{then} {rest[then] * 1e6:.4g}")
    return made
