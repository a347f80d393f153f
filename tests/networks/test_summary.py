"""A network's summary against independent counts, runs and experiments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from svertka.generated import (
    AvgPool2d,
    BatchNorm2d,
    BatchNorm2dAddReLU,
    Conv1d,
    Conv2d,
    Conv2dReLU,
    CrossChannelNorm,
    Linear,
    MaxPool1d,
    MaxPool2d,
    ReLU,
)
from svertka.networks import NETWORKS
from svertka.networks.summary import LayerSummary, Summary, summarize

from .given import NARROW, images, narrow

CHANNELS = {"lenet": 1, "alexnet": 3}


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[name](**options)


def calls(network: nn.Module, given: Tensor) -> dict[str, Tensor]:
    """Outputs of the modules without submodules, from a real run."""
    found: dict[str, Tensor] = {}
    names = {m: name for name, m in network.named_modules() if not any(m.children())}
    hooks = [m.register_forward_hook(lambda m, _, out: found.update({names[m]: out})) for m in names]
    with torch.no_grad():
        network(given)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_shapes_and_memory_are_those_of_a_run(name: str, dtype: torch.dtype) -> None:
    """For three images in their own type; the summarized network has another type."""
    network, given = narrow(name), images(CHANNELS[name], 3)
    summary = summarize(network, tuple(given.shape), dtype)
    network, given = network.to(dtype), given.to(dtype)
    found = calls(network, given)
    assert [layer.name for layer in summary.layers] == list(found)
    for layer, output in zip(summary.layers, found.values(), strict=True):
        module = network.get_submodule(layer.name)
        tensors = [*module.parameters(), *module.buffers()]
        assert layer.output == output.shape
        assert layer.output_bytes == output.nbytes
        assert layer.parameters == sum(p.numel() for p in module.parameters())
        assert layer.parameter_bytes == sum(t.nbytes for t in tensors)
    inputs = [given.nbytes, *(output.nbytes for output in found.values())]
    assert summary.working_bytes == max(a + b for a, b in pairwise(inputs))
    assert summary.activation_bytes == sum(inputs[1:])
    assert summary.parameter_bytes == sum(t.nbytes for t in (*network.parameters(), *network.buffers()))


@pytest.mark.parametrize(("options", "parameters"), [({}, 60_965_224), ({"grouped": False}, 62_378_344)])
def test_published_numbers_come_out(options: dict[str, Any], parameters: int) -> None:
    summary = summarize(on_meta("alexnet", **options), (1, 3, 1365, 2048))
    assert summary.parameters == sum(layer.parameters for layer in summary.layers) == parameters
    sides = [layer.output[-1] for layer in summary.layers if layer.window is not None]
    assert sides == [55, 27, 27, 13, 13, 13, 13, 6]


def torch_twin(network: nn.Module) -> nn.Module:
    """Convolutions and fully connected layers become torch's own, for which torch can count operations."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.__class__ = next(kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn"))
    return network


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("batch", [1, 5])
def test_multiply_adds_are_half_of_torchs_count(name: str, batch: int) -> None:
    shape = (batch, CHANNELS[name], 301, 257)
    summary = summarize(on_meta(name), shape)
    with FlopCounterMode(display=False) as counter:
        torch_twin(on_meta(name))(torch.empty(shape, device="meta"))
    assert 2 * summary.multiply_adds == counter.get_total_flops() > 0
    counted = {key.partition(".")[2]: sum(value.values()) for key, value in counter.get_flop_counts().items()}
    for layer in summary.layers:
        assert 2 * layer.multiply_adds == counted.get(layer.name, 0), layer.name


def reached(network: nn.Module, height: int, width: int, places: list[tuple[int, int]]) -> dict[str, Tensor]:
    """For every layer, the elements of its output that become NaN if one pixel is; the first axis counts the pixels."""
    channels = next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    given = torch.ones(len(places), channels, height, width)
    for number, (row, column) in enumerate(places):
        given[number, :, row, column] = torch.nan
    return {name: output.isnan().any(1) for name, output in calls(network, given).items() if output.dim() == 4}


def span(hits: Tensor) -> tuple[int, int]:
    """First and last position that is reached."""
    places = hits.nonzero().flatten()
    return int(places[0]), int(places[-1])


def test_receptive_field_of_alexnet_by_experiment() -> None:
    """A NaN in one row of pixels after another, and the elements that it reaches: every layer propagates NaN."""
    features = narrow("alexnet").get_submodule("features")
    height, width = 288, 67
    summary = summarize(features, (1, 3, height, width))
    with torch.no_grad():
        found = reached(features, height, width, [(row, width // 2) for row in range(height)])
    assert [layer.field.size for layer in summary.layers if layer.field and layer.window] == [
        (n, n) for n in (11, 19, 51, 67, 99, 131, 163, 195)
    ]
    for layer in summary.layers:
        assert layer.field is not None
        hits = found[layer.name].any(-1)  # pixels by rows of the output
        middle = hits.shape[1] // 2
        first, last = span(hits[:, middle])
        assert first > 0
        assert last < height - 1, "the field must lie within the image"
        assert last - first + 1 == layer.field.size[0], layer.name
        assert span(hits[:, middle + 1])[0] - first == layer.field.jump[0], layer.name


def test_receptive_field_of_unequal_windows_by_experiment() -> None:
    """Windows, strides and dilations that differ along the axes; every pixel separately."""
    torch.manual_seed(4)
    network = nn.Sequential(
        Conv2d(1, 2, (3, 2), stride=(2, 1), dilation=(1, 3)),
        CrossChannelNorm(2),
        MaxPool2d((1, 3), stride=(1, 2), dilation=(1, 2)),
        Conv2dReLU(2, 2, (2, 3), padding=1),
        AvgPool2d((3, 2), stride=(1, 2)),
    )
    height, width = 21, 34
    places = [(row, column) for row in range(height) for column in range(width)]
    layers = summarize(network, (1, 1, height, width)).layers
    fields = [(layer.field.size, layer.field.jump) for layer in layers if layer.field is not None]
    assert fields[-1] == ((9, 14), (2, 4))
    for name, hits in reached(network, height, width, places).items():
        layer = next(layer for layer in layers if layer.name == name)
        assert layer.field is not None
        row, column = hits.shape[1] // 2, hits.shape[2] // 2
        here = hits[:, row, column].reshape(height, width)
        sizes = [last - first + 1 for first, last in (span(here.any(1)), span(here.any(0)))]
        assert tuple(sizes) == layer.field.size, name
        beside = hits[:, row - 1, column - 1].reshape(height, width)
        jumps = [span(here.any(axis))[0] - span(beside.any(axis))[0] for axis in (1, 0)]
        assert tuple(jumps) == layer.field.jump, name


class Residual(nn.Module):
    """Two branches that are joined once in a module and once in an addition; one layer runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2d(3, 4, 3, padding=1)
        self.wide = Conv2d(4, 4, 5, padding=2, bias=False)
        self.normalised = BatchNorm2d(4)
        self.meeting = BatchNorm2dAddReLU(4)
        self.rectified = ReLU()
        self.pool = MaxPool2d(2)
        self.full = Linear(4 * 4 * 3, 2)

    def forward(self, given: Tensor) -> Tensor:
        """Two scores."""
        first = self.stem(given)
        second = self.meeting(self.wide(first), first)
        third = self.rectified(self.normalised(self.wide(second)) + torch.cat([first[:, :2], first[:, 2:]], 1))
        return self.full(self.pool(third).flatten(1))  # type: ignore[no-any-return]


def test_branches_keep_the_widest_field() -> None:
    summary = summarize(Residual(), (2, 3, 8, 6))
    fields = {n: layer.field.size for n, layer in enumerate(summary.layers) if layer.field is not None}
    assert [layer.name for layer in summary.layers] == (
        ["stem", "wide", "meeting", "wide", "normalised", "rectified", "pool", "full"]
    )
    full = (12 + 3 * 2, 12 + 2 * 2)  # four rows and three columns of windows of 12 pixels, two apart
    assert list(fields.values()) == [(3, 3), (7, 7), (7, 7), (11, 11), (11, 11), (11, 11), (12, 12), full]


def test_what_is_shared_counts_once() -> None:
    """The layer that runs twice multiplies twice; its parameters count once."""
    summary = summarize(Residual(), (2, 3, 8, 6))
    wide = [layer for layer in summary.layers if layer.name == "wide"]
    assert [layer.multiply_adds for layer in wide] == [2 * 4 * 8 * 6 * 4 * 25] * 2
    assert summary.parameters == sum(p.numel() for p in Residual().parameters())
    assert summary.parameters == sum(layer.parameters for layer in summary.layers) - wide[0].parameters


def test_one_axis() -> None:
    network = nn.Sequential(Conv1d(3, 4, 5, stride=2), MaxPool1d(3, stride=1))
    layers = summarize(network, (2, 3, 40)).layers
    assert [layer.output for layer in layers] == [(2, 4, 18), (2, 4, 16)]
    assert [(layer.field.size, layer.field.jump) for layer in layers if layer.field] == [((5,), (2,)), ((9,), (2,))]


def settings(network: nn.Module) -> Iterator[Any]:
    for module in network.modules():
        yield module.training, len(module._forward_hooks), module.extra_repr()
    for tensor in (*network.parameters(), *network.buffers()):
        yield id(tensor), tensor.device, tensor.dtype, tensor._version


def test_the_network_is_left_as_it_was() -> None:
    """Also in training, where dropout would draw numbers; and if the run fails."""
    network, state = narrow("alexnet").train(), torch.get_rng_state()
    network.get_submodule("classifier").eval()
    before = list(settings(network))
    summarize(network, (1, 3, 50, 40), torch.bfloat16)
    with pytest.raises(ValueError, match=r"std\.shape"):
        summarize(network, (1, 2, 50, 40))
    assert list(settings(network)) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("image", "dtype", "error", "words"),
    [
        ((3, 224), torch.float32, ValueError, ("image=(3, 224)", "(N, channels, *pixels)", "(1, 3, 224, 224)")),
        ((1, 3, 0, 5), torch.float32, ValueError, ("image=(1, 3, 0, 5)", "positive")),
        ((1, 3, 9, 5), torch.int32, TypeError, ("dtype=torch.int32", "torch.float32")),
    ],
)
def test_refusals_name_the_remedy(
    image: tuple[int, ...], dtype: torch.dtype, error: type[Exception], words: tuple[str, ...]
) -> None:
    with pytest.raises(error) as refused:
        summarize(narrow("alexnet"), image, dtype)
    assert all(word in str(refused.value) for word in words)


def test_the_same_wherever_the_network_lies() -> None:
    lying = summarize(narrow("alexnet"), (1, 3, 50, 40)).layers
    away = summarize(on_meta("alexnet", **NARROW), (1, 3, 50, 40)).layers
    assert [told(layer) for layer in lying[1:]] == [told(layer) for layer in away[1:]]


def told(layer: LayerSummary) -> tuple[Any, ...]:
    return layer.name, layer.output, layer.parameters, layer.multiply_adds, layer.field, layer.parameter_bytes


def test_a_network_of_nothing() -> None:
    summary: Summary = summarize(nn.Sequential(), (2, 3, 4, 5))
    assert (summary.layers, summary.parameters, summary.multiply_adds) == ((), 0, 0)
    assert summary.working_bytes == summary.image_bytes == 2 * 3 * 4 * 5 * 4
