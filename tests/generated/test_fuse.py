"""``convert(fuse=True)``: which chains are fused, which are left, and that nothing else changes."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from svertka import convert, revert
from svertka.generated import CrossChannelNorm, runtime
from svertka.generated.convertible import CHAINS
from svertka.spec.layers import DEFINITIONS

CHANNELS, SHAPE = 4, (3, 4, 6, 5)


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)


class Given(nn.Module):
    """Layers, and a forward that the test passes."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.bn = nn.BatchNorm2d(CHANNELS)
        self.other = nn.BatchNorm2d(CHANNELS)
        self.relu = nn.ReLU()
        self.overwrite = nn.ReLU(inplace=True)
        self.lrn = nn.LocalResponseNorm(3, alpha=1.5, k=2.0)
        self.even = nn.LocalResponseNorm(4, alpha=1.5, k=2.0)
        self.across = CrossChannelNorm(4, alpha=1.5)
        self.body = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.BatchNorm2d(CHANNELS))
        self.own = forward

    def forward(self, x: Tensor) -> Any:
        return self.own(self, x)


def made(forward: Callable[[Any, Tensor], Any]) -> Given:
    torch.manual_seed(0)
    model = Given(forward).double()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    return model


BOTH, ADDED, CONV, ACROSS = "BatchNorm2dReLU", "BatchNorm2dAddReLU", "Conv2dReLU", "ReLUCrossChannelNorm"

FUSED: dict[str, tuple[Callable[[Any, Tensor], Any], list[tuple[str, str]]]] = {
    "module": (lambda m, x: m.relu(m.bn(x)), [("bn", BOTH)]),
    "module in place": (lambda m, x: m.overwrite(m.bn(x)), [("bn", BOTH)]),
    "functional": (lambda m, x: F.relu(m.bn(x)), [("bn", BOTH)]),
    "functional in place": (lambda m, x: F.relu(m.bn(x), inplace=True), [("bn", BOTH)]),
    "torch's": (lambda m, x: torch.relu(m.bn(x)), [("bn", BOTH)]),
    "torch's in place": (lambda m, x: torch.relu_(m.bn(x)), [("bn", BOTH)]),
    "method": (lambda m, x: m.bn(x).relu(), [("bn", BOTH)]),
    "method in place": (lambda m, x: m.bn(x).relu_(), [("bn", BOTH)]),
    "convolution": (lambda m, x: m.overwrite(m.conv(x)), [("conv", CONV)]),
    "residual": (lambda m, x: m.relu(m.body(x) + x), [("body.1", ADDED)]),
    "residual first": (lambda m, x: m.relu(x + m.bn(m.conv(x))), [("bn", ADDED)]),
    "residual by a method": (lambda m, x: m.bn(x).add(x).relu(), [("bn", ADDED)]),
    "residual in place": (lambda m, x: m.bn(x).add_(x).relu_(), [("bn", ADDED)]),
    "residual by a function": (lambda m, x: F.relu(torch.add(m.bn(x), x)), [("bn", ADDED)]),
    "two normalized": (lambda m, x: F.relu(m.bn(x) + m.other(m.conv(x))), [("bn", ADDED)]),
    "across channels": (lambda m, x: m.lrn(m.relu(x)), [("lrn", ACROSS)]),
    "across channels of our own": (lambda m, x: m.across(F.relu(x)), [("across", ACROSS)]),
    "a norm of both summands": (lambda m, x: m.relu(m.bn(x) + m.bn(m.conv(x))), [("bn", ADDED)]),
    "state changed by a chain on the way": (
        lambda m, x: (lambda u: (lambda v: v + m.relu(u))(m.relu(m.bn(m.conv(x)))))(m.bn(x)),
        [("bn", BOTH)],
    ),
    "a layer used twice": (lambda m, x: m.relu(m.bn(m.relu(m.bn(x)))), [("bn", BOTH), ("bn", BOTH)]),
}
LEFT: dict[str, Callable[[Any, Tensor], Any]] = {
    "used twice": lambda m, x: (lambda y: m.relu(y) + y)(m.bn(x)),
    "given out": lambda m, x: (lambda y: (m.relu(y), y))(m.bn(x)),
    "added to itself": lambda m, x: (lambda y: m.relu(y + y))(m.bn(x)),
    "scaled on the way": lambda m, x: m.relu(torch.add(m.bn(x), x, alpha=2)),
    "overwritten residual": lambda m, x: (lambda c: (lambda y: m.relu(c.add_(m.bn(y))) + c)(m.conv(x)))(m.conv(x) * 1),
    "an even window": lambda m, x: m.even(m.relu(x)),
    "input overwritten": lambda m, x: (lambda c: m.lrn(m.overwrite(c)) + c)(m.conv(x) * 1),
    "no activation": lambda m, x: m.bn(m.conv(x)),
    "state changed on the way": lambda m, x: (lambda u, v: v + m.relu(u))(m.bn(x), m.bn(m.conv(x))),
    "state read on the way": lambda m, x: (lambda u, mean: m.relu(u) + mean)(m.bn(x), m.bn.running_mean.sum()),
    "state read before": lambda m, x: (lambda mean, u: m.relu(u) + mean)(m.bn.running_mean.sum(), m.bn(x)),
}


def test_chains_are_what_composed_definitions_say() -> None:
    composed = {d.function: [p.definition.function for p in d.parts] for d in DEFINITIONS.values() if d.parts}
    assert {chain.function: [part.function for part in chain.parts] for chain in CHAINS} == composed
    assert {chain.own.__name__ for chain in CHAINS} == {BOTH, ADDED, CONV, ACROSS}


def results(model: nn.Module, values: Tensor) -> list[Tensor]:
    """Outputs, all gradients, all buffers."""
    model.zero_grad()
    given = values.clone().requires_grad_()
    found = model(given * 1)
    outputs = found if isinstance(found, tuple) else (found,)
    weights = torch.linspace(0.5, 1.5, outputs[0].numel(), dtype=values.dtype).view(outputs[0].shape)
    sum((one * weights).sum() for one in outputs).backward()
    assert given.grad is not None
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [*(one.detach() for one in outputs), given.grad, *gradients, *(b.clone() for b in model.buffers())]


def agree(model: nn.Module, values: Tensor, fused: nn.Module) -> None:
    for mode in (True, False):
        pairs = zip(results(fused.train(mode), values), results(model.train(mode), values), strict=True)
        for found, expected in pairs:
            # A chain has its layers' rounding errors, up to a multiple of the unit roundoff.
            bound = 256 * torch.finfo(values.dtype).eps * (1 + float(expected.abs().max()))
            assert float((found - expected).abs().max()) <= bound


def values() -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FUSED)
def test_a_chain_is_computed_as_one(name: str) -> None:
    forward, chains = FUSED[name]
    model = made(forward)
    fused, report = convert(copy.deepcopy(model), fuse=True)
    assert sorted((e.name, e.after) for e in report.fused) == sorted(chains)
    assert not report.unfused
    assert list(fused.state_dict()) == list(model.state_dict())
    agree(model, values(), fused)
    back, report = revert(fused)
    assert sorted((e.name, e.before) for e in report.fused) == sorted(chains)
    assert [type(one) for one in back.modules()] == [
        CrossChannelNorm if one is model.across else type(one) for one in model.modules()
    ]


@pytest.mark.parametrize("name", LEFT)
def test_a_chain_is_left_where_it_is_not_one(name: str) -> None:
    model = made(LEFT[name])
    fused, report = convert(copy.deepcopy(model), fuse=True)
    assert not report.fused
    assert not report.unfused
    assert type(fused) is Given
    agree(model, values(), fused)


def test_what_is_overwritten_in_between_was_read_before() -> None:
    """The chain would be computed at its last layer, and read the value that is there then."""

    def forward(m: Any, x: Tensor) -> Tensor:
        c = m.conv(x)
        y = m.bn(c)
        z = c.mul_(2)
        return m.relu(y + z)  # type: ignore[no-any-return]

    model = made(forward).eval()
    fused, report = convert(copy.deepcopy(model), fuse=True)
    assert not report.fused
    with torch.no_grad():
        torch.testing.assert_close(fused(values()), model(values()))


def test_hooks_keep_a_chain_apart() -> None:
    for name in ("bn", "relu"):
        model, called = made(FUSED["module"][0]), []
        getattr(model, name).register_forward_hook(lambda *_, called=called: called.append(1))
        _, report = convert(model, fuse=True)
        assert not report.fused
        model(values())
        assert called


def test_hooks_that_come_later_on_the_layer_with_state_are_called() -> None:
    model, called = made(FUSED["module"][0]), []
    convert(model, fuse=True)
    model.bn.register_forward_hook(lambda *_: called.append(1))
    model(values())
    assert called


def test_hooks_of_a_block_are_called() -> None:
    """A module with hooks keeps its forward; chains within it are found, chains across its boundary are not."""
    model, called = made(lambda m, x: m.relu(m.body(x))), []
    model.body.append(nn.ReLU()).append(nn.Identity())
    model.body.register_forward_hook(lambda *_: called.append(1))
    _, report = convert(model, fuse=True)
    assert [(e.name, e.after) for e in report.fused] == [("body.1", BOTH)]
    model.double()(values())
    assert called == [1]


class Drawing(nn.Module):
    """A forward that a trace would make constant, around a chain that it would not."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.scale, self.calls, self.own = 2.0, 0, forward
        self.bn, self.relu = nn.BatchNorm2d(CHANNELS), nn.ReLU()
        self.inner = nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU())

    def forward(self, x: Tensor) -> Any:
        return self.own(self, x)


def _counted(m: Any, x: Tensor) -> Tensor:
    m.calls += 1
    return m.inner(m.relu(m.bn(x)))  # type: ignore[no-any-return]


UNTRACED: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "data": (lambda m, x: m.inner(m.relu(m.bn(x)) if x.sum() > 0 else x), "TraceError"),
    "types": (lambda m, x: m.inner(m.relu(m.bn(x)) if isinstance(x, Tensor) else x), "isinstance"),
    "training": (lambda m, x: m.inner(m.relu(m.bn(x)) if m.training else x), "whether it is training"),
    "random": (lambda m, x: m.inner(m.relu(m.bn(x)) if random.random() < 0.5 else x), "random numbers"),
    "random tensors": (lambda m, x: m.inner(m.relu(m.bn(x)) * torch.rand(())), "random numbers"),
    "constants": (lambda m, x: m.inner(m.relu(m.bn(x)) + torch.ones(1)), "do not depend on its input"),
    "state": (_counted, "writes to calls"),
}


@pytest.mark.parametrize("name", UNTRACED)
def test_what_cannot_be_traced_is_left_with_the_reason(name: str) -> None:
    """The model runs its own forward; traceable modules inside it are fused nevertheless."""
    forward, reason = UNTRACED[name]
    model = Drawing(forward)
    before = torch.get_rng_state(), random.getstate(), dict(vars(model))
    _, report = convert(model, fuse=True)
    assert [(e.name, e.before) for e in report.unfused] == [("", "Drawing")]
    assert reason in report.unfused[0].reason
    assert reason in str(report)
    assert [(e.name, e.after) for e in report.fused] == [("inner.0", BOTH)]
    assert type(model) is Drawing
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), dict(vars(model))) == before[1:]


def test_a_residual_of_another_shape_is_added_as_torch_adds() -> None:
    model = made(lambda m, x: F.relu(m.bn(x) + x.mean((2, 3), keepdim=True)))
    fused, report = convert(copy.deepcopy(model), fuse=True)
    assert [e.after for e in report.fused] == [ADDED]
    agree(model, values(), fused)


def test_training_flags_are_asked_at_every_call() -> None:
    """A normalization that is frozen separately stays frozen."""
    model = made(FUSED["residual first"][0])
    fused, _ = convert(copy.deepcopy(model), fuse=True)
    for one in (model, fused):
        one.train()
        one.bn.eval()
    for found, expected in zip(results(fused, values()), results(model, values()), strict=True):
        torch.testing.assert_close(found, expected)


def test_copies_and_pickles_of_a_fused_model() -> None:
    model = convert(made(FUSED["residual"][0]), fuse=True)[0].eval()
    del model.own  # a function without a global name, which cannot be pickled
    expected = model(values())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(values()), expected)
    copied = revert(copy.deepcopy(model))[1]
    assert [(e.name, e.before) for e in copied.fused] == [("body.1", ADDED)]


def test_a_fused_model_can_be_traced() -> None:
    model = convert(made(FUSED["residual"][0]), fuse=True)[0].eval()
    assert torch.equal(torch.fx.symbolic_trace(model)(values()), model(values()))


def test_fusing_again_changes_nothing() -> None:
    model = convert(made(FUSED["residual"][0]), fuse=True)[0]
    kind = type(model)
    _, report = convert(model, fuse=True)
    assert not report.fused
    assert type(model) is kind


def test_a_sequence_within_a_fused_module_can_be_changed() -> None:
    model = made(FUSED["residual"][0]).eval()
    fused, _ = convert(copy.deepcopy(model), fuse=True)
    for one in (model, fused):
        one.body.append(nn.Tanh())
    torch.testing.assert_close(fused(values()), model(values()))


def test_a_method_replaced_on_an_own_layer_keeps_a_chain_apart() -> None:
    model = convert(made(FUSED["module"][0]))[0]
    model.bn._check_input_dim = lambda input: None
    assert not convert(model, fuse=True)[1].fused
