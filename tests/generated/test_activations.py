"""Activations at elements near 0, far from it, infinite and NaN, on every path."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from svertka.generated import functional

from ..reference.bounds import ROUNDINGS_OF_ACTIVATION, ROUNDINGS_OF_TWO, within
from .agreement import equal
from .oracles import oracle

NAMES = ["leaky_relu", "relu6", "hardtanh", "elu", "selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid"]
NAMES += ["sigmoid", "tanh", "softplus", "softsign"]
Function = Callable[[Tensor], Tensor]
CALLS: dict[str, tuple[Function, Function]] = {name: (getattr(functional, name), oracle(name)) for name in NAMES}
CALLS["gelu_tanh"] = (lambda x: functional.gelu(x, "tanh"), lambda x: nn.functional.gelu(x, approximate="tanh"))
CALLS["prelu"] = (
    lambda x: functional.prelu(x, torch.full((1,), 0.25, dtype=x.dtype, device=x.device)),
    lambda x: nn.functional.prelu(x, torch.full((1,), 0.25, dtype=x.dtype, device=x.device)),
)
every_activation = pytest.mark.parametrize("name", CALLS)

TINY = (1e-8, 1e-5, 1e-3, 0.02, 0.29, 0.31)
FAR = (0.0, 20.0, 60.0, 100.0, 1e4, 1e18)
"""From exponentials that are negligible to exponentials that exceed float32's range."""
INFINITE = (float("inf"), -float("inf"), float("nan"))
TIES = (-3.0, -1.0, 0.0, 1.0, 3.0, 6.0)


def with_slope(function: Function, values: Tensor) -> tuple[Tensor, Tensor]:
    given = values.clone().requires_grad_()
    found = function(given)
    return found.detach(), torch.autograd.grad(found.sum(), given)[0]


@every_activation
def test_far_elements_and_their_gradients(name: str, road: str, device: str) -> None:
    """No intermediate overflows if the result does not: float32 differs from float64 by its rounding, absolutely."""
    ours, theirs = CALLS[name]
    values = torch.tensor([*FAR, *(-v for v in FAR)], device=device)
    exact = values.cpu().double()
    share = ROUNDINGS_OF_ACTIVATION * 2.0**-24 / ROUNDINGS_OF_TWO
    for found, right in zip(with_slope(ours, values), with_slope(theirs, exact), strict=True):
        assert within(found.cpu(), right, exact.abs() + 1, share)


# Functions f with f(0) = 0, and softplus, whose value is far smaller than 1 for negative elements.
VANISHING = [name for name in CALLS if name not in ("sigmoid", "hardsigmoid", "softplus")]


@pytest.mark.parametrize("name", VANISHING)
def test_elements_near_0_keep_their_digits(name: str, road: str, device: str) -> None:
    """The error is relative to the result, however small it is: nothing cancels."""
    ours, theirs = CALLS[name]
    values = torch.tensor([*TINY, *(-v for v in TINY)], device=device)
    right = theirs(values.cpu().double())
    assert within(ours(values).cpu(), right, right.abs(), ROUNDINGS_OF_ACTIVATION * 2.0**-24 / ROUNDINGS_OF_TWO)


@pytest.mark.parametrize("name", ["softplus", "mish", "silu", "sigmoid", "elu"])
def test_small_exponentials_keep_their_digits(name: str, road: str, device: str) -> None:
    ours, theirs = CALLS[name]
    values = torch.tensor([-40.0, -17.5, -9.0, -3.0, -1.2], device=device)
    right = theirs(values.cpu().double())
    assert within(ours(values).cpu(), right, right.abs(), ROUNDINGS_OF_ACTIVATION * 2.0**-24 / ROUNDINGS_OF_TWO)


@every_activation
def test_ties_and_infinities_are_torch_s(name: str, road: str, device: str) -> None:
    """Ties have torch's gradients; infinite elements torch's values and gradients; NaN is NaN."""
    ours, theirs = CALLS[name]
    infinite = torch.tensor(INFINITE, dtype=torch.float64)
    found, slopes = with_slope(ours, infinite.to(device))
    right, right_slopes = with_slope(theirs, infinite)
    equal(found, right)
    equal(slopes[:2], right_slopes[:2])
    ties = torch.tensor(TIES, dtype=torch.float64)
    for one, other in zip(with_slope(ours, ties.to(device)), with_slope(theirs, ties), strict=True):
        assert within(one.cpu(), other, ties.abs() + 1, ROUNDINGS_OF_ACTIVATION * 2.0**-53 / ROUNDINGS_OF_TWO)
