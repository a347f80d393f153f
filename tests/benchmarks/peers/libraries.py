"""Libraries of Triton kernels that pip installs, if they are there: Liger Kernel and FlagGems.

They take tensors of the CPU, as every launch runs on the machine (``executing_foreign``); while they are imported and
run, ``torch.cuda`` answers as the stub of a GPU does. Nothing of them is a dependency, and nothing is copied.

FlagGems replaces ATen's operators: PyTorch's own functions are called, forward and backward, with its kernels under the
CPU's dispatch key. Liger has a few functions of its own.

Input: a target. Output: ``Peer``s, and the names of those that are missing.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from svertka.codegen.machine.bench.workload import Road, Workload, roads
from svertka.codegen.ptx.foreign import executing_foreign
from svertka.codegen.ptx.launch import Executed
from tests.benchmarks.peers.inductor import inductor, watching
from tests.benchmarks.stub.torch_stand_in import cuda

__all__ = ["NAMES", "Peer", "peers"]

Watch = Callable[[], AbstractContextManager[Executed]]
PACKAGES = {"liger": "liger_kernel", "flag_gems": "flag_gems"}
NAMES = (*PACKAGES, "inductor")
LIGER = {"softmax": "liger_softmax", "cross_entropy": "liger_cross_entropy"}
"""Functions of Liger by the function of PyTorch that they replace; all work on the last axis."""


@dataclass(frozen=True)
class Peer:
    """A library.

    Attributes:
        name: for the table.
        road: what it computes a workload with; None if it has nothing for it.
        watch: in which its launches are counted.
    """

    name: str
    road: Callable[[Workload], Road | None]
    watch: Watch


def peers(target: str) -> tuple[list[Peer], list[str]]:
    """The peers that are there, and the packages that are missing."""
    makers: dict[str, Callable[[str], Peer]] = {"liger": _liger, "flag_gems": _flag_gems}
    there = [name for name, package in PACKAGES.items() if find_spec(package) is not None]
    missing = [package for name, package in PACKAGES.items() if name not in there]
    return [*(makers[name](target) for name in there), _inductor(target)], missing


class _Generator:
    """PyTorch's generator of a GPU: its state is a seed and an offset."""

    def __init__(self) -> None:
        self.state = torch.tensor([7, 0], dtype=torch.int64).view(torch.uint8)

    def get_state(self) -> torch.Tensor:
        return self.state.clone()

    def set_state(self, state: torch.Tensor) -> None:
        self.state = state


@contextmanager
def _on_a_gpu() -> Iterator[None]:
    """``torch.cuda`` answers as if there were a GPU."""
    with mock.patch.multiple(torch.cuda, **cuda(), default_generators=(_Generator(),)):
        yield


def _liger(target: str) -> Peer:
    with _on_a_gpu():
        functional = importlib.import_module("liger_kernel.transformers.functional")

    def road(workload: Workload) -> Road | None:
        name = LIGER.get(workload.function)
        arguments = {key: value for key, value in workload.arguments.items() if key != "dim"}
        return None if name is None else Road("liger", _by_place(getattr(functional, name)), arguments)

    @contextmanager
    def watch() -> Iterator[Executed]:
        with _on_a_gpu(), executing_foreign(target) as done:
            yield done

    return Peer("liger", road, watch)


def _by_place(function: Any) -> Any:
    """A function of tensors by place, called with them by name."""
    return lambda input, **others: function(input, *others.values())


def _flag_gems(target: str) -> Peer:
    folder = Path(tempfile.mkdtemp())
    settings = {"GEMS_VENDOR": "nvidia", "FLAGGEMS_DB_URL": f"sqlite:///{folder}/tuned.db"}
    with mock.patch.dict(os.environ, {**settings, "FLAGGEMS_CACHE_DIR": str(folder)}), _on_a_gpu():
        gems = importlib.import_module("flag_gems")
        importlib.import_module("flag_gems.runtime.backend.device").DeviceDetector().dispatch_key = "CPU"

    @contextmanager
    def watch() -> Iterator[Executed]:
        with _on_a_gpu(), gems.use_gems(), executing_foreign(target) as done:
            yield done

    own = _own_functions(gems)

    def road(workload: Workload) -> Road:
        function = own.get(workload.function)
        return Road("flag_gems", function, workload.arguments) if function else roads(workload, compiled=False)[1]

    return Peer("flag_gems", road, watch)


def _own_functions(gems: Any) -> dict[str, Any]:
    """Functions whose operators PyTorch calls on a GPU alone: FlagGems' own, paired with their gradients."""

    def pooling(input: torch.Tensor, kernel_size: int, stride: int, padding: int) -> torch.Tensor:
        settings = (kernel_size, stride, padding, 1, False)

        def backward(seed: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            return gems.max_pool2d_backward(seed, input.detach(), indices, *settings)  # type: ignore[no-any-return]

        return _paired(lambda given: gems.max_pool2d_with_indices(given, *settings), backward, input)

    def dropout(input: torch.Tensor, p: float) -> torch.Tensor:
        def backward(seed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return gems.dropout_backward(seed, mask, 1 / (1 - p))  # type: ignore[no-any-return]

        return _paired(lambda given: gems.dropout(given, p, True), backward, input)

    def convolution(input: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        module = importlib.import_module("flag_gems.ops.conv2d")
        return module.conv2d(input, weight, None, stride, padding)  # type: ignore[no-any-return]

    return {"max_pool2d": pooling, "dropout": dropout, "conv2d": convolution}


def _paired(forward: Any, backward: Any, input: torch.Tensor) -> torch.Tensor:
    """A result with its gradient; ``forward`` also gives what ``backward`` needs."""

    class Both(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, given: torch.Tensor) -> torch.Tensor:
            result, context.kept = forward(given)
            return result  # type: ignore[no-any-return]

        @staticmethod
        def backward(context: Any, seed: torch.Tensor) -> torch.Tensor:
            return backward(seed, context.kept)  # type: ignore[no-any-return]

    return Both.apply(input)  # type: ignore[no-any-return, no-untyped-call]


def _inductor(target: str) -> Peer:
    def road(workload: Workload) -> Road:
        eager = roads(workload, compiled=False)[1]
        return Road("inductor", inductor(lambda **tensors: eager(tensors), target), {})

    return Peer("inductor", road, partial(watching, target))
