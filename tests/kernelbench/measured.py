"""A problem, computed forward and backward by its kernels and by torch: how many launches, and how far apart."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol
from unittest import mock

import torch
from torch import Tensor

__all__ = ["Compared", "Run", "apart", "gradients_of", "of_kernels", "of_torch"]


class Compared(Protocol):
    """What a package's kernels and torch compute from the same tensors."""

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors."""

    def ours(self, package: ModuleType) -> Callable[..., Tensor]:
        """What the package computes."""

    @property
    def theirs(self) -> Callable[..., Tensor]:
        """What torch computes."""


@dataclass(frozen=True)
class Run:
    """A call, and the gradients of all tensors that have one: none where the result is a position.

    Attributes:
        result, gradients: what was computed.
        forward, backward: names of the kernels that were launched, in order.
    """

    result: Tensor
    gradients: tuple[Tensor, ...]
    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()


def of_kernels(problem: Compared, package: ModuleType) -> Run:
    """A problem computed by a package's kernels."""
    function, tensors = problem.ours(package), problem.tensors()
    with _launched(package) as forward:
        result = function(*tensors)
    with _launched(package) as backward:
        gradients = gradients_of(result, tensors)
    return Run(result.detach(), gradients, tuple(forward), tuple(backward))


def of_torch(problem: Compared) -> Run:
    """A problem computed by torch."""
    tensors = problem.tensors()
    result = problem.theirs(*tensors)
    return Run(result.detach(), gradients_of(result, tensors))


def gradients_of(result: Tensor, tensors: tuple[Tensor, ...], again: bool = False) -> tuple[Tensor, ...]:
    """Gradients of a result for the gradient ``_seeded``, of all tensors that have one.

    Args:
        result: what was computed.
        tensors: from these.
        again: whether the gradients are differentiated again.
    """
    if not result.is_floating_point():
        return ()
    leaves = [tensor for tensor in tensors if tensor.requires_grad]
    return torch.autograd.grad(result, leaves, _seeded(result), create_graph=again)


def _seeded(result: Tensor) -> Tensor:
    """A gradient of a result; the same for the same shape."""
    generator = torch.Generator().manual_seed(result.numel())
    return torch.randn(result.shape, dtype=result.dtype, generator=generator)


@contextmanager
def _launched(package: ModuleType) -> Iterator[list[str]]:
    """The names of the kernels that a package launches meanwhile."""
    launching = importlib.import_module(f"{package.__name__}.launching")
    names: list[str] = []
    run: Callable[..., None] = launching.run

    def recorded(kernel: Any, *arguments: Any, **more: Any) -> None:
        names.append(kernel.__name__)
        run(kernel, *arguments, **more)

    with mock.patch.object(launching, "run", recorded):
        yield names


def apart(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference as a share of the largest element of all; infinite where shapes or types differ."""
    pairs = list(zip(found, expected, strict=True))
    if any(one.shape != other.shape or one.dtype != other.dtype for one, other in pairs):
        return float("inf")
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    return difference / max(float(other.abs().max()) for other in expected) if difference else 0.0
