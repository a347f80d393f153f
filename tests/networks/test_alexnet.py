"""AlexNet: published numbers, initial parameters, groups, types and layouts, refusals."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from svertka.generated import CrossChannelNorm, CrossEntropyLoss
from svertka.networks import NETWORKS, AlexNet
from svertka.spec import FORMATS

from .chained import bounded, on_the_host
from .given import NARROW, images, narrow, of_both_signs, without_cancellation


@pytest.mark.parametrize(("grouped", "parameters"), [(True, 60_965_224), (False, 62_378_344)])
def test_published_numbers_of_parameters(grouped: bool, parameters: int) -> None:
    with torch.device("meta"):
        network = AlexNet(grouped=grouped)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_made_of_generated_layers_alone() -> None:
    for constructor in NETWORKS.values():
        with torch.device("meta"):
            network = constructor()
        leaves = {type(m).__module__ for m in network.modules() if not any(m.children())}
        assert leaves == {"svertka.generated.modules"}


def test_order_of_layers() -> None:
    """Norms after the first two ReLUs, pools after norms and the fifth ReLU, dropout before two linear layers."""
    network = narrow("alexnet")
    kinds = [type(m).__name__ for m in network.modules() if not any(m.children())]
    norm, last = ["Conv2d", "ReLU", "CrossChannelNorm", "MaxPool2d"], ["Conv2d", "ReLU", "MaxPool2d"]
    full = ["Dropout", "Linear", "ReLU"]
    assert kinds == ["ImageInput", *norm, *norm, *["Conv2d", "ReLU"] * 2, *last, *full, *full, "Linear"]


def test_starts_as_published() -> None:
    """Biases of 1 where the paper has them; weights normal with deviation 0.01.

    The mean of n such weights is within 6 / sqrt(n) deviations, with probability 1 - 2e-9, and their mean square within
    6 sqrt(2 / n) of its own.
    """
    torch.manual_seed(0)
    network = AlexNet(maps=(16, 32, 32, 32, 32), units=64)
    ones = {name for name, p in network.named_parameters() if name.endswith("bias") and bool((p == 1).all())}
    zeros = {name for name, p in network.named_parameters() if name.endswith("bias") and bool((p == 0).all())}
    assert ones == {f"{part}.bias" for part in ("features.conv2", "features.conv4", "features.conv5")} | {
        "classifier.full1.bias",
        "classifier.full2.bias",
    }
    assert zeros == {"features.conv1.bias", "features.conv3.bias", "classifier.full3.bias"}
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            values, count = parameter.detach().double() / 0.01, parameter.numel()
            assert abs(float(values.mean())) < 6 / count**0.5
            assert abs(float(values.square().mean()) - 1) < 6 * (2 / count) ** 0.5


def test_norm_is_the_papers() -> None:
    """Quotient a / (2 + 1e-4 * sum of squares over five channels)^0.75; the sum is not divided."""
    norm = narrow("alexnet").get_submodule("features.norm1")
    values = 200 * torch.rand(2, 7, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squares = np.square(np.pad(values.numpy(), ((0, 0), (2, 2), (0, 0), (0, 0))))
    total = sum(squares[:, place : place + 7] for place in range(5))
    paper = torch.from_numpy(values.numpy() / (2 + 1e-4 * total) ** 0.75)
    limit = bounded(norm, values, FORMATS["float64"]).error
    assert bool(((norm(values) - paper).abs() <= 2 * limit).all())
    assert bool(((CrossChannelNorm(5)(values) - paper).abs() > 2 * limit).all())


def ungrouped_twin(grouped: nn.Module) -> nn.Module:
    """The same without groups: kernels extended by zeros for the other group's maps."""
    twin, state = narrow("alexnet", grouped=False), dict(grouped.state_dict())
    for name, parameter in twin.named_parameters():
        weight = state[name]
        if weight.shape != parameter.shape:
            halves, nothing = weight.chunk(2), torch.zeros_like(weight.chunk(2)[0])
            state[name] = torch.cat([torch.cat([halves[0], nothing], 1), torch.cat([nothing, halves[1]], 1)])
    twin.load_state_dict(state)
    return twin


def test_groups_are_kernels_with_zeros_for_the_other_half() -> None:
    network = without_cancellation(narrow("alexnet"))
    twin, given = ungrouped_twin(network), images(3, 1)
    assert sum(map(torch.numel, twin.parameters())) > sum(map(torch.numel, network.parameters()))
    limits = [
        bounded(copy.deepcopy(n).double(), given.double(), on_the_host(torch.float32)).error for n in (network, twin)
    ]
    with torch.no_grad():
        assert bool(((network(given) - twin(given)).abs() <= limits[0] + limits[1]).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_types_and_layouts(dtype: torch.dtype) -> None:
    """Channels last is another order in memory and the same numbers; the meta device has only shapes."""
    network, given = of_both_signs(narrow("alexnet")).to(dtype), images(3).to(dtype)
    scores = network(given).detach()
    assert scores.dtype == dtype
    assert len(scores.unique()) > NARROW["classes"]
    last = network.to(memory_format=torch.channels_last)
    assert torch.equal(last(given.to(memory_format=torch.channels_last)).detach(), scores)
    away = copy.deepcopy(network).to("meta")(given.to("meta"))
    assert (away.shape, away.dtype, away.is_meta) == (scores.shape, dtype, True)


def test_every_parameter_learns() -> None:
    """In training, with dropout, a loss has a gradient for every tensor."""
    network = of_both_signs(narrow("alexnet", grouped=True)).train()
    given, labels = images(3), torch.tensor([1, 4])
    torch.manual_seed(0)
    CrossEntropyLoss()(network(given), labels).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name
        assert bool(parameter.grad.isfinite().all()), name
    outcomes = {tuple(network(given).detach().flatten().tolist()) for _ in range(4)}
    assert len(outcomes) > 1
    network.eval()
    assert torch.equal(network(given), network(given))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maps": (6, 8, 10)}, ("maps=(6, 8, 10)", "five", "one a convolution")),
        ({"maps": (6, 8, 10, 12, 0)}, ("maps=(6, 8, 10, 12, 0)", "positive")),
        ({"maps": (6, 8, 9, 12, 14)}, ("9 maps", "2 groups", "grouped=False")),
    ],
)
def test_refusals_name_the_remedy(options: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="maps=") as refused:
        AlexNet(**options)
    assert all(word in str(refused.value) for word in words)


def test_odd_numbers_of_maps_without_groups() -> None:
    network = AlexNet(**{**NARROW, "maps": (3, 5, 7, 9, 11)}, grouped=False)
    assert network(images(3)).shape == (2, NARROW["classes"])
