"""Every example against PyTorch's own function, forward and backward, on both paths: kernels and CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn import functional

from ..generated.agreement import agree, conditions
from .test_levels import WANTED

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Known:
    """A call of an example and PyTorch's equivalent."""

    shapes: tuple[Shape, ...]
    oracle: Callable[..., torch.Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    optional: dict[str, Shape] = field(default_factory=dict)
    positive: bool = False


def generalized_mean(input: torch.Tensor, p: float, eps: float) -> torch.Tensor:
    return input.clamp(min=eps).pow(p).flatten(2).mean(-1).pow(1 / p)


def depthwise(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, **settings: int
) -> torch.Tensor:
    return functional.conv2d(input, weight.unsqueeze(1), bias, groups=weight.shape[0], **settings)


def triangular(input: torch.Tensor, mat2: torch.Tensor) -> torch.Tensor:
    return torch.bmm(input.tril(), mat2)


WINDOW = {"stride": 2, "padding": 1, "dilation": 2}
CALLS: dict[str, Known] = {
    "conv1d": Known(((2, 3, 11), (4, 3, 3)), functional.conv1d, WINDOW, {"bias": (4,)}),
    "conv3d": Known(((2, 3, 5, 7, 6), (4, 3, 2, 3, 1)), functional.conv3d, WINDOW, {"bias": (4,)}),
    "depthwise_conv2d": Known(((2, 3, 7, 9), (3, 2, 3)), depthwise, WINDOW, {"bias": (3,)}),
    "conv_transpose2d": Known(((2, 3, 4, 5), (3, 2, 2, 3)), functional.conv_transpose2d, WINDOW),
    "generalized_mean": Known(((2, 3, 5, 4),), generalized_mean, {"p": 2.5, "eps": 1e-3}),
    "huber_loss": Known(((3, 5), (3, 5)), functional.huber_loss, {"delta": 0.75}),
    "bmm": Known(((2, 3, 5), (2, 5, 4)), torch.bmm),
    "triangular_bmm": Known(((2, 19, 35), (2, 35, 4)), triangular),
}


@pytest.fixture(params=["kernels", "cpu"])
def road(request: pytest.FixtureRequest, package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package's functions, on the kernels or on the CPU path without the interpreter."""
    if request.param == "cpu":
        runtime = importlib.import_module(f"{package.__name__}.runtime")
        monkeypatch.setattr(runtime, "INTERPRETED", False)
    return package.functional


def drawn(shape: Shape, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)


def test_every_example_is_called() -> None:
    assert CALLS.keys() == WANTED


@pytest.mark.thinned(4)
@pytest.mark.parametrize("given", [True, False], ids=["all", "required"])
@pytest.mark.parametrize("name", sorted(CALLS))
def test_forward_and_backward_agree(name: str, given: bool, road: ModuleType) -> None:
    known = CALLS[name]
    shapes = {**dict(enumerate(known.shapes)), **(known.optional if given else {})}
    tensors = {key: drawn(shape, seed) for seed, (key, shape) in enumerate(shapes.items())}
    plain = [tensor for key, tensor in tensors.items() if isinstance(key, int)]
    named = {key: tensor for key, tensor in tensors.items() if isinstance(key, str)}

    def of(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*values: torch.Tensor) -> torch.Tensor:
            more = dict(zip(named, values[len(plain) :], strict=True))
            return function(*values[: len(plain)], **more, **known.settings)

        return call

    values = (*plain, *named.values())
    ours, theirs = of(getattr(road, name)), of(known.oracle)
    elements = sum(value.numel() for value in values)
    agree(ours(*values), theirs(*values), conditions(theirs, values)[0], elements)
    seed = drawn(theirs(*values).shape, 99).detach()

    def gradients(function: Callable[..., torch.Tensor]) -> Callable[..., tuple[torch.Tensor, ...]]:
        def call(*some: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return torch.autograd.grad(function(*some), some, seed, create_graph=True)

        return call

    expected = gradients(theirs)(*values)
    bounds = conditions(gradients(theirs), values)
    for found, right, bound in zip(torch.autograd.grad(ours(*values), values, seed), expected, bounds, strict=True):
        agree(found, right.detach(), bound, elements)
