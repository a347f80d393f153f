"""Our kernels and those of peers for the same calls, counted side by side, and their results against float64.

Input: a work and a target. Output: ``Entry``s, one for each direction and road.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from svertka.codegen.machine.bench.workload import Workload, gradient_groups, roads, workloads
from svertka.codegen.ptx.count import Measured, counted, measured
from tests.benchmarks.peers.libraries import Peer

__all__ = ["Entry", "compared", "error_of", "works", "wrongness"]

IMAGE = (8, 64, 32, 32)
OF_CHANNELS = ("running_mean", "running_var", "weight", "bias")
BOTH = ("row_major", "channels_last")
CONVOLUTION = "resnet50 64->64 3x3/1 at 56 x64"
SIZES: Sequence[tuple[str, Mapping[str, tuple[int, ...]], tuple[str, ...], tuple[str, ...]]] = (
    ("softmax 1024", {"input": (128, 1024)}, ("float32", "bfloat16"), BOTH[:1]),
    ("softmax 32768", {"input": (8, 32768)}, ("float32",), BOTH[:1]),
    ("cross_entropy 1000", {"input": (64, 1000), "target": (64,)}, ("float32",), BOTH[:1]),
    ("cross_entropy 32768", {"input": (16, 32768), "target": (16,)}, ("float32",), BOTH[:1]),
    ("max_pool2d", {"input": IMAGE}, ("float32",), BOTH),
    ("batch_norm training", {"input": IMAGE, **dict.fromkeys(OF_CHANNELS, (64,))}, ("float32",), BOTH),
    ("relu", {"input": IMAGE}, ("float32",), BOTH[:1]),
    ("dropout", {"input": IMAGE}, ("float32",), BOTH[:1]),
    (CONVOLUTION, {"input": (1, 64, 14, 14), "weight": (64, 64, 3, 3)}, ("bfloat16", "float32"), BOTH),
)
"""Workloads by name with the sizes at which they are counted; large enough for full tiles, small enough to execute.

Of products only the forward is counted: Inductor leaves them to ATen, and their gradients take minutes.
"""


@dataclass(frozen=True)
class Entry:
    """One direction of a work by one road.

    Attributes:
        title, direction, road: which.
        shape: of the input.
        figures: of the counts; empty if it did not run.
        error: largest distance from float64 over the largest magnitude there; None where results are random.
        wrong: why the result is wrong; ``failed``: why there is none. Empty if neither.
    """

    title: str
    direction: str
    road: str
    shape: tuple[int, ...]
    figures: Mapping[str, Any]
    error: float | None
    wrong: str
    failed: str


def works(only: str = "") -> Iterator[Workload]:
    """The workloads of ``SIZES`` whose title has this text."""
    known = {workload.name: workload for workload in workloads()}
    for name, sizes, dtypes, layouts in SIZES:
        base = known[name]
        shapes = {argument: sizes[argument] for argument in base.shapes}
        labels = {argument: sizes[argument] for argument in base.labels}
        for dtype in dtypes:
            for layout in layouts:
                made = replace(base, dtype=dtype, layout=layout, shapes=shapes, labels=labels)
                if only in made.title:
                    yield made


def compared(workload: Workload, target: str, others: Sequence[Peer]) -> Iterator[Entry]:
    """Ours, then every peer that has a road."""
    truth = _exact(workload)
    again = _exact(workload)
    random = not all(torch.equal(one, other) for one, other in zip(truth["forward"], again["forward"], strict=True))
    known = {} if random else truth
    yield from _entries(workload, "svertka", measured(workload, target), known)
    for peer in others:
        road = peer.road(workload)
        if road is not None:
            yield from _entries(workload, peer.name, counted(workload, road, peer.watch), known)


def _entries(
    workload: Workload, road: str, found: Iterator[Measured], truth: Mapping[str, Sequence[torch.Tensor]]
) -> Iterator[Entry]:
    """Entries until one fails."""
    shape, done = workload.shapes["input"], ""
    try:
        for one in islice(found, 1) if workload.kind == "matrix" else found:
            done = one.row.direction
            error = error_of(one.results, truth[done]) if done in truth else None
            wrong = wrongness(error, getattr(torch, workload.storage))
            yield Entry(workload.title, done, road, shape, _figures(one), error, wrong, "")
    except Exception as error:  # any exception of another library is a line of the table
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
        yield Entry(workload.title, "backward" if done else "forward", road, shape, {}, None, "", text)


def _figures(one: Measured) -> dict[str, Any]:
    row = one.row
    return {
        "kernels": list(row.kernels),
        "instructions": row.instructions,
        "moved": row.moved,
        "sectors": dict(row.sectors),
        "registers": row.registers,
        "spills": row.spills,
        "shared": row.shared,
        "conflicts": row.conflicts,
        "wavefronts": sum(traffic.units for cost in one.costs for traffic in cost.counts.wavefronts.values()),
        "programs": [cost.programs for cost in one.costs],
        "warps": [cost.warps for cost in one.costs],
    }


def _exact(workload: Workload) -> dict[str, tuple[torch.Tensor, ...]]:
    """PyTorch's results in float64 for the same tensors, by direction."""
    given = workload.tensors("cpu")
    tensors = {
        name: tensor.detach().double().requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else tensor
        for name, tensor in given.items()
    }
    result = roads(workload, compiled=False)[1](tensors)
    drawn = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
    seed = torch.empty_like(result).copy_(drawn.to(getattr(torch, workload.storage)))
    found = {"forward": (result.detach(),)}
    for direction, names in gradient_groups(workload, given).items():
        found[direction] = torch.autograd.grad(result, [tensors[name] for name in names], seed, retain_graph=True)
    return found


def error_of(found: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]) -> float:
    """The largest distance over the largest magnitude, of any result; NaN where one has a NaN."""
    distances = [
        float((one.double() - other).abs().max() / other.abs().max().clamp_min(torch.finfo(torch.float64).tiny))
        for one, other in zip(found, exact, strict=True)
    ]
    return max(distances, key=lambda one: float("inf") if one != one else one)


def wrongness(error: float | None, dtype: torch.dtype) -> str:
    """Why a result is wrong: half of its digits are; empty if not, or if nothing is known."""
    allowed = float(torch.finfo(dtype).eps) ** 0.5
    return "" if error is None or error <= allowed else f"off by {error:.2g} of the largest element"
