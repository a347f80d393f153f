"""Expected times from bytes and operations alone; nothing is measured and nothing runs.

For svertka every launch reads and writes its tensors once; for PyTorch every ATen operator does. Caches, launch times
and repeated reads by tiles are ignored, so both are lower bounds, and their ratio is only an estimate to compare
measurements with.

Input: workloads and a machine's ``Limits``. Output: ``Prediction``s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from svertka.codegen.machine.bench.launched import Pass, meta_tensors, passes
from svertka.codegen.machine.bench.measure import Limits
from svertka.codegen.machine.bench.traffic import operations
from svertka.codegen.machine.bench.workload import Road, Workload, roads
from svertka.codegen.verify.recording import Launched

__all__ = ["H200", "Prediction", "predictions"]

H200 = Limits(bandwidth=4.3e12, operations=7.8e14)
"""Rates of a copy, and of bf16 products on random data."""
TARGET = "sm_90"
PRODUCTS = ("convolution", "mm")  # in the names of ATen's operators that multiply matrices


@dataclass(frozen=True)
class Prediction:
    """One direction of a workload.

    Attributes:
        bound: ``"bytes"`` or ``"operations"``, whichever is the limit.
        launches: how many kernels.
        limit: the least time, seconds.
        ours, eager: predicted times; ``eager`` is 0 if PyTorch's operators cannot be assigned to a direction.
    """

    workload: Workload
    direction: str
    bound: str
    launches: int
    limit: float
    ours: float
    eager: float


def predictions(workload: Workload, limits: Limits = H200) -> Iterator[Prediction]:
    """Every direction of a workload."""
    eager = _eager(roads(workload, False)[1], workload)
    directions = passes(workload, TARGET)
    # The same number for each direction.
    matrix = workload.kind == "matrix"
    work = operations(directions[0].results[0], meta_tensors(workload)["weight"]) if matrix else 0
    for one in directions:
        products = sum(map(_multiplies, one.launches))
        least = {"bytes": _limit_bytes(one) / limits.bandwidth, "operations": work / limits.operations}
        ours = 0.0
        for launch in one.launches:
            share = work / products if _multiplies(launch) else 0
            ours += max(_bytes(launch.tensors()) / limits.bandwidth, share / limits.operations)
        bound = max(least, key=least.__getitem__)
        found = 0.0
        if one.direction in eager:
            plain, of_products = (size / limits.bandwidth for size in eager[one.direction])
            found = plain + max(of_products, work / limits.operations)
        yield Prediction(workload, one.direction, bound, len(one.launches), least[bound], ours, found)


def _multiplies(launch: Launched) -> bool:
    return launch.entry.startswith("contraction") and launch.constants["PART"] != "finish"


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of some tensors; shared memory counts once."""
    return sum({_storage(tensor): tensor.numel() * tensor.itemsize for tensor in tensors}.values())


def _limit_bytes(one: Pass) -> int:
    """Bytes of the inputs that are read, and of the results; temporaries do not count."""
    outside = {_storage(tensor) for tensor in (*one.before, *one.results)}
    return _bytes(tensor for launch in one.launches for tensor in launch.tensors() if _storage(tensor) in outside)


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts bytes of the operators that run inside; views and allocations move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.plain, self.of_products = 0, 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        view = function.is_view or "empty" in function.name() or "detach" in function.name()
        if not view:
            given = tree_leaves((arguments, options, result))
            size = _bytes(tensor for tensor in given if isinstance(tensor, torch.Tensor))
            if any(word in function.name() for word in PRODUCTS):
                self.of_products += size
            else:
                self.plain += size
        return result


def _eager(road: Road, workload: Workload) -> dict[str, tuple[int, int]]:
    """Bytes that PyTorch's operators move, by direction; products separately, as their gradients come one by one."""
    tensors = meta_tensors(workload)
    with _Counted() as forward:
        output = road(tensors)
    found = {"forward": (forward.plain, forward.of_products)}
    names = [name for name, tensor in tensors.items() if tensor.requires_grad]
    matrix = workload.kind == "matrix"
    groups = {f"gradient of {name}": [name] for name in ("input", "weight")} if matrix else {"backward": names}
    for direction, wanted in groups.items():
        gradient = torch.empty_like(output)
        with _Counted() as backward:
            torch.autograd.grad(output, [tensors[name] for name in wanted], gradient, retain_graph=True)
        found[direction] = backward.plain, backward.of_products
    return found
