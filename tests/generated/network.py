"""A small network of the generated modules, and the same network of torch's modules."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn

from svertka import generated

from .agreement import equal

__all__ = ["CHANNELS", "CLASSES", "THEIRS", "Network", "exact_network", "gradients", "images", "labels", "loss_of"]
__all__ += ["same_gradients", "same_state", "seeded", "trained", "whole_numbers"]

CHANNELS, HEIGHT, WIDTH, CLASSES = 3, 8, 6, 7


class _ConvolutionReLU(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class _NormalizationReLU(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class _CrossChannelNorm(nn.LocalResponseNorm):
    """Windows of odd size, for which both norms are the same."""

    def __init__(self, window_channel_size: int) -> None:
        super().__init__(window_channel_size, k=2.0)


_OWN = {
    "Conv2dReLU": _ConvolutionReLU,
    "BatchNorm2dReLU": _NormalizationReLU,
    "CrossChannelNorm": _CrossChannelNorm,
}
THEIRS = types.SimpleNamespace(**{**vars(nn), **_OWN})
"""torch's modules; for modules that torch lacks, chains of them."""


class Network(nn.Module):
    """One of every kind of layer.

    Args:
        house: the source of the modules, ``generated`` or ``THEIRS``.
        dropped: the share of elements that dropout sets to 0.
    """

    def __init__(self, house: Any = generated, dropped: float = 0.25) -> None:
        super().__init__()
        self.first = house.Conv2d(CHANNELS, 4, 3, padding=1)
        self.normalised = house.BatchNorm2dReLU(4)
        self.pool = house.MaxPool2d(2)
        self.second = house.Conv2dReLU(4, 5, (3, 2))
        self.across = house.CrossChannelNorm(3)
        self.rest = nn.Sequential(
            house.BatchNorm2d(5), house.ReLU(), house.Dropout(dropped), nn.Flatten(), house.Linear(20, CLASSES)
        )

    def forward(self, input: Tensor) -> Tensor:
        """Scores of classes."""
        scores: Tensor = self.rest(self.across(self.second(self.pool(self.normalised(self.first(input))))))
        return scores


def seeded(device: str, house: Any = generated) -> Network:
    """The network, always with the same parameters."""
    torch.manual_seed(8)
    return Network(house).to(device)


def exact_network(house: Any = generated) -> nn.Module:
    """Layers that map whole numbers to whole numbers; its parameters are whole numbers, in float64."""
    network = nn.Sequential(
        house.Conv2d(CHANNELS, 4, 3, padding=1),
        house.ReLU(),
        house.MaxPool2d(2),
        house.Conv2dReLU(4, 5, (3, 2)),
        nn.Flatten(),
        house.Linear(20, CLASSES),
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(whole_numbers(*parameter.shape))
    return network


def whole_numbers(*shape: int) -> Tensor:
    """Whole numbers between -3 and 3, in float64."""
    made: Tensor = (torch.arange(torch.Size(shape).numel()) % 7 - 3).view(shape).double()
    return made


def images(count: int = 5, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    """Images for the network."""
    made = torch.randn(count, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(count))
    return made.to(device, dtype)


def labels(count: int = 5, device: str = "cpu") -> Tensor:
    """Their classes."""
    return (torch.arange(count) * 3 % CLASSES).to(device)


def loss_of(network: nn.Module, device: str = "cpu", count: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """The loss of a batch; dropout always draws from the same state."""
    torch.manual_seed(3)
    loss: Tensor = generated.CrossEntropyLoss()(network(images(count, dtype, device)), labels(count, device))
    return loss


def same_state(one: nn.Module, other: nn.Module) -> None:
    """Check for the same parameters and buffers, to the last bit and in the same types."""
    states = one.state_dict(), other.state_dict()
    assert list(states[0]) == list(states[1])
    for left, right in zip(*(state.values() for state in states), strict=True):
        assert left.dtype == right.dtype
        equal(left, right.cpu())


def gradients(network: nn.Module) -> list[Tensor | None]:
    """Gradients of the parameters, in order."""
    return [parameter.grad for parameter in network.parameters()]


def same_gradients(one: nn.Module, other: nn.Module) -> None:
    """Check for gradients of all parameters, equal to the last bit."""
    for left, right in zip(gradients(one), gradients(other), strict=True):
        assert left is not None
        assert right is not None
        equal(left, right.cpu())


def trained(network: nn.Module, device: str, count: int = 5) -> Tensor:
    """The loss of a batch; its gradients are added to the parameters'."""
    loss = loss_of(network, device, count)
    loss.backward()
    return loss.detach()
