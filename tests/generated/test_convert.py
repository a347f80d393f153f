"""``convert`` and ``revert``: what is converted, what is preserved, what is left unchanged and what the report says."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from svertka import convert, generated, revert
from svertka.generated import runtime
from svertka.generated.convertible import LAYERS
from svertka.spec.definition import with_facades
from svertka.spec.layers import DEFINITIONS


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)


class Own(nn.Conv2d):
    """A layer of the user."""

    def forward(self, input: Tensor) -> Tensor:
        return -super().forward(input)


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.again = self.first

    def forward(self, input: Tensor) -> Tensor:
        value: Tensor = self.again(self.first(input))
        return value


MODULES: dict[type[nn.Module], tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    nn.Conv1d: (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    nn.Conv2d: (lambda: nn.Conv2d(3, 4, (3, 2), padding="same"), (2, 3, 7, 5)),
    nn.Conv3d: (lambda: nn.Conv3d(2, 3, 2, dilation=2, bias=False), (2, 2, 5, 4, 6)),
    nn.ConvTranspose1d: (lambda: nn.ConvTranspose1d(4, 6, 3, 2, groups=2), (2, 4, 5)),
    nn.ConvTranspose3d: (lambda: nn.ConvTranspose3d(2, 3, (2, 1, 3), (1, 2, 2), padding=(0, 0, 1)), (2, 2, 3, 2, 4)),
    nn.ConvTranspose2d: (lambda: nn.ConvTranspose2d(3, 4, (3, 2), 2, output_padding=1), (2, 3, 4, 5)),
    nn.ReLU: (nn.ReLU, (3, 4, 5)),
    nn.LeakyReLU: (lambda: nn.LeakyReLU(0.3), (3, 4, 5)),
    nn.ReLU6: (nn.ReLU6, (3, 4, 5)),
    nn.Hardtanh: (lambda: nn.Hardtanh(0.25, 0.5), (3, 4, 5)),
    nn.ELU: (lambda: nn.ELU(1.7), (3, 4, 5)),
    nn.SELU: (nn.SELU, (3, 4, 5)),
    nn.GELU: (lambda: nn.GELU("tanh"), (3, 4, 5)),
    nn.SiLU: (nn.SiLU, (3, 4, 5)),
    nn.Mish: (nn.Mish, (3, 4, 5)),
    nn.Hardswish: (nn.Hardswish, (3, 4, 5)),
    nn.Hardsigmoid: (nn.Hardsigmoid, (3, 4, 5)),
    nn.Sigmoid: (nn.Sigmoid, (3, 4, 5)),
    nn.Tanh: (nn.Tanh, (3, 4, 5)),
    nn.Softplus: (lambda: nn.Softplus(1.5, 0.5), (3, 4, 5)),
    nn.Softsign: (nn.Softsign, (3, 4, 5)),
    nn.PReLU: (lambda: nn.PReLU(4), (3, 4, 5)),
    nn.MaxPool1d: (lambda: nn.MaxPool1d(3, 2, ceil_mode=True), (2, 3, 8)),
    nn.MaxPool2d: (lambda: nn.MaxPool2d((3, 2), padding=(1, 0)), (2, 3, 8, 7)),
    nn.MaxPool3d: (lambda: nn.MaxPool3d(2, dilation=2), (2, 3, 6, 5, 4)),
    nn.AvgPool1d: (lambda: nn.AvgPool1d(3, 1), (2, 3, 8)),
    nn.AvgPool2d: (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), (2, 3, 8, 7)),
    nn.AvgPool3d: (lambda: nn.AvgPool3d(2, divisor_override=3), (2, 3, 6, 5, 4)),
    nn.AdaptiveAvgPool1d: (lambda: nn.AdaptiveAvgPool1d(4), (2, 3, 9)),
    nn.AdaptiveAvgPool2d: (lambda: nn.AdaptiveAvgPool2d((3, None)), (2, 3, 8, 7)),
    nn.AdaptiveAvgPool3d: (lambda: nn.AdaptiveAvgPool3d(1), (2, 3, 6, 5, 4)),
    nn.AdaptiveMaxPool1d: (lambda: nn.AdaptiveMaxPool1d(4), (2, 3, 9)),
    nn.AdaptiveMaxPool2d: (lambda: nn.AdaptiveMaxPool2d((3, 2)), (2, 3, 8, 7)),
    nn.AdaptiveMaxPool3d: (lambda: nn.AdaptiveMaxPool3d(2), (2, 3, 6, 5, 4)),
    nn.Upsample: (lambda: nn.Upsample(scale_factor=(1.5, 2), mode="bilinear", align_corners=False), (2, 3, 4, 5)),
    nn.UpsamplingNearest2d: (lambda: nn.UpsamplingNearest2d(scale_factor=2), (2, 3, 4, 5)),
    nn.UpsamplingBilinear2d: (lambda: nn.UpsamplingBilinear2d(size=(7, 3)), (2, 3, 4, 5)),
    nn.Linear: (lambda: nn.Linear(5, 3), (2, 4, 5)),
    nn.Softmax: (lambda: nn.Softmax(1), (2, 4, 3)),
    nn.LogSoftmax: (lambda: nn.LogSoftmax(-1), (2, 4, 3)),
    nn.CrossEntropyLoss: (lambda: nn.CrossEntropyLoss(torch.rand(4), label_smoothing=0.25), (3, 4)),
    nn.Dropout: (lambda: nn.Dropout(0.25).eval(), (3, 4)),
    nn.BatchNorm1d: (lambda: nn.BatchNorm1d(3, momentum=None), (4, 3, 5)),
    nn.BatchNorm2d: (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 5, 2)),
    nn.BatchNorm3d: (lambda: nn.BatchNorm3d(3, track_running_stats=False), (4, 3, 5, 2, 3)),
    nn.LayerNorm: (lambda: nn.LayerNorm((3, 5)), (4, 3, 5)),
    nn.RMSNorm: (lambda: nn.RMSNorm(5), (4, 3, 5)),
    nn.GroupNorm: (lambda: nn.GroupNorm(2, 6), (4, 6, 5)),
    nn.InstanceNorm1d: (lambda: nn.InstanceNorm1d(3), (4, 3, 5)),
    nn.InstanceNorm2d: (lambda: nn.InstanceNorm2d(3, affine=True), (4, 3, 5, 2)),
    nn.InstanceNorm3d: (lambda: nn.InstanceNorm3d(3, track_running_stats=True), (4, 3, 5, 2, 3)),
    nn.LocalResponseNorm: (lambda: nn.LocalResponseNorm(4, alpha=1.5), (2, 6, 3, 4)),
}


def test_every_layer_with_a_counterpart_is_known() -> None:
    """The definitions list what is convertible, and all of it is tested below."""
    taken = with_facades([definition for definition in DEFINITIONS.values() if not definition.parts])
    faces = [face for one in taken for face in one.modules]
    assert {face.base for face in faces if face.base != "torch.nn.Module"} == {
        f"torch.nn.{taken.base.__name__}" for taken in LAYERS
    }
    assert {taken.base for taken in LAYERS} == set(MODULES)


@pytest.mark.parametrize("base", MODULES, ids=lambda base: base.__name__)
def test_a_layer_there_and_back(base: type[nn.Module]) -> None:
    """Only its class changes: the same tensors, the same bits as a newly made layer, and torch's after reverting."""
    torch.manual_seed(0)
    make, shape = MODULES[base]
    theirs, values = make(), torch.rand(shape)
    ours = copy.deepcopy(theirs)
    tensors = {name: id(tensor) for name, tensor in (*ours.named_parameters(), *ours.named_buffers())}
    said = repr(ours)
    same, report = convert(ours)
    assert same is ours
    assert type(ours) is getattr(generated, base.__name__)
    assert [(e.name, e.before, e.after) for e in report.converted] == [
        ("", f"torch.nn.{base.__name__}", f"svertka.generated.modules.{base.__name__}")
    ]
    assert not report.left
    assert repr(ours) == said
    assert {name: id(tensor) for name, tensor in (*ours.named_parameters(), *ours.named_buffers())} == tensors
    more = (torch.tensor([3, 0, 1]),) if base is nn.CrossEntropyLoss else ()
    torch.testing.assert_close(ours(values, *more), theirs(values, *more))
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor)
    back, report = revert(ours)
    assert type(back) is base
    assert len(report.converted) == 1
    assert torch.equal(back(values, *more), theirs(values, *more))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4 * 5, 3), nn.Dropout(0.5))


def test_calling_again_changes_nothing() -> None:
    model = network()
    _, first = convert(model)
    kinds = [type(one) for one in model.modules()]
    _, second = convert(model)
    assert [type(one) for one in model.modules()] == kinds
    assert len(first.converted) == len(second.kept) == 4
    assert not second.converted
    assert [e.name for e in second.left] == [e.name for e in first.left] == ["2"]
    revert(model)
    _, nothing = revert(model)
    assert not nothing.converted
    assert [type(one) for one in model.modules()] == [type(one) for one in network().modules()]


def test_flags_types_formats_and_frozen_parameters_stay() -> None:
    model = network().to(torch.float64, memory_format=torch.channels_last)
    model[1].eval()
    model[0].weight.requires_grad_(False)
    strides = model[0].weight.stride()
    convert(model)
    assert [one.training for one in model] == [True, False, True, True, True]
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad
    assert model[0].weight.stride() == strides
    assert model[3].weight.dtype == torch.float64


def test_hooks_of_every_kind_stay() -> None:
    model, called = network().double().eval(), []

    def note(word: str) -> Callable[..., None]:
        return lambda *arguments, **named: called.append(word)

    layer = model[3]
    layer.register_forward_pre_hook(note("before"))
    layer.register_forward_hook(note("after"))
    layer.register_full_backward_pre_hook(note("gradient comes"))
    layer.register_full_backward_hook(note("gradient goes"))
    layer.register_state_dict_post_hook(note("saved"))
    layer.register_load_state_dict_pre_hook(note("loading"))
    layer.weight.register_hook(note("weight"))
    for _ in range(2):
        convert(model)
        called.clear()
        model(torch.rand(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)).sum().backward()
        model.load_state_dict(model.state_dict())
        assert sorted(called) == sorted(
            ["before", "after", "gradient comes", "gradient goes", "saved", "loading", "weight"]
        )
        revert(model)


def test_one_layer_under_two_names_stays_one() -> None:
    model = Twice()
    _, report = convert(model)
    assert model.first is model.again
    assert [(e.name, e.also) for e in report.converted] == [("first", ("again",))]
    assert "first, again" in str(report)


def test_hooks_that_make_a_weight_stay() -> None:
    """Old-style weight normalization is a hook that makes the weight of a plain layer; it stays active."""
    layer = nn.utils.spectral_norm(nn.Linear(4, 3)).double().eval()
    values = torch.rand(5, 4, dtype=torch.float64)
    expected = layer(values)
    convert(layer)
    assert type(layer) is generated.Linear
    torch.testing.assert_close(layer(values), expected)


LEFT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "subclass": (lambda: Own(3, 4, 2), "a subclass of torch.nn.Conv2d; what it computes is its own affair"),
    "padding mode": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "padding_mode='reflect'"),
    "cubic": (
        lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
        "mode='bicubic': is unknown; pass one of 'nearest', 'nearest-exact', 'linear'",
    ),
    "no ratio": (
        lambda: nn.Upsample(scale_factor=2**0.5),
        "must be a ratio of whole numbers, to 24 bits, of which the lower is at most 1024; round it, or give the size",
    ),
    "lazy": (lambda: nn.LazyLinear(3), "its shapes are not known yet; call the model once, then convert it"),
    "parametrized": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
        "weight parametrized; torch.nn.utils.parametrize.remove_parametrizations(module, name) makes it plain",
    ),
    "complex": (lambda: nn.Linear(3, 2, dtype=torch.complex64), "weight.dtype=torch.complex64"),
    "scripted": (lambda: torch.jit.script(nn.Linear(3, 2)), "compiled by torch.jit; convert the model before"),
    "quantized": (lambda: torch.ao.nn.quantized.Linear(3, 2), "not a layer of torch.nn"),
    "unknown": (nn.Hardshrink, "this package has no such layer"),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "a subclass of torch.nn.Linear"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_says_why(name: str) -> None:
    make, reason = LEFT[name]
    model = nn.Sequential(make())
    kinds = [type(one) for one in model.modules()]
    _, report = convert(model)
    assert [type(one) for one in model.modules()] == kinds
    assert not report.converted
    assert reason in report.left[0].reason
    assert reason in str(report)


def test_a_forward_set_on_the_object_is_left() -> None:
    layer = nn.ReLU()
    layer.forward = lambda input: input  # type: ignore[method-assign, assignment]
    _, report = convert(layer)
    assert type(layer) is nn.ReLU
    assert report.left[0].reason == "its forward was replaced on the object; delete that attribute"


def test_a_method_set_on_the_object_is_left() -> None:
    layer = nn.Conv2d(3, 4, 1)
    layer._conv_forward = lambda input, weight, bias: input  # type: ignore[method-assign]
    _, report = convert(layer)
    assert type(layer) is nn.Conv2d
    assert report.left[0].reason == "its method _conv_forward was replaced on the object; delete that attribute"


def test_lazy_layers_are_converted_once_they_have_shapes() -> None:
    layer = nn.LazyLinear(3)
    convert(layer)
    layer(torch.rand(2, 5))
    convert(layer)
    assert type(layer) is generated.Linear


def test_layers_that_torch_has_not_are_left_by_revert() -> None:
    model = nn.Sequential(generated.CrossChannelNorm(5), generated.ReLU())
    _, report = revert(model)
    assert [type(one) for one in model] == [generated.CrossChannelNorm, nn.ReLU]
    assert report.left[0].reason == "torch.nn has no such layer"


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((5,), {}, ("model=5", "must be a torch.nn.Module", "pass the model")),
        ((nn.Linear,), {}, ("model=", "must be a torch.nn.Module")),
        ((nn.ReLU(),), {"fuse": 1}, ("fuse=1", "must be True or False", "pass a bool")),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, options: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(TypeError) as error:
        convert(*arguments, **options)
    assert all(word in str(error.value) for word in words)


def test_copies_and_pickles_of_a_converted_model() -> None:
    model, values = convert(network().double().eval())[0], torch.rand(2, 3, 6, 7, dtype=torch.float64)
    expected = model(values)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(values), expected)
        assert type(twin[0]) is generated.Conv2d


def test_state_moves_both_ways() -> None:
    ours, theirs = convert(network())[0], network()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
