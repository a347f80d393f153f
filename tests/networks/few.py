"""A few of the digits, a small network with dropout, and runs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from svertka.generated import Conv2d, Dropout, ImageInput, Linear, ReLU
from svertka.networks.data import Dataset, digits
from svertka.networks.training import Settings, Training, built

__all__ = ["Small", "few", "run", "same", "small_run"]


def few(training: int = 23, test: int = 11) -> Dataset:
    """The first digits; the last batch of an epoch is smaller than the others."""
    every = digits()
    parts = [part.at(torch.arange(n)) for part, n in ((every.training, training), (every.test, test))]
    return replace(every, training=parts[0], test=parts[1])


class Small(nn.Module):
    """A network that draws random numbers in training."""

    def __init__(self, classes: int, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.input = ImageInput((12, 10), mean=list(mean), std=list(std))
        self.layers = nn.Sequential(
            Conv2d(channels, 3, (5, 4), stride=2), ReLU(), nn.Flatten(), Dropout(0.25), Linear(48, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.layers(self.input(images))
        return scores


def small_run(**settings: Any) -> Training:
    """A new run of the small network: 3 epochs of 4 steps."""
    asked = Settings(**{"network": "small", "epochs": 3, "batch": 7, "shift": 0.2, **settings})
    data = few()
    return Training(built(Small, data, asked.seed), data, asked)


def run(training: Training, steps: int | None = None) -> Training:
    """Run some steps, or to the end."""
    taken = 0
    while not training.finished and taken != steps:
        training.step()
        taken += 1
    return training


def same(one: Any, other: Any) -> bool:
    """Whether two states have the same numbers, to the last bit and in the same types."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bits(one) == _bits(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(type(one) is type(other) and one == other)


def _bits(tensor: Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
