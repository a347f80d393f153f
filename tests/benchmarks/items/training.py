"""A training step of a network of generated layers against the same network of PyTorch's layers, in bfloat16.

A generated module has the state of the PyTorch module from which it derives, so the other network is this one with
every module's class replaced by PyTorch's. PyTorch does not have the cross-channel norm; its local response norm
replaces it where windows are odd.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from svertka.codegen.machine.bench.timing import seconds
from svertka.generated import functional
from svertka.generated.modules import Conv2d, CrossChannelNorm, Linear, MaxPool2d, ReLU
from svertka.networks import AlexNet
from tests.benchmarks.items.choice import shrunk_timing

ON_GPU = True
IMAGES, SIDE, CLASSES = 256, 224, 1000
SHRUNK_IMAGES = 2
SHRUNK_TYPE = torch.float32  # PyTorch's norm has no half precision on a CPU
UNCHECKED = "a step is compared with nothing; its layers are, in other rows"

__all__ = ["ON_GPU", "run"]

Step = Callable[[torch.Tensor], torch.Tensor]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Time both networks; ``rows`` has one row."""
    name, layers, shape, classes = _small() if item["shrink"] else _network()
    dtype = SHRUNK_TYPE if item["shrink"] else torch.bfloat16
    layers = layers.to("cuda", dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = _of_torch(layers)
    images = torch.randn(shape, device="cuda").to(dtype).to(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, shape[:1], device="cuda")
    steps = {
        "svertka": _step(layers, functional.cross_entropy, labels),
        "eager": _step(plain, nn.functional.cross_entropy, labels),
    }
    with shrunk_timing(bool(item["shrink"])):
        times = {road: seconds(step, [images], "cuda") for road, step in steps.items()}
    row: dict[str, Any] = {"name": f"{name} x{shape[0]}", "kind": "training step", "function": "", "direction": "step"}
    row |= {"dtype": str(dtype).removeprefix("torch."), "layout": "channels_last"}
    row |= {"seconds": times, "unchecked": UNCHECKED}
    return {"rows": [row], "failures": []}


def _network() -> tuple[str, nn.Sequential, tuple[int, ...], int]:
    """Its name, AlexNet after its resizing, the shape of its images, its classes."""
    network = AlexNet(classes=CLASSES)
    layers = nn.Sequential(network.features, nn.Flatten(1), network.classifier)
    return "alexnet", layers, (IMAGES, 3, SIDE, SIDE), CLASSES


def _small() -> tuple[str, nn.Sequential, tuple[int, ...], int]:
    """A minimal network with a product, a pooling, a norm and a loss."""
    layers = nn.Sequential(Conv2d(3, 8, 3), CrossChannelNorm(5), ReLU(), MaxPool2d(2), nn.Flatten(1), Linear(72, 4))
    return "little network", layers, (SHRUNK_IMAGES, 3, 8, 8), 4


def _of_torch(layers: nn.Sequential) -> nn.Sequential:
    """The same network, weights included, of PyTorch's own modules."""
    found = copy.deepcopy(layers)
    for module in list(found.modules()):
        for name, child in module.named_children():
            if isinstance(child, CrossChannelNorm):
                setattr(module, name, _local_response(child))
            else:
                child.__class__ = next(base for base in type(child).__mro__ if base.__module__.startswith("torch.nn"))
    return found


def _local_response(norm: CrossChannelNorm) -> nn.LocalResponseNorm:
    assert norm.window_channel_size % 2 == 1, "PyTorch mirrors even windows"
    return nn.LocalResponseNorm(norm.window_channel_size, norm.alpha, norm.beta, norm.k)


def _step(layers: nn.Module, loss: Callable[..., torch.Tensor], labels: torch.Tensor) -> Step:
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-3, momentum=0.9)

    def step(images: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        found = loss(layers(images), labels)
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return found

    return step
