"""The minimum cost of a call that PyTorch records in Python: every layer written in Python pays it before it launches.

Input: tensors of a call, some of which require gradients. Output: a call that saves its tensors, makes a result, and
makes gradients, without checks, without choosing kernels, without a launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["least"]


class _Least(torch.autograd.Function):
    """A result and gradients with uninitialized memory."""

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
        """The result."""
        ctx.save_for_backward(*tensors)
        return torch.empty_like(tensors[0])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of the tensors that require one."""
        pairs = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        return tuple([torch.empty_like(tensor) if needed else None for tensor, needed in pairs])


def least(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The call, as a ``Road`` of the benchmarks."""
    return _Least.apply(*tensors.values())  # type: ignore[no-any-return,no-untyped-call]
