"""Arrangements of a tensor's elements in memory."""

from __future__ import annotations

import torch

__all__ = ["channels_last", "scattered"]


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Channels last: the second of at least three dimensions is the fastest."""
    if tensor.dim() < 3:
        return tensor.contiguous()
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def scattered(tensor: torch.Tensor) -> torch.Tensor:
    """Every other element along every dimension, dimensions in reverse order, NaN in between.

    A kernel that uses a wrong stride, or reads outside, reads a NaN.
    """
    between = float("nan") if tensor.is_floating_point() else -1
    room = tuple(2 * extent + 1 for extent in reversed(tensor.shape))
    memory = torch.full(room, between, dtype=tensor.dtype, device=tensor.device)
    view = memory[tuple(slice(1, 2 * extent, 2) for extent in reversed(tensor.shape))]
    view = view.permute(*reversed(range(tensor.dim()))) if tensor.dim() else view
    view.copy_(tensor)
    return view
