"""The criterion for agreement of two computations of one result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..reference.bounds import within

__all__ = ["agree", "conditions", "equal", "nearest"]

Function = Callable[..., Tensor | tuple[Tensor, ...]]


def equal(found: Tensor, expected: Tensor) -> None:
    """Check for the same numbers, NaN for NaN."""
    torch.testing.assert_close(found.detach().cpu(), expected.detach(), rtol=0, atol=0, equal_nan=True)


def agree(found: Tensor, expected: Tensor, condition: float, elements: int) -> None:
    """Check that two results of float64 differ only by rounding.

    ``condition`` says how far the result changes when every input changes by its own size (see ``conditions``). No sum
    in any layer has more terms than all tensors have ``elements``, none passes through more than four such sums in
    sequence, and all functions and pointwise steps together add fewer than 64 roundings.
    """
    assert found.dtype == expected.dtype
    assert within(found.detach().cpu().numpy(), expected.detach().numpy(), condition, 4 * elements + 64)


def conditions(function: Function, tensors: Sequence[Tensor]) -> list[float]:
    """The change of each result, in its largest element, when every input changes by its own size, plus its size.

    A rounding within the computation has the effect of an input's change by the rounding's share. So sum |dy / dx| |x|
    over all inputs, plus |y|, is the magnitude of the bound.
    """
    jacobian: Callable[..., Any] = torch.autograd.functional.jacobian
    by_output, values = jacobian(function, tuple(tensors)), function(*tensors)
    jacobians, outputs = ([by_output], (values,)) if isinstance(values, Tensor) else (by_output, values)
    found = []
    for value, by_input in zip(outputs, jacobians, strict=True):
        moved = value.detach().abs()
        for moves, tensor in zip(by_input, tensors, strict=True):
            inner = tuple(range(value.dim(), moves.dim()))
            reach = moves.abs() * tensor.detach().abs()
            moved = moved + (reach.sum(inner) if inner else reach)
        found.append(float(moved.max()) if moved.numel() else 0.0)
    return found


def nearest(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Float64 rounded once, to nearest, ties to even; PyTorch rounds to bfloat16 via float32."""
    if dtype != torch.bfloat16:
        return values.detach().to(dtype)
    fraction, exponent = np.frexp(values.detach().numpy())
    return torch.from_numpy(np.asarray(np.ldexp(np.rint(fraction * 256) / 256, exponent))).to(dtype)
