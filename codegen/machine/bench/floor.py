"""The least that a call costs which PyTorch records in Python: what every layer written there pays before it launches.

Input: tensors of a call, some of which want gradients. Output: a call that keeps its tensors, makes a result, and
makes gradients, and does nothing else: no checks, no choice of kernels, no launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["least"]


class _Least(torch.autograd.Function):
    """A result and gradients with whatever their memory held."""

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
        """The result."""
        ctx.save_for_backward(*tensors)
        return torch.empty_like(tensors[0])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of the tensors that want one."""
        pairs = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        return tuple([torch.empty_like(tensor) if needed else None for tensor, needed in pairs])


def least(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The call, as a road of the benchmarks."""
    return _Least.apply(*tensors.values())  # type: ignore[no-any-return,no-untyped-call]
