"""What a trace would make constant or lose: forwards that ``convert(fuse=True)`` leaves, or evaluates at every call."""

from __future__ import annotations

import copy
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, is_grad_enabled, nn

from svertka import convert
from svertka.generated import runtime

CHANNELS = 4


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)


def values() -> Tensor:
    return torch.randn((3, 4, 6, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Reversed(torch.autograd.Function):
    """Reverses gradients, which its operations do not show."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        del ctx
        return input.view_as(input)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return -gradients[0]


OUTSIDE: list[Any] = []


class Holding(nn.Module):
    """A chain, things that a forward may write to, and what it does after the chain."""

    def __init__(self, then: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.bn, self.relu, self.last = nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.register_buffer("steps", torch.zeros(()))
        self.feats: list[Any] = []
        self.cache: dict[str, Any] = {}
        self.names, self.queue, self.plain, self.flag = {"a"}, deque([1]), torch.zeros(2), True
        self.then = then

    def forward(self, x: Tensor) -> Any:
        return self.then(self, self.relu(self.bn(x)))


def within(make: Callable[[], Any]) -> Callable[[Any, Tensor], Any]:
    def then(m: Any, y: Tensor) -> Any:
        with make():
            return m.last(y)

    return then


def lines(source: str, result: str = "y") -> Callable[[Any, Tensor], Any]:
    """Statements, which a lambda cannot contain."""
    known = {"torch": torch, "is_grad_enabled": is_grad_enabled, "OUTSIDE": OUTSIDE}
    exec(f"def then(m, y):\n    {source}\n    return {result}", known)
    found: Callable[[Any, Tensor], Any] = known["then"]  # type: ignore[assignment]
    return found


WATCHED: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "no_grad": (within(torch.no_grad), "uses torch.no_grad"),
    "enable_grad": (within(torch.enable_grad), "uses torch.enable_grad"),
    "set_grad_enabled": (within(lambda: torch.set_grad_enabled(False)), "uses torch.set_grad_enabled"),
    "set_grad_enabled called": (lines("torch.set_grad_enabled(False)"), "uses torch.set_grad_enabled"),
    "inference_mode": (within(torch.inference_mode), "uses torch.inference_mode"),
    "autocast": (within(lambda: torch.autocast("cpu")), "uses torch.autocast"),
    "no autocast": (within(lambda: torch.autocast("cpu", enabled=False)), "uses torch.autocast"),
    "decorator": (torch.no_grad()(lambda m, y: m.last(y)), "uses torch.no_grad"),
    "device": (within(lambda: torch.device("cpu")), "uses torch.utils._device.DeviceContext"),
    "saved tensors": (within(torch.autograd.graph.save_on_cpu), "uses torch.autograd.graph.saved_tensors_hooks"),
    "own gradient": (lambda m, y: Reversed.apply(y), "uses torch.autograd.Function.apply"),
    "weight scaled": (lines("with torch.no_grad(): m.last.weight.mul_(.5)"), "uses torch.no_grad"),
    "grad asked": (lambda m, y: y if is_grad_enabled() else -y, "asks torch.is_grad_enabled"),
    "autocast asked": (lambda m, y: y if torch.is_autocast_enabled("cpu") else -y, "asks torch.is_autocast_enabled"),
    "inference asked": (
        lambda m, y: y if torch.is_inference_mode_enabled() else -y,
        "asks torch.is_inference_mode_enabled",
    ),
    "type asked": (lambda m, y: y.to(torch.get_default_dtype()), "asks torch.get_default_dtype"),
    "compiling asked": (lambda m, y: y if torch.compiler.is_compiling() else -y, "asks torch.compiler.is_compiling"),
    "tracing asked": (lambda m, y: y if torch.jit.is_tracing() else -y, "asks torch.jit.is_tracing"),
    "tensor asked": (lambda m, y: y if torch.is_tensor(y) else -y, "asks torch.is_tensor"),
    "attribute asked": (lambda m, y: y if hasattr(y, "mask") else -y, "asks hasattr of a value"),
    "error caught": (lines("try: isinstance(y, int)\n    except Exception: pass"), "asks isinstance of a value"),
    "buffer": (lines("m.steps += 1"), "writes to steps"),
    "buffer averaged": (lines("m.steps = m.steps * .9 + y.mean() * .1"), "writes to steps"),
    "buffer's data": (lines("m.steps.data = m.steps + 1"), "writes to steps.data"),
    "buffers": (lines("m._buffers['steps'] = y"), "writes to steps"),
    "list": (lines("m.feats.append(y)"), "writes to feats"),
    "dictionary": (lines("m.cache['a'] = y"), "writes to cache.a"),
    "set": (lines("m.names.add('b')"), "writes to names"),
    "queue": (lines("m.queue.append(y)"), "writes to queue"),
    "the same again": (lines("m.flag = True"), "writes to flag"),
    "a new attribute": (lines("m.new = 1"), "writes to new"),
    "tensor": (lines("m.plain.add_(1)"), "writes to a tensor by aten.add_"),
    "parameters": (lines("[p.data.clamp_(-.1, .1) for p in m.parameters()]"), "writes to a tensor by aten.clamp_"),
    "frozen": (lines("m.last.requires_grad_(False)", "m.last(y)"), "writes to last.weight"),
    "mode": (lines("m.bn.eval()"), "writes to bn.training"),
    "global": (lines("OUTSIDE.append(y)"), "writes to OUTSIDE"),
}


def held(model: Any) -> list[Any]:
    """Everything that a forward may write to."""
    copied = (
        list(model.feats),
        dict(model.cache),
        set(model.names),
        list(model.queue),
        model.plain.tolist(),
        OUTSIDE[:],
    )
    plain = {key: value for key, value in vars(model).items() if not key.startswith("_")}
    flags = [(one.training, list(vars(one)), list(one._buffers)) for one in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    contents = [(id(one), one.requires_grad, one.tolist()) for one in tensors]
    return [copied, plain, flags, contents, torch.is_grad_enabled(), torch.get_default_dtype()]


@pytest.mark.parametrize("name", WATCHED)
def test_what_a_trace_would_lose_is_left_and_nothing_is_written(name: str) -> None:
    then, reason = WATCHED[name]
    model = Holding(then)
    before = held(model)
    _, report = convert(model, fuse=True)
    assert not report.fused
    assert [e.name for e in report.unfused] == [""]
    assert reason in report.unfused[0].reason
    assert held(model) == before
    assert type(model) is Holding


def test_a_frozen_part_gets_no_gradients() -> None:
    model, _ = convert(Holding(WATCHED["no_grad"][0]), fuse=True)
    assert not model(values().float()).requires_grad


class Masked(nn.Module):
    """A chain, and arguments that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.relu = nn.BatchNorm2d(CHANNELS), nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> Tensor:
        y: Tensor = self.relu(self.bn(x))
        y = y if mask is None else y * mask
        return y if scale == 1 else y * scale


def test_arguments_with_defaults_are_asked_at_every_call() -> None:
    model, x = Masked().double().eval(), values()
    fused, report = convert(copy.deepcopy(model), fuse=True)
    assert [(e.name, e.after) for e in report.fused] == [("bn", "BatchNorm2dReLU")]
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x,), {}), ((x, x), {}), ((x,), {"mask": x}), ((x, None, 2.0), {}), ((x,), {"scale": torch.tensor(3.0)}),
    ]  # fmt: skip
    for given, named in calls:
        torch.testing.assert_close(fused(*given, **named), model(*given, **named))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "appended": lambda m: m.append(nn.Tanh()),
    "inserted": lambda m: m.insert(0, nn.Tanh()),
    "sliced": lambda m: m[:2],
    "sliced from behind": lambda m: m[1:],
    "taken": lambda m: m[0],
    "deleted": lambda m: (m.__delitem__(3), m)[1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fused_sequence_can_be_changed(change: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU()).double()
    fused, report = convert(copy.deepcopy(model), fuse=True)
    assert len(report.fused) == 2
    torch.testing.assert_close(CHANGES[change](fused)(values()), CHANGES[change](model)(values()))


def test_a_forward_replaced_on_a_sequence_is_left() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
    model.forward = lambda input: input  # type: ignore[method-assign]
    _, report = convert(model, fuse=True)
    assert not report.fused
    assert report.unfused[0].reason == "its forward was replaced on the object"


ONES = torch.ones(1)
ARGUMENTS: dict[str, tuple[Callable[..., Any], str]] = {
    "by name": (lambda self, x, *, mask=None: self.relu(self.bn(x)), "takes mask by name alone"),
    "tensor": (lambda self, x, mask=ONES: self.relu(self.bn(x)) * mask, "its argument mask has a default"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_a_trace_cannot_take(name: str) -> None:
    forward, reason = ARGUMENTS[name]
    model = type("Other", (Masked,), {"forward": forward})()
    _, report = convert(model, fuse=True)
    assert not report.fused
    assert reason in report.unfused[0].reason


def test_functions_of_python_are_as_before() -> None:
    """A compiler that was imported while they were replaced would not recognize them; a profiler continues."""
    before, seen = (isinstance, hasattr, callable), set()
    sys.setprofile(lambda frame, event, what: seen.add(frame.f_code.co_name))
    try:
        convert(Holding(lambda m, y: y + torch.ones(2).add(1).sum().item()), fuse=True)
        seen.clear()
        values()
        assert "values" in seen
    finally:
        sys.setprofile(None)
    assert (isinstance, hasattr, callable) == before
    assert "__setattr__" not in vars(torch.fx.Proxy)
