"""Networks of generated layers: the architectures of slide 1, described, drawn and trained.

A network is an ordinary ``torch.nn.Module`` that consists only of ``svertka.generated`` modules. ``NETWORKS`` lists
those that the command line knows.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .alexnet import AlexNet
from .checkpoint import load
from .lenet import LeNet5

__all__ = ["NETWORKS", "AlexNet", "LeNet5", "load"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {"alexnet": AlexNet, "lenet": LeNet5}
"""Constructors by their name on the command line; each takes ``classes`` and its own arguments."""
