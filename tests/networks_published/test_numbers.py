"""Outputs and every gradient of converted networks agree with torch, in evaluation and in training, fused or not."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from svertka import Report, convert, revert

from .agreement import Bounds, bounds, results, still
from .catalogue import NETWORKS, Network
from .table import Row, note

RATE = 0.125
CASES = [(network, training) for network in NETWORKS for training in (False, True) if not (network.large and training)]


@dataclass(frozen=True)
class Case:
    """A network in one of its two modes.

    Attributes:
        network: the network.
        built: the network as its package builds it.
        ran: the same after one run, with its gradients.
        bounds: the results of that run, and the largest differences by rounding.
    """

    network: Network
    built: nn.Module
    ran: nn.Module
    bounds: Bounds


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: f"{case[0].name}-{'training' if case[1] else 'evaluation'}"
)
def case(request: pytest.FixtureRequest) -> Case:
    network, training = request.param
    pytest.importorskip(network.package, reason="`make` installs it beside the development extra")
    built = network.built().train(training)
    ran = copy.deepcopy(built)
    with still(ran):
        return Case(network, built, ran, bounds(ran, network.images()))


@pytest.mark.thinned(12)
def test_numbers_and_a_step_of_the_optimizer(case: Case) -> None:
    """Results are torch's, and an optimizer made before the conversion moves the parameters as with torch's layers."""
    ours = copy.deepcopy(case.built)
    optimizer = torch.optim.SGD(ours.parameters(), lr=RATE)
    _, report = convert(ours)
    assert report.converted
    assert list(ours.state_dict()) == list(case.built.state_dict())
    with still(ours):
        _noted(case, report, case.bounds.check(results(ours, case.network.images())), fuse=False)
    optimizer.step()
    moved = 0
    for (name, mine), before in zip(ours.named_parameters(), case.built.parameters(), strict=True):
        gradient = case.bounds.expected.gradients.get(name)
        theirs = before.detach() if gradient is None else before.detach() - RATE * gradient
        allowed = RATE * case.bounds.allowed["gradients"].get(name, 0.0) + 2.0**-52 * float(theirs.abs().max())
        assert float((mine.detach() - theirs).abs().max()) <= allowed, name
        moved += not torch.equal(mine, before)
    assert moved


@pytest.mark.thinned(10)
def test_fused_and_reverted(case: Case) -> None:
    """Fused chains give torch's results; after reverting, the network has torch's classes and gives the same bits."""
    if case.network.large:
        pytest.skip("it has no normalization, and its only chains are those of smaller networks")
    ours = copy.deepcopy(case.built)
    _, report = convert(ours, fuse=True)
    assert list(ours.state_dict()) == list(case.built.state_dict())
    with still(ours):
        _noted(case, report, case.bounds.check(results(ours, case.network.images())), fuse=True)
    ours.load_state_dict(case.built.state_dict())
    revert(ours)
    assert [type(one) for one in ours.modules()] == [type(one) for one in case.built.modules()]
    with torch.no_grad(), still(ours), still(case.built):
        found, expected = (_forward(network, case.network) for network in (ours, copy.deepcopy(case.built)))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def _noted(case: Case, report: Report, measured: tuple[dict[str, float], float], fuse: bool) -> None:
    """Record the values of the table."""
    largest, share = measured
    mode = "training" if case.built.training else "evaluation"
    parameters = sum(parameter.numel() for parameter in case.built.parameters())
    counts = parameters, len(report.converted), len(report.left), len(report.fused)
    note(Row(case.network.name, mode, fuse, *counts, largest["outputs"], largest["gradients"], share))


def _forward(model: nn.Module, network: Network) -> object:
    torch.manual_seed(0)
    return model(network.images())
