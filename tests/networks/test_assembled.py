"""The networks and their assemblies from the reference: equal if they round alike, otherwise within the derived bound.

The bound comes from the formulas of the layers, chained (``chained``). With parameters whose sums do not cancel it is
so small that every fault planted in the assembly lies outside.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from svertka import reference
from svertka.generated import Conv2d, CrossChannelNorm, Linear, MaxPool2d, ReLU, Softmax
from svertka.networks import AlexNet
from svertka.networks.assembled import ASSEMBLED, arrays_of
from svertka.networks.photograph import tensor_of
from svertka.reference.arrays import Array
from svertka.spec import FORMATS
from svertka.spec.running_error import Bounded, Format, on_matrix_unit

from .chained import bounded, on_the_host
from .given import images, narrow, of_both_signs, photograph, without_cancellation

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
CHANNELS = {"lenet": 1, "alexnet": 3}
NETWORKS: list[tuple[str, dict[str, Any]]] = [("lenet", {}), ("alexnet", {}), ("alexnet", {"grouped": False})]


def assembled(name: str, network: nn.Module, given: torch.Tensor) -> Array:
    """The scores from the reference alone, in float64 throughout."""
    return ASSEMBLED[name](given.double().numpy(), arrays_of(network.state_dict()))


def limits(network: nn.Module, given: torch.Tensor, target: Format) -> Bounded:
    """The formulas' values, and the largest difference of a run in a format and one in float64.

    Both lie within the format's bound of the formulas' values, since float64 rounds no worse.
    """
    found = bounded(copy.deepcopy(network).cpu().double(), given.cpu().double(), target)
    return Bounded(found.value, 2 * found.error)


def run(network: nn.Module, given: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        scores: torch.Tensor = network(given)
    return scores


def far(found: Any, expected: Any, limit: Bounded) -> int:
    """Number of scores outside the bound; NaN counts as outside."""
    difference = torch.as_tensor(found).double() - torch.as_tensor(expected).double()
    return int((~(difference.abs() <= limit.error)).sum())


@pytest.mark.parametrize(("name", "options"), NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rounded_after_every_layer_they_are_equal(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    """The assembly in the modules' own type: equal to the last bit."""
    network = of_both_signs(narrow(name, **options)).to(dtype)
    given = images(CHANNELS[name]).to(dtype)
    found = ASSEMBLED[name](given.numpy(), arrays_of(network.state_dict()))
    assert torch.equal(torch.from_numpy(found), run(network, given))
    assert len(np.unique(found)) == found.size


@pytest.mark.parametrize(("name", "options"), NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_within_the_derived_bound(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    network = without_cancellation(narrow(name, **options)).to(dtype)
    given = images(CHANNELS[name], 1).to(dtype)
    limit, expected = limits(network, given, on_the_host(dtype)), assembled(name, network, given)
    assert not far(run(network, given), expected, limit)
    assert not far(limit.value, expected, limit)
    # A bound as large as the scores would prove nothing; half precision has eight or eleven bits for a dozen layers.
    assert float(limit.error.max()) < float(limit.value.abs().max())


@pytest.mark.parametrize("name", CHANNELS)
def test_probabilities_within_the_derived_bound(name: str) -> None:
    network = nn.Sequential(without_cancellation(narrow(name)), Softmax(dim=1))
    if name == "alexnet":  # scores about 255 apart would leave only one class
        with torch.no_grad():
            network[0].classifier.full3.weight.div_(64)  # type: ignore[union-attr, operator]
    given = images(CHANNELS[name], 1)
    limit = limits(network, given, on_the_host(torch.float32))
    expected = reference.softmax(assembled(name, network[0], given), dim=1)
    assert not far(run(network, given), expected, limit)
    assert expected.max() < 1 - float(limit.error.max())


Fault = Callable[[pytest.MonkeyPatch], None]


def changed(function: str, change: Callable[..., Any]) -> Fault:
    """Plant a fault in a function of the reference: ``change(original, *arguments)`` replaces it."""
    original = getattr(reference, function)

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(reference, function, lambda *given, **named: change(original, *given, **named))

    return plant


def to_one_side(original: Any, maps: Array, weight: Array, bias: Array, stride: int, padding: int, groups: int) -> Any:
    return original(maps, weight, bias, stride, ((2 * padding, 0), (2 * padding, 0)), groups=groups)


def groups_exchanged(original: Any, maps: Array, weight: Array, *rest: Any, groups: int) -> Any:
    return original(np.roll(maps, maps.shape[1] // 2, axis=1) if groups > 1 else maps, weight, *rest, groups=groups)


FAULTS: dict[str, Fault] = {
    "relu left out": changed("relu", lambda original, maps: maps),
    "norm divided by its window": changed(
        "cross_channel_norm", lambda f, maps, window, k, alpha, beta: f(maps, window, k, alpha / window, beta)
    ),
    "norm over three channels": changed(
        "cross_channel_norm", lambda f, maps, window, k, alpha, beta: f(maps, 3, k, alpha * 3 / 5, beta)
    ),
    "pooling that does not overlap": changed("max_pool2d", lambda f, maps, size, stride=2: f(maps, 2, stride)),
    "average pooling": changed("max_pool2d", lambda f, maps, size, stride=2: reference.avg_pool2d(maps, size, stride)),
    "padding to one side": changed("conv2d", to_one_side),
    "groups exchanged": changed("conv2d", groups_exchanged),
    "bias left out": changed("linear", lambda f, units, weight, bias: f(units, weight)),
    "no antialiasing": changed("image_input", lambda f, *given: f(*given, antialias=False)),
    "colours reversed": changed("image_input", lambda f, given, *rest: f(given[:, ::-1], *rest)),
}
HARMLESS = {
    "lenet": {
        "norm divided by its window",
        "norm over three channels",
        "pooling that does not overlap",
        "padding to one side",
        "groups exchanged",
        "colours reversed",
    },
    "alexnet": set(),
}
"""Changes without effect, because LeNet-5 has no such layer."""


@pytest.mark.parametrize("name", CHANNELS)
def test_a_fault_lies_outside_the_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = without_cancellation(narrow(name))
    given = images(CHANNELS[name], 1, 301, 257)
    scores, limit = run(network, given), limits(network, given, on_the_host(torch.float32))
    seen = set()
    for fault, plant in FAULTS.items():
        with monkeypatch.context() as patch:
            plant(patch)
            if far(scores, assembled(name, network, given), limit):
                seen.add(fault)
    assert seen == set(FAULTS) - HARMLESS[name]


@pytest.mark.slow
def test_the_published_network_on_a_photograph() -> None:
    """AlexNet in full size, 2048 x 1365 to a thousand scores."""
    torch.manual_seed(3)
    network = without_cancellation(AlexNet(std=[1 / 255] * 3).eval())
    given = tensor_of(photograph())
    expected, limit = assembled("alexnet", network, given), limits(network, given, on_the_host(torch.float32))
    assert not far(run(network, given), expected, limit)
    assert not far(limit.value, expected, limit)
    first, second = limit.value[0].topk(2).values
    assert first - second > limit.error.max()  # so small that no rounding can change the class


class Small(nn.Module):
    """A network like both, small enough for the interpreter."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Conv2d(2, 4, (3, 2), stride=(1, 2), padding=1, groups=2),
            ReLU(),
            CrossChannelNorm(3, alpha=3.0),
            MaxPool2d(2),
        )
        self.full = Linear(4 * 4 * 3, 5)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Scores of five classes."""
        scores: torch.Tensor = self.full(self.features(given).flatten(1))
        return scores


def small_assembled(given: Array, state: dict[str, Array]) -> Array:
    weight, bias = state["features.0.weight"], state["features.0.bias"]
    maps = reference.relu(reference.conv2d(given, weight, bias, (1, 2), 1, groups=2))
    maps = np.asarray(reference.max_pool2d(reference.cross_channel_norm(maps, 3, alpha=3.0), 2))
    return reference.linear(maps.reshape(len(maps), -1), state["full.weight"], state["full.bias"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kernels_within_the_derived_bound(dtype: torch.dtype, kernels: str) -> None:
    """The same for the forward kernels."""
    network, given = without_cancellation(Small()).to(dtype), images(2, 3, 9, 11).to(dtype)
    kind = FORMATS[str(dtype).removeprefix("torch.")]
    limit = limits(network, given, on_matrix_unit(kind) if kernels == "cuda" else kind)
    found = run(network.to(kernels), given.to(kernels)).cpu()
    expected = small_assembled(given.double().numpy(), arrays_of(network.state_dict()))
    assert not far(found, expected, limit)
    assert not far(limit.value, expected, limit)
    assert float(limit.error.max()) < float(limit.value.abs().max())


@pytest.mark.parametrize("name", CHANNELS)
def test_kernels_run_a_whole_network(name: str, kernels: str) -> None:
    """LeNet-5 and the narrow AlexNet, from an image on."""
    network, given = without_cancellation(narrow(name)), images(CHANNELS[name], 1, 37, 35)
    kind = FORMATS["float32"]
    limit = limits(network, given, on_matrix_unit(kind) if kernels == "cuda" else kind)
    found = run(network.to(kernels), given.to(kernels)).cpu()
    assert not far(found, assembled(name, network, given), limit)
