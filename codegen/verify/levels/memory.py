"""Memory layouts of the same elements, as in users' tensors.

Input: a contiguous tensor. Output: a tensor of its shape and elements; except for ``"expanded"``, where all elements
along one dimension are equal to the first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from svertka.codegen.verify.equivalence import channels_last

__all__ = ["LAYOUTS"]


def _transposed(tensor: torch.Tensor) -> torch.Tensor:
    """The first dimension fastest in memory."""
    order = list(range(tensor.dim()))[::-1]
    return tensor.permute(order).contiguous().permute(order)


def _strided(tensor: torch.Tensor) -> torch.Tensor:
    """Every second element along every dimension of a larger tensor."""
    larger = torch.zeros([2 * extent for extent in tensor.shape], dtype=tensor.dtype, device=tensor.device)
    view = larger[(slice(None, None, 2),) * tensor.dim()] if tensor.dim() else larger
    return view.copy_(tensor)


def _offset(tensor: torch.Tensor) -> torch.Tensor:
    """At an offset within a larger storage."""
    memory = torch.zeros(tensor.numel() + 3, dtype=tensor.dtype, device=tensor.device)
    return memory[3:].view(tensor.shape).copy_(tensor)


def _expanded(tensor: torch.Tensor) -> torch.Tensor:
    """Expanded: stride 0 along the first dimension that has several elements."""
    dim = next((place for place, extent in enumerate(tensor.shape) if extent > 1), None)
    return tensor if dim is None else tensor.narrow(dim, 0, 1).clone().expand(tensor.shape)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda tensor: tensor,
    "transposed": _transposed,
    "strided": _strided,
    "offset": _offset,
    "channels_last": channels_last,
    "expanded": _expanded,
}
