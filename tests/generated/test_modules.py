"""Modules: drop-in replacements for torch's, with the same constructor, state and results."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import svertka.generated as generated
from svertka.generated import functional, modules

from .agreement import agree, equal

LABELS = torch.tensor([[1, 0, 3], [-100, 2, 1]])

# Class, arguments of the constructor, keywords, shape of the input.
DROP_INS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 9)),
    ("Conv2d", (4, 6, (3, 2)), {"padding": "same", "dilation": (2, 1)}, (2, 4, 7, 5)),
    ("Conv2d", (4, 6, 3), {"bias": False, "padding": (1, 0)}, (4, 7, 5)),
    ("Conv3d", (2, 3, 2), {"padding": 1}, (2, 2, 3, 4, 2)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, (2, 4, 5)),
    ("ConvTranspose2d", (4, 6, (3, 2), (2, 3)), {"padding": (0, 1), "dilation": (1, 2)}, (2, 4, 3, 5)),
    ("ConvTranspose2d", (4, 6, 2), {"bias": False, "stride": 2}, (4, 3, 5)),
    ("ConvTranspose3d", (2, 4, 2), {"stride": (1, 2, 1), "padding": 1, "groups": 2, "dilation": 2}, (2, 2, 3, 4, 5)),
    ("Upsample", (13,), {}, (2, 3, 9)),
    ("Upsample", (None, 2), {"mode": "bilinear"}, (2, 3, 4, 5)),
    ("Upsample", ((4, 7, 2),), {"mode": "trilinear", "align_corners": True}, (2, 2, 3, 4, 5)),
    ("Upsample", (None, 1.7), {"mode": "nearest-exact", "recompute_scale_factor": True}, (2, 3, 4, 5)),
    ("UpsamplingNearest2d", (None, (2.0, 0.5)), {}, (2, 3, 4, 5)),
    ("UpsamplingBilinear2d", ((3, 8),), {}, (2, 3, 4, 5)),
    ("Linear", (5, 4), {}, (2, 3, 5)),
    ("Linear", (5, 4, False), {}, (5,)),
    ("ReLU", (), {}, (2, 3)),
    ("ReLU", (True,), {}, (2, 3)),
    ("LeakyReLU", (0.3,), {}, (2, 3)),
    ("ReLU6", (True,), {}, (2, 3)),
    ("Hardtanh", (-0.75, 0.5), {}, (2, 3)),
    ("ELU", (1.7,), {}, (2, 3)),
    ("SELU", (), {}, (2, 3)),
    ("GELU", ("tanh",), {}, (2, 3)),
    ("SiLU", (), {}, (2, 3)),
    ("Mish", (), {}, (2, 3)),
    ("Hardswish", (), {}, (2, 3)),
    ("Hardsigmoid", (), {}, (2, 3)),
    ("Sigmoid", (), {}, (2, 3)),
    ("Tanh", (), {}, (2, 3)),
    ("Softplus", (1.5, 0.5), {}, (2, 3)),
    ("Softsign", (), {}, (2, 3)),
    ("PReLU", (), {}, (2, 3, 4)),
    ("PReLU", (3, 0.4), {}, (2, 3, 4)),
    ("MaxPool1d", (3,), {"stride": 2, "ceil_mode": True}, (2, 3, 8)),
    ("MaxPool2d", (3, 2, 1), {"return_indices": True}, (2, 3, 7, 5)),
    ("MaxPool3d", (2,), {"dilation": 2}, (2, 2, 4, 5, 3)),
    ("AvgPool1d", (3,), {"padding": 1, "count_include_pad": False}, (2, 3, 8)),
    ("AvgPool2d", ((3, 2),), {"divisor_override": 5}, (2, 3, 7, 5)),
    ("AvgPool3d", (2,), {"ceil_mode": True}, (2, 2, 4, 5, 3)),
    ("AdaptiveAvgPool1d", (4,), {}, (2, 3, 9)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 7, 5)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (3, 7, 5)),
    ("AdaptiveAvgPool3d", ((2, 3, 2),), {}, (2, 2, 4, 5, 3)),
    ("AdaptiveMaxPool1d", (4,), {}, (2, 3, 9)),
    ("AdaptiveMaxPool2d", ((3, 2), True), {}, (2, 3, 7, 5)),
    ("AdaptiveMaxPool3d", (2,), {}, (2, 2, 4, 5, 3)),
    ("Softmax", (1,), {}, (2, 4, 3)),
    ("LogSoftmax", (-1,), {}, (2, 4, 3)),
    ("CrossEntropyLoss", (torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64),), {}, (2, 4, 3)),
    ("CrossEntropyLoss", (), {"reduction": "none", "label_smoothing": 0.1}, (2, 4, 3)),
    ("Dropout", (0.0,), {}, (2, 3)),
    ("BatchNorm1d", (4,), {"momentum": None}, (5, 4)),
    ("BatchNorm2d", (4,), {}, (3, 4, 2, 5)),
    ("BatchNorm2d", (4,), {"affine": False, "track_running_stats": False}, (3, 4, 2, 5)),
    ("BatchNorm3d", (2, 1e-3, 0.4), {}, (3, 2, 2, 1, 3)),
    ("LayerNorm", (4,), {}, (2, 3, 4)),
    ("LayerNorm", ([3, 4], 0.25), {"bias": False}, (2, 3, 4)),
    ("LayerNorm", (4,), {"elementwise_affine": False}, (4,)),
    ("RMSNorm", (4,), {}, (2, 3, 4)),
    ("RMSNorm", ([3, 4], 0.25, False), {}, (2, 3, 4)),
    ("GroupNorm", (2, 6), {"eps": 0.25}, (2, 6, 3)),
    ("GroupNorm", (3, 6), {"affine": False}, (2, 6, 3, 2)),
    ("InstanceNorm1d", (3,), {}, (2, 3, 5)),
    ("InstanceNorm1d", (3, 0.25), {"affine": True}, (3, 5)),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, (2, 3, 5, 2)),
    ("InstanceNorm2d", (3,), {"momentum": None, "track_running_stats": True}, (3, 5, 2)),
    ("InstanceNorm3d", (2, 0.25, 0.3), {"track_running_stats": True}, (2, 2, 3, 1, 4)),
    ("LocalResponseNorm", (4,), {"alpha": 2.0, "k": 1.5}, (2, 5, 3)),
]
drop_ins = pytest.mark.parametrize(
    ("name", "arguments", "options", "shape"), DROP_INS, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(DROP_INS)]
)


def pair(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """The generated module and torch's, in float64, with torch's state."""
    ours = getattr(generated, name)(*arguments, **options, **double(name))
    theirs = getattr(nn, name)(*arguments, **options, **double(name))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def double(name: str) -> dict[str, Any]:
    taken = inspect.signature(getattr(nn, name)).parameters
    return {"dtype": torch.float64} if "dtype" in taken else {}


def inputs(name: str, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (values, LABELS) if name == "CrossEntropyLoss" else (values,)


def as_tuple(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def test_every_drop_in_is_tried() -> None:
    own = {"CrossChannelNorm", "ImageInput", *FUSED}
    assert {name for name, *_ in DROP_INS} | own == set(modules.__all__)
    assert set(modules.__all__) | {"functional", "modules"} == set(generated.__all__) == set(dir(generated))


@pytest.mark.parametrize("name", sorted({name for name, *_ in DROP_INS}))
def test_subclass_with_the_same_constructor(name: str) -> None:
    ours, theirs = getattr(generated, name), getattr(nn, name)
    assert issubclass(ours, theirs)
    assert inspect.signature(ours) == inspect.signature(theirs)


@drop_ins
def test_as_torch(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...], road: str, device: str
) -> None:
    """Results and state of three calls: two in training, one in evaluation.

    A module adds nothing to its function, for which other tests derive the bound. Here a coarser bound is enough: no
    layer sums more than products of all its inputs, and its divisors are at least of the order of 1.
    """
    ours, theirs = pair(name, arguments, options)
    ours.to(device)
    for step in range(3):
        if step == 2:
            ours.eval()
            theirs.eval()
        given = inputs(name, shape)
        # In-place layers change their input.
        found = as_tuple(ours(*(t.to(device) for t in copy.deepcopy(given))))
        expected = as_tuple(theirs(*copy.deepcopy(given)))
        every = (*given[:1], *theirs.state_dict().values())
        condition = math.prod(1 + float(t.abs().sum()) for t in every)
        elements = sum(t.numel() for t in every)
        pairs = [*zip(found, expected, strict=True), *zip(ours.buffers(), theirs.buffers(), strict=True)]
        for left, right in pairs:
            agree(left, right, condition, elements)


@drop_ins
def test_state_and_repr(name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = pair(name, arguments, options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    for key, value in theirs.state_dict().items():
        equal(ours.state_dict()[key], value)
    assert repr(ours) == repr(theirs)


@drop_ins
def test_copies(name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, _ = pair(name, arguments, options)
    given = inputs(name, shape)
    expected = as_tuple(copy.deepcopy(ours)(*copy.deepcopy(given)))
    found = as_tuple(pickle.loads(pickle.dumps(ours))(*copy.deepcopy(given)))
    for left, right in zip(found, expected, strict=True):
        equal(left, right)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_other_paddings_are_refused(rank: int) -> None:
    module = getattr(generated, f"Conv{rank}d")(2, 2, 3, padding=1, padding_mode="circular")
    with pytest.raises(ValueError, match=r"padding_mode='circular': must be 'zeros', .*; use the module of torch\.nn"):
        module(torch.ones(1, 2, *(4,) * rank))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_transposed_convolution_takes_the_size_of_its_output(rank: int, road: str, device: str) -> None:
    """As torch's: with and without the first two dimensions, for every size that a stride allows, and for no other."""
    name = f"ConvTranspose{rank}d"
    ours, theirs = pair(name, (2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1})
    ours.to(device)
    (given,) = inputs(name, (2, 2, *(4,) * rank))
    for size in ([7] * rank, [2, 3, *[8] * rank], [7, *[8] * (rank - 1)]):
        found, expected = ours(given.to(device), output_size=size), theirs(given, output_size=size)
        assert list(found.shape[2:]) == size[-rank:]
        bound = theirs(given.abs(), output_size=size).detach().abs() + sum(
            float(p.detach().abs().sum()) for p in theirs.parameters()
        )
        agree(found, expected, float(bound.max()), given.numel())
    for wrong in ([9] * rank, [6] * rank, [8] * (rank + 1)):
        for module in (ours, theirs):
            with pytest.raises(ValueError, match=r"output_size must have|requested an output size"):
                module(given.to(device if module is ours else "cpu"), output_size=wrong)


def test_batches_are_counted(road: str, device: str) -> None:
    module = generated.BatchNorm1d(2, momentum=None, device=device)
    batches = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 0.0], [7.0, 2.0]])]
    for batch in batches:
        module(batch.to(device))
    assert module.num_batches_tracked is not None
    assert int(module.num_batches_tracked) == 2
    assert module.running_mean is not None
    equal(module.running_mean, torch.tensor([4.0, 2.0]))
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        module(torch.ones(2, 2, 2, 2, device=device))


def test_gradients_pass_through_a_network(road: str, device: str) -> None:
    """With integers, so that results must be equal."""
    gradients = []
    for house in (generated, nn):
        network = nn.Sequential(
            house.Conv2d(2, 3, 3), house.ReLU(), house.MaxPool2d(2), nn.Flatten(), house.Linear(12, 4)
        )
        network.to(device, torch.float64)
        for parameter in network.parameters():
            parameter.data = (torch.arange(parameter.numel(), device=device) % 7 - 3).view(parameter.shape).double()
        images = (torch.arange(144, device=device) % 5 - 2).view(2, 2, 6, 6).double()
        gradients.append(torch.autograd.grad(network(images).square().sum(), list(network.parameters())))
    for found, expected in zip(*gradients, strict=True):
        equal(found, expected.cpu())


# Modules that torch does not have


def test_cross_channel_norm(road: str, device: str) -> None:
    module = generated.CrossChannelNorm(5, alpha=2.0)
    given = torch.arange(24.0, device=device).view(2, 6, 2)
    equal(module(given), functional.cross_channel_norm(given, 5, alpha=2.0).cpu())
    assert repr(module) == "CrossChannelNorm(window_channel_size=5, k=2.0, alpha=2.0, beta=0.75)"
    assert not module.state_dict()


def _normalised(module: nn.Module, name: str, *given: Tensor) -> Tensor:
    input, *rest = given
    state = module.state_dict()
    tensors = (state["running_mean"].clone(), state["running_var"].clone(), *rest, module.weight, module.bias)
    result: Tensor = getattr(functional, name)(input, *tensors, training=True, momentum=module.momentum, eps=module.eps)
    return result


FUSED: dict[str, tuple[str, tuple[Any, ...], tuple[int, ...], int, Callable[..., Tensor]]] = {
    "Conv2dReLU": (
        "Conv2d",
        (4, 6, (3, 2), 2, 1),
        (2, 4, 7, 5),
        1,
        lambda own, x: functional.conv2d_relu(x, own.weight, own.bias, stride=2, padding=1),
    ),
    "BatchNorm2dReLU": (
        "BatchNorm2d",
        (4, 0.1, 0.3),
        (3, 4, 2, 5),
        1,
        lambda own, x: _normalised(own, "batch_norm_relu", x),
    ),
    "BatchNorm2dAddReLU": (
        "BatchNorm2d",
        (4,),
        (3, 4, 2, 5),
        2,
        lambda own, x, y: _normalised(own, "batch_norm_add_relu", x, y),
    ),
    "ReLUCrossChannelNorm": (
        "CrossChannelNorm",
        (3, 1.5, 2.0),
        (2, 5, 4),
        1,
        lambda own, x: functional.relu_cross_channel_norm(x, 3, 1.5, 2.0, 0.75),
    ),
}
"""The unfused module, arguments of the constructor, shape and number of tensors, and the function with its tensors."""


@pytest.mark.parametrize("name", FUSED)
def test_fused_modules(name: str, road: str, device: str) -> None:
    """They have the unfused module's state, give their functions' results, and count batches."""
    parts, arguments, shape, count, function = FUSED[name]
    module = getattr(generated, name)(*arguments).to(device, torch.float64)
    unfused = getattr(generated, parts)(*arguments).to(device, torch.float64)
    module.load_state_dict(unfused.state_dict())
    random = torch.Generator().manual_seed(5)
    given = [
        torch.randn(shape, generator=random, dtype=torch.float64).to(device).requires_grad_() for _ in range(count)
    ]
    expected = function(module, *given)
    output = module(*given)
    equal(output, expected.cpu())
    assert 0 < int((output == 0).sum()) < output.numel()
    wanted = [*given, *module.parameters()]
    gradients, theirs = (torch.autograd.grad(result.sum(), wanted) for result in (output, expected))
    for one, other in zip(gradients, theirs, strict=True):
        equal(one, other.cpu())
    unfused(given[0])
    for key, value in unfused.state_dict().items():
        equal(module.state_dict()[key], value.cpu())


def test_image_input_takes_its_size_first(road: str, device: str) -> None:
    given = torch.arange(210.0, device=device).view(2, 3, 7, 5)
    assert generated.ImageInput(8)(given).shape == (2, 3, 8, 8)
    assert generated.ImageInput()(given[0]).shape == (3, 224, 224)
    assert list(inspect.signature(generated.ImageInput).parameters) == ["size", "crop", "antialias", "mean", "std"]


def test_image_input_keeps_mean_and_std_as_buffers(road: str, device: str) -> None:
    module = generated.ImageInput((4, 6), crop=True, mean=[0.5, 1.0, 2.0], std=torch.tensor([1.0, 2.0, 4.0])).to(device)
    assert list(module.state_dict()) == ["mean", "std"]
    assert repr(module) == "ImageInput(size=(4, 6), crop=True, antialias=True)"
    given = torch.arange(210.0, device=device).view(2, 3, 7, 5)
    expected = functional.image_input(given, module.mean, module.std, (4, 6), True)
    equal(module(given), expected.cpu())
    twin = pickle.loads(pickle.dumps(module))
    equal(copy.deepcopy(twin)(given), expected.cpu())


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Conv4d'; it has .*Conv2d"):
        generated.Conv4d  # noqa: B018
