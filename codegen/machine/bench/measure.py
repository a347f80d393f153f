"""Measure workloads: svertka, PyTorch and the limit in one run.

Input: a ``Workload`` and the machine's ``Limits``. Output: one ``Row`` per direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from svertka.codegen.machine.bench.floor import least
from svertka.codegen.machine.bench.idle import idle_kernels
from svertka.codegen.machine.bench.timing import BUDGET, copies, copy_bandwidth, host_seconds, matrix_rate, seconds
from svertka.codegen.machine.bench.traffic import backward_bytes, forward_bytes, operations
from svertka.codegen.machine.bench.verify import Verdict, judged
from svertka.codegen.machine.bench.workload import (
    COMPILE,
    TF32,
    Road,
    Workload,
    asking,
    gradient_groups,
    precision,
    roads,
)

__all__ = [
    "WHOLE",
    "Limits",
    "Problem",
    "Row",
    "backward_seconds",
    "input_sets",
    "measure",
    "measure_all",
    "measured",
    "measured_limits",
]


WHOLE = ("float32", TF32)


@dataclass(frozen=True)
class Limits:
    """The machine's limits, measured in the same run: bytes per second and bf16 operations per second."""

    bandwidth: float
    operations: float


@dataclass(frozen=True)
class Row:
    """One direction of one workload.

    Attributes:
        direction: ``"forward"``, ``"backward"``, a gradient's name, or ``"host"`` for the cost of launching.
        seconds: median time by road (implementation).
        limit: the least time, from bytes or operations; for the host, the time of a call that computes nothing; 0 if
            not known.
        bytes, operations: of the limit.
        wrong: what the check at this size found; empty if it holds.
        unchecked: why it was not, or only partly, compared with its formula; empty if it was.
        failed: by road, why it has no time.
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
    unchecked: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name, dtype and layout."""
        return f"{self.name} {self.dtype} {self.layout}"

    def ratio(self, road: str) -> float:
        """Time of another road over svertka's time."""
        return self.seconds[road] / self.seconds["svertka"]

    @property
    def efficiency(self) -> float:
        """Limit / time: 1 at the machine's limit."""
        return self.limit / self.seconds["svertka"]

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Problem:
    """A workload that did not finish: ``error``: the exception's class, ``text``: its message."""

    name: str
    dtype: str
    layout: str
    error: str
    text: str

    @property
    def title(self) -> str:
        """Name, dtype and layout."""
        return f"{self.name} {self.dtype} {self.layout}"

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def measured_limits(device: str) -> Limits:
    """Measure the machine."""
    return Limits(copy_bandwidth(device), matrix_rate(device))


def measure_all(
    workloads: Sequence[Workload],
    limits: Limits,
    device: str,
    compiled: bool,
    progress: Callable[[str], None],
    *,
    report: Callable[[Row | Problem], None] = lambda found: None,
    budget: float = BUDGET,
    options: Mapping[str, Any] = COMPILE,
) -> tuple[list[Row], dict[str, str]]:
    """Measure workloads one after another; also, by title, why some did not run.

    Args:
        workloads: the calls.
        limits: of the machine.
        device: "cuda" or "cpu".
        compiled: whether to time ``torch.compile`` too.
        progress: called with the name of a workload when it is done.
        report: called with each row, and each problem, immediately.
        budget: approximate seconds for measuring one figure.
        options: of ``torch.compile``.
    """
    rows: list[Row] = []
    problems: dict[str, str] = {}
    for workload in workloads:
        try:
            for row in measured(workload, limits, device, compiled, budget=budget, options=options):
                rows.append(row)
                report(row)
        except Exception as error:  # compilers and drivers raise any exception; the other workloads must still run
            problem = Problem(workload.name, workload.dtype, workload.layout, type(error).__name__, str(error)[:300])
            problems[problem.title] = f"{problem.error}: {problem.text}"
            report(problem)
        progress(workload.name)
    return rows, problems


def measure(
    workload: Workload,
    limits: Limits,
    device: str,
    compiled: bool,
    *,
    budget: float = BUDGET,
    options: Mapping[str, Any] = COMPILE,
) -> list[Row]:
    """Check and time a workload on every road; ``measured`` as a list."""
    return list(measured(workload, limits, device, compiled, budget=budget, options=options))


def measured(
    workload: Workload,
    limits: Limits,
    device: str,
    compiled: bool,
    *,
    budget: float = BUDGET,
    options: Mapping[str, Any] = COMPILE,
) -> Iterator[Row]:
    """Check and time a workload on every road, with its precision of products; yields rows immediately.

    Args:
        workload: the call.
        limits: of the machine.
        device: "cuda" or "cpu".
        compiled: whether to time ``torch.compile`` too.
        budget: approximate seconds for measuring one figure.
        options: of ``torch.compile``.

    Raises:
        Exception: svertka's call itself does not run. Failures of other roads are recorded in the rows.
    """
    if compiled:
        torch._dynamo.reset()
    with precision(workload):
        bench = _Bench(workload, limits, device, budget, roads(workload, compiled, options))
        yield from [bench.host()] if workload.kind == "launch" else bench.directions()


def input_sets(workload: Workload, device: str) -> list[dict[str, torch.Tensor]]:
    """Enough sets of inputs that together they exceed the cache."""
    first = workload.tensors(device)
    size = sum(tensor.numel() * tensor.itemsize for tensor in first.values())
    return [first, *(workload.tensors(device, seed) for seed in range(1, copies(size, device)))]


class _Bench:
    """Measures one workload."""

    def __init__(self, workload: Workload, limits: Limits, device: str, budget: float, every: Sequence[Road]) -> None:
        self.workload, self.limits, self.device, self.budget, self.roads = workload, limits, device, budget, every
        self.sets = input_sets(workload, device)

    def host(self) -> Row:
        """Host time of forward and backward together; without a GPU, without the driver's part of a launch.

        Its limit is the time of a call that computes nothing.
        """
        tensors = self.sets[0]

        def time(road: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]) -> float:
            wanted = [tensor for tensor in tensors.values() if tensor.requires_grad]
            with idle_kernels() if self.device != "cuda" else nullcontext():
                gradient = torch.randn_like(road(tensors))

                def call(given: Any) -> None:
                    torch.autograd.grad(road(given), wanted, gradient)

                return host_seconds(call, tensors, self.device)

        return replace(self._row("host", time), limit=time(least))

    def directions(self) -> Iterator[Row]:
        """Forward; then all gradients at once, or for matrix products each separately."""
        ours, first = self.roads[0], self.sets[0]
        with torch.no_grad():
            size = forward_bytes(lambda: ours(first), first)
            work = operations(ours(first), first["weight"]) if self.workload.kind == "matrix" else 0
            row = self._row("forward", lambda road: seconds(road, self.sets, self.device, self.budget), size, work)
        yield row
        for direction, names in gradient_groups(self.workload, first).items():
            given = asking(first, names)
            size = backward_bytes(partial(ours, given), given, [given[name] for name in names])

            def time(road: Road, names: Sequence[str] = names) -> float:
                return backward_seconds(road, self.sets, names, self.device, self.budget)

            yield self._row(direction, time, size, work)

    def _row(self, direction: str, time: Callable[[Road], float], size: int = 0, work: int = 0) -> Row:
        """Check svertka and time every road; if another road fails, record why it has no time."""
        workload = self.workload
        verdict = Verdict((), "kernels do not run without a GPU")
        if self.device == "cuda":
            with torch.enable_grad():
                verdict = judged(workload, self.roads[0], self.sets[0], direction)
        times, failed = {}, {}
        for road in self.roads:
            try:
                times[road.name] = time(road)
            except Exception as error:  # compilers and drivers raise any exception
                if road is self.roads[0]:
                    raise
                failed[road.name] = f"{type(error).__name__}: {str(error)[:300]}"
        return Row(
            workload.name,
            workload.kind,
            workload.dtype,
            workload.layout,
            direction,
            times,
            **_limit(workload, self.limits, size, work),
            wrong=verdict.wrong,
            unchecked=verdict.unchecked,
            failed=failed,
        )


def _limit(workload: Workload, limits: Limits, size: int, work: int) -> dict[str, Any]:
    if work and workload.dtype in WHOLE:
        return {"bytes": size, "operations": work}  # the measured rate is that of half precision
    least = max(size / limits.bandwidth, work / limits.operations)
    return {"limit": least, "bytes": size, "operations": work}


def backward_seconds(
    road: Road,
    sets: Sequence[Mapping[str, torch.Tensor]],
    names: Sequence[str],
    device: str,
    budget: float = BUDGET,
) -> float:
    """Median time of the gradients of some tensors."""
    prepared = []
    for tensors in sets:
        given = asking(tensors, names)
        output = road(given)
        prepared.append((output, [given[name] for name in names], torch.randn_like(output)))

    def call(given: Any) -> Any:
        output, wanted, gradient = given
        return torch.autograd.grad(output, wanted, gradient, retain_graph=True)

    return seconds(call, prepared, device, budget)
