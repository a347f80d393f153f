"""Converted networks under ``torch.compile``: one graph, two sizes of images, torch's numbers."""

from __future__ import annotations

import copy

import pytest
import torch

from svertka import convert

from .agreement import bounds, results, still
from .catalogue import Network, named

NAMES = ("UNet", "DenseNet", "ResNet in 3-D", "SegResNet", "nin_cifar10")


def _larger(network: Network) -> Network:
    """The same with images of another size."""
    *rest, height, width = network.shape
    return Network(network.name, network.package, network.make, (*rest, height + 16, width + 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "fused"])
def test_one_graph_for_two_sizes(name: str, fuse: bool) -> None:
    """``fullgraph=True`` raises if the graph would break; outputs and gradients are torch's at both sizes."""
    torch.compiler.reset()
    network = named(name)
    theirs = network.built()
    ours, _ = convert(copy.deepcopy(theirs), fuse=fuse)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    with still(theirs), still(ours):
        for one in (network, _larger(network)):
            expected = bounds(theirs, one.images())
            found = results(compiled, one.images())
            plain = {name.removeprefix("_orig_mod."): value for name, value in found.gradients.items()}
            buffers = {name.removeprefix("_orig_mod."): value for name, value in found.buffers.items()}
            expected.check(type(found)(found.outputs, plain, buffers))
