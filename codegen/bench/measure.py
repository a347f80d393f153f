"""Measure workloads: svertka, PyTorch and the limit in one run.

Input: a ``Workload`` and the machine's ``Limits``. Output: a ``Row`` a direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from svertka.codegen.bench.idle import idle_kernels
from svertka.codegen.bench.timing import copies, copy_bandwidth, host_seconds, matrix_rate, seconds
from svertka.codegen.bench.traffic import backward_bytes, forward_bytes, operations
from svertka.codegen.bench.verify import verify
from svertka.codegen.bench.workload import TF32, Road, Workload, roads

__all__ = ["WHOLE", "Limits", "Row", "backward_seconds", "input_sets", "measure", "measure_all", "measured_limits"]


WHOLE = ("float32", TF32)


@dataclass(frozen=True)
class Limits:
    """What the machine can do, measured in the same run: bytes and bf16 operations a second."""

    bandwidth: float
    operations: float


@dataclass(frozen=True)
class Row:
    """One direction of one workload.

    Attributes:
        direction: ``"forward"``, ``"backward"``, a gradient's name, or ``"host"`` for the cost of launching.
        seconds: median time by road.
        limit: the least time, from bytes or operations; 0 if not known.
        bytes, operations: of the limit.
        wrong: what the check at this size found; empty if it holds.
    """

    name: str
    kind: str
    dtype: str
    layout: str
    direction: str
    seconds: Mapping[str, float]
    limit: float = 0.0
    bytes: int = 0
    operations: int = 0
    wrong: tuple[str, ...] = field(default_factory=tuple)

    def ratio(self, road: str) -> float:
        """How many times as fast as a road svertka is."""
        return self.seconds[road] / self.seconds["svertka"]

    @property
    def efficiency(self) -> float:
        """Limit / time: 1 at the machine's limit."""
        return self.limit / self.seconds["svertka"]

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def measured_limits(device: str) -> Limits:
    """Measure the machine."""
    return Limits(copy_bandwidth(device), matrix_rate(device))


def measure_all(
    workloads: Sequence[Workload], limits: Limits, device: str, compiled: bool, progress: Callable[[str], None]
) -> tuple[list[Row], dict[str, str]]:
    """Measure workloads one after another; also, by name, why some did not run."""
    rows: list[Row] = []
    problems: dict[str, str] = {}
    for workload in workloads:
        try:
            rows += measure(workload, limits, device, compiled)
        except RuntimeError as error:
            problems[f"{workload.name} {workload.dtype} {workload.layout}"] = str(error)[:300]
        progress(workload.name)
    return rows, problems


def measure(workload: Workload, limits: Limits, device: str, compiled: bool) -> list[Row]:
    """Check and time a workload on every road.

    Raises:
        RuntimeError: svertka's call itself does not run.
    """
    every = roads(workload, compiled)
    sets = input_sets(workload, device)
    wrong = verify(workload, every[0], sets[0]) if device == "cuda" else ()
    if workload.kind == "launch":
        return [_host_row(workload, every, sets[0], device, wrong)]
    return [
        _forward_row(workload, every, sets, limits, device, wrong),
        *_backward_rows(workload, every, sets, limits, device),
    ]


def input_sets(workload: Workload, device: str) -> list[dict[str, torch.Tensor]]:
    """Sets of inputs, so many that together they exceed the cache."""
    first = workload.tensors(device)
    size = sum(tensor.numel() * tensor.itemsize for tensor in first.values())
    return [first, *(workload.tensors(device, seed) for seed in range(1, copies(size, device)))]


def _row(workload: Workload, direction: str, times: Mapping[str, float], **more: Any) -> Row:
    return Row(workload.name, workload.kind, workload.dtype, workload.layout, direction, times, **more)


def _limit(workload: Workload, limits: Limits, size: int, work: int) -> dict[str, Any]:
    if work and workload.dtype in WHOLE:
        return {"bytes": size, "operations": work}  # the measured rate is that of halves
    least = max(size / limits.bandwidth, work / limits.operations)
    return {"limit": least, "bytes": size, "operations": work}


def _host_row(
    workload: Workload, every: Sequence[Road], tensors: Mapping[str, Any], device: str, wrong: tuple[str, ...]
) -> Row:
    """Host time of forward and backward together; without a GPU, that of all but the driver's part in a launch."""

    def both(road: Road) -> Callable[[Any], Any]:
        wanted = [tensor for tensor in tensors.values() if tensor.requires_grad]
        gradient = torch.randn_like(road(tensors))

        def call(given: Any) -> None:
            torch.autograd.grad(road(given), wanted, gradient)

        return call

    times = {}
    for road in every:
        with idle_kernels() if device != "cuda" and road.name == "svertka" else nullcontext():
            times[road.name] = host_seconds(both(road), tensors, device)
    return _row(workload, "host", times, wrong=wrong)


def _forward_row(
    workload: Workload,
    every: Sequence[Road],
    sets: Sequence[Mapping[str, torch.Tensor]],
    limits: Limits,
    device: str,
    wrong: tuple[str, ...],
) -> Row:
    with torch.no_grad():
        times = {road.name: seconds(road, sets, device) for road in every}
        size = forward_bytes(lambda: every[0](sets[0]), sets[0])
        work = operations(every[0](sets[0]), sets[0]["weight"]) if workload.kind == "matrix" else 0
    return _row(workload, "forward", times, **_limit(workload, limits, size, work), wrong=wrong)


def _backward_rows(
    workload: Workload,
    every: Sequence[Road],
    sets: Sequence[Mapping[str, torch.Tensor]],
    limits: Limits,
    device: str,
) -> Iterator[Row]:
    """All gradients at once; of matrix products each by itself."""
    names = [name for name, tensor in sets[0].items() if tensor.requires_grad]
    groups = [[name] for name in names if name != "bias"] if workload.kind == "matrix" else [names]
    for group in groups:
        times = {road.name: backward_seconds(road, sets, group, device) for road in every}
        wanted = [sets[0][name] for name in group]
        size = backward_bytes(lambda: every[0](sets[0]), sets[0], wanted)
        work = operations(every[0](sets[0]), sets[0]["weight"]) if workload.kind == "matrix" else 0
        direction = f"gradient of {group[0]}" if workload.kind == "matrix" else "backward"
        yield _row(workload, direction, times, **_limit(workload, limits, size, work))


def backward_seconds(
    road: Road, sets: Sequence[Mapping[str, torch.Tensor]], names: Sequence[str], device: str
) -> float:
    """Median time of the gradients of some tensors."""
    prepared = []
    for tensors in sets:
        output = road(tensors)
        prepared.append((output, [tensors[name] for name in names], torch.randn_like(output)))

    def call(given: Any) -> Any:
        output, wanted, gradient = given
        return torch.autograd.grad(output, wanted, gradient, retain_graph=True)

    return seconds(call, prepared, device)
