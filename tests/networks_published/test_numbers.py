"""Outputs and every gradient of converted networks are torch's, in evaluation and in training, fused or not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from svertka import convert, revert

from .agreement import Bounds, bounds, results, still
from .catalogue import NETWORKS, Network

MODES = ("evaluation", "training")


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.name)
def network(request: pytest.FixtureRequest) -> Network:
    found: Network = request.param
    return found


@pytest.fixture(scope="module", params=MODES)
def torchs(request: pytest.FixtureRequest, network: Network) -> tuple[nn.Module, nn.Module, Bounds]:
    """torch's network as it was built, the same after one run, and its results."""
    built = network.built().train(request.param == "training")
    ran = copy.deepcopy(built)
    with still(ran):
        return built, ran, bounds(ran, network.images())


@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "fused"])
def test_outputs_gradients_and_estimates(
    network: Network, torchs: tuple[nn.Module, nn.Module, Bounds], fuse: bool
) -> None:
    built, _, expected = torchs
    ours, report = convert(copy.deepcopy(built), fuse=fuse)
    assert report.converted
    assert list(ours.state_dict()) == list(built.state_dict())
    with still(ours):
        expected.check(results(ours, network.images()))


def test_a_step_of_the_optimizer(network: Network, torchs: tuple[nn.Module, nn.Module, Bounds]) -> None:
    """An optimizer made before the conversion trains the converted network as torch's."""
    built, ran, expected = torchs
    rate, ours, theirs = 0.125, copy.deepcopy(built), copy.deepcopy(ran)
    optimizer = torch.optim.SGD(ours.parameters(), lr=rate)
    convert(ours)
    with still(ours):
        results(ours, network.images())
    for (name, parameter), before in zip(theirs.named_parameters(), ran.parameters(), strict=True):
        parameter.grad = expected.expected.gradients.get(name)
        assert torch.equal(parameter, before)
    optimizer.step()
    torch.optim.SGD(theirs.parameters(), lr=rate).step()
    moved = 0
    for (name, mine), parameter in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        allowed = rate * expected.allowed["gradients"].get(name, 0.0) + 2.0**-52 * float(parameter.detach().abs().max())
        assert float((mine - parameter).abs().max()) <= allowed, name
        moved += int(not torch.equal(mine, dict(built.named_parameters())[name]))
    assert moved


def test_reverted_networks_are_torchs(network: Network) -> None:
    """Classes are the old ones, and results are the same to the last bit."""
    built = network.built().eval()
    there = revert(convert(copy.deepcopy(built), fuse=True)[0])[0]
    assert [type(one) for one in there.modules()] == [type(one) for one in built.modules()]
    with torch.no_grad():
        torch.manual_seed(0)
        before = built(network.images())
        torch.manual_seed(0)
        after = there(network.images())
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
