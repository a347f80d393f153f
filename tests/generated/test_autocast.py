"""``torch.autocast``: the type in which each function computes, a training step, tensors of mixed types."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from svertka.generated import functional, runtime

from .agreement import equal, nearest
from .cases import CASES, Case
from .network import THEIRS, Network, exact_network, images, labels, loss_of, whole_numbers
from .oracles import oracle

HALF = [torch.bfloat16, torch.float16]
every_half = pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])

# torch's antialiased resizing supports no half precision on the CPU.
ANTIALIASED = {"resize", "image_input"}
POSSIBLE = [case for case in CASES if case.function not in ANTIALIASED or case.options.get("antialias") is False]
FIRST = {case.function: case for case in reversed(POSSIBLE)}
FIRST["dropout"] = Case("dropout", {"input": (3, 4)}, {"p": 0.25})
every_function = pytest.mark.parametrize("case", FIRST.values(), ids=FIRST)

ON_CPU_ALONE = {
    "softmax",
    "log_softmax",
    "avg_pool3d",
    "local_response_norm",
    "cross_channel_norm",
    "relu_cross_channel_norm",
    "softplus",
    "adaptive_avg_pool3d",
    "adaptive_max_pool3d",
    "layer_norm",
    "rms_norm",
    "group_norm",
}
"""Functions for which torch's rules for the CPU and for CUDA differ; svertka uses those for CUDA on both."""
LACKING = {"normalize", "image_input", *(f"interpolate_{kind}{n}d" for kind in ("nearest", "linear") for n in (2, 3))}
"""Functions that torch lacks: the type follows the image, as in torchvision, not numbers of channels."""


def called(function: Any, case: Case, given: dict[str, Tensor], device: str) -> Tensor:
    results = function(**given, **case.others(torch.float32, device))
    first: Tensor = results[0] if isinstance(results, tuple) else results
    return first


def leaves(case: Case, device: str, first: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Tensors of a call in float32, the first in another type."""
    made = {
        name: tensor.to(first if place == 0 else torch.float32)
        for place, (name, tensor) in enumerate(case.tensors(torch.float32, device).items())
    }
    return {name: tensor.requires_grad_(name not in case.constant) for name, tensor in made.items()}


@pytest.mark.thinned(4)
@every_half
@every_function
def test_types_are_torch_s(case: Case, dtype: torch.dtype, road: str, device: str) -> None:
    """Types of results and gradients, for images in float32 and for those already in half precision."""
    for first in (torch.float32, dtype):
        found, expected = leaves(case, device, first), leaves(case, device, first)
        with torch.autocast(device, dtype):
            ours = called(getattr(functional, case.function), case, found, device)
            theirs = called(oracle(case.function), case, expected, device)
        if first == dtype and device == "cpu" and case.function in ON_CPU_ALONE:
            assert {ours.dtype, theirs.dtype} == {dtype, torch.float32}
        elif case.function in LACKING:
            assert ours.dtype == first
        else:
            assert ours.dtype == theirs.dtype
        ours.float().sum().backward()
        for name, tensor in found.items():
            if name not in case.constant:
                assert tensor.grad is not None
                assert tensor.grad.dtype == tensor.dtype


@every_half
def test_products_are_those_of_cast_tensors(dtype: torch.dtype, road: str, device: str) -> None:
    """Autocast only adds casts: the same bits as with tensors that were cast explicitly, gradients too."""
    case = FIRST["conv2d"]
    given = leaves(case, device)
    with torch.autocast(device, dtype):
        found = called(functional.conv2d, case, given, device)
    cast = {name: tensor.to(dtype) for name, tensor in given.items()}
    expected = called(functional.conv2d, case, cast, device)
    equal(found, expected.cpu())
    for one, other in zip(
        *(torch.autograd.grad(y.sum(), list(given.values())) for y in (found, expected)), strict=True
    ):
        assert one.dtype == torch.float32
        equal(one, other.cpu())


def test_float64_stays(road: str, device: str) -> None:
    """As in torch, whose autocast does not change double precision."""
    given = torch.ones(2, 3, dtype=torch.float64, device=device)
    with torch.autocast(device, torch.bfloat16):
        assert functional.linear(given, given).dtype == torch.float64
        assert functional.softmax(given, 1).dtype == torch.float64


def test_elements_meet_in_the_widest_type(road: str, device: str) -> None:
    whole, half = torch.ones(2, 3, 4, device=device), torch.ones(2, 3, 4, device=device, dtype=torch.float16)
    for pair in itertools.permutations((whole, half)):
        with torch.autocast(device, torch.float16):
            output = functional.batch_norm_add_relu(pair[0], None, None, pair[1], training=True)
        assert output.dtype == torch.float32
    with pytest.raises(TypeError, match=r"residual\.dtype=torch\.float16: must be torch\.float32"):
        functional.batch_norm_add_relu(whole, None, None, half, training=True)


def test_off_again_within(road: str, device: str) -> None:
    given = torch.ones(2, 3, device=device)
    with torch.autocast(device, torch.bfloat16), torch.autocast(device, enabled=False):
        assert functional.linear(given, given).dtype == torch.float32


# Parameters in float32 beside images in half precision, with autocast or without

NORMS = ("batch_norm", "normalize", "layer_norm", "rms_norm", "group_norm", "instance_norm")
BESIDE = [case for case in CASES if case.function.startswith(NORMS) and len(case.shapes) > 1]
MIXED = {(case.function, *map(str, [*case.options.items(), *case.shapes])): case for case in BESIDE}


@every_half
@pytest.mark.parametrize("case", MIXED.values(), ids=str)
def test_parameters_stay_float32_beside_half(case: Case, dtype: torch.dtype, road: str, device: str) -> None:
    """Only half precision values are rounded to half precision: results, and gradients of half precision tensors."""
    wide = torch.float64 if road == "reference" else torch.float32  # the type in which the path computes
    halves = {"input", "residual"}

    def made(first: torch.dtype, other: torch.dtype) -> dict[str, Tensor]:
        tensors = case.tensors(torch.float32, device)
        half = {name: tensor.to(dtype if name in halves else torch.float32) for name, tensor in tensors.items()}
        typed = {name: tensor.to(first if name in halves else other) for name, tensor in half.items()}
        return {name: tensor.requires_grad_(name not in case.constant) for name, tensor in typed.items()}

    found, expected = made(dtype, torch.float32), made(wide, wide)
    function = getattr(functional, case.function)
    ours, theirs = function(**found, **case.options), function(**expected, **case.options)
    assert ours.dtype == dtype
    equal(ours, nearest(theirs.detach().cpu().double(), dtype))
    seed = torch.arange(float(ours.numel())).view(ours.shape).to(device) % 5 - 2
    ours.backward(seed.to(dtype))
    theirs.backward(seed.to(wide))
    for name, tensor in found.items():
        assert tensor.dtype == (dtype if name in halves else torch.float32)
        if name in case.constant:  # the running estimates, perhaps replaced
            equal(tensor, nearest(expected[name].detach().cpu().double(), tensor.dtype))
        else:
            assert tensor.grad is not None
            assert expected[name].grad is not None
            equal(tensor.grad, nearest(expected[name].grad.detach().cpu().double(), tensor.dtype))


@every_half
@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "rms_norm"])
def test_normalizations_of_half_have_torch_s_type_beside_float32(
    name: str, dtype: torch.dtype, road: str, device: str
) -> None:
    """And torch's refusal beside another type, of images in float32 too; rms_norm converts its weight, as torch's."""
    image = torch.ones(2, 4, device=device)
    told: dict[str, Any] = {"num_groups": 2} if name == "group_norm" else {"normalized_shape": (4,)}
    for first, other in ((dtype, torch.float32), (dtype, torch.float64), (torch.float32, dtype)):
        scale = torch.ones(4, device=device, dtype=other)
        types = []
        for module in (functional, nn.functional):
            try:
                types.append(getattr(module, name)(image.to(first), weight=scale, **told).dtype)
            except (TypeError, RuntimeError):
                types.append(None)
        assert types[0] == types[1]


REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize(("first", "other"), [(a, b) for a in REAL for b in REAL if a != b], ids=str)
def test_a_weight_of_rms_norm_has_any_type(first: torch.dtype, other: torch.dtype, road: str, device: str) -> None:
    """Results and gradients have torch's types, and its values to the coarser of the two."""
    found = []
    for module in (functional, nn.functional):
        image = torch.tensor([[0.5, -2.0, 3.0, 1.0], [0.25, 8.0, 1.0, 0.5]], device=device, dtype=first)
        scale = torch.tensor([1.5, -0.75, 1.25, 2.0], device=device, dtype=other)
        leaves = image.requires_grad_(), scale.requires_grad_()
        output = module.rms_norm(image, (4,), scale, 0.5)
        found.append((output, *torch.autograd.grad(output.float().sum(), leaves)))
    unit = 8 * max(torch.finfo(dtype).eps for dtype in (first, other, torch.float32))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=unit, atol=unit)


def test_only_float32_may_stand_beside_half(road: str, device: str) -> None:
    image = torch.ones(2, 3, 4, device=device, dtype=torch.bfloat16)
    scale = torch.ones(3, device=device, dtype=torch.float16)
    with pytest.raises(
        TypeError, match=r"weight\.dtype=torch\.float16: must be torch\.bfloat16, .* or torch\.float32; "
    ):
        functional.batch_norm(image, None, None, scale, training=True)
    kernels = torch.ones(2, 3, 1, device=device)
    with pytest.raises(
        TypeError, match=r"weight\.dtype=torch\.float32: must be torch\.bfloat16, as the first tensor is;"
    ):
        functional.conv1d(image, kernels)


# Training


def step(network: nn.Module, scaler: torch.amp.GradScaler, dtype: torch.dtype, device: str) -> Tensor:
    """One step of training in mixed precision, as in torch's documentation."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.125)
    optimizer.zero_grad()
    with torch.autocast(device, dtype):
        loss = loss_of(network, device)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss


def parameters(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


@every_half
def test_a_network_is_typed_as_torch_s(dtype: torch.dtype, road: str, device: str) -> None:
    """Every layer's result, from image to loss, and gradients in float32."""
    types: list[list[tuple[str, torch.dtype]]] = []
    for network in (Network().to(device), Network(THEIRS).to(device)):
        types.append([])
        for name, layer in network.named_modules():
            layer.register_forward_hook(lambda _, __, output, name=name: types[-1].append((name, output.dtype)))
        with torch.autocast(device, dtype):
            loss = loss_of(network, device)
        loss.backward()
        assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
        assert all(p.grad is not None for p in network.parameters())
        types[-1].append(("loss", loss.dtype))
    assert types[0] == types[1]
    assert {found for _, found in types[0]} == {torch.float32, dtype}


def test_a_scaled_loss_trains_as_a_plain_one(road: str, device: str) -> None:
    """To the last bit: a power of two changes no fraction, and bfloat16 has float32's exponents."""
    states: Sequence[list[Tensor]] = [[], []]
    for enabled, state in zip((True, False), states, strict=True):
        torch.manual_seed(8)
        network = Network().to(device)
        before = parameters(network)
        scaler = torch.amp.GradScaler(device, init_scale=2.0**12, enabled=enabled)
        step(network, scaler, torch.bfloat16, device)
        state += parameters(network)
        assert not any(torch.equal(one, other) for one, other in zip(before, state, strict=True))
    for one, other in zip(*states, strict=True):
        equal(one, other.cpu())


def test_a_step_that_overflows_is_skipped(road: str, device: str) -> None:
    """Gradients outside float16's range are infinite, and the scale is halved until they are finite."""
    torch.manual_seed(8)
    network = Network().to(device)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**40)
    before = parameters(network)
    step(network, scaler, torch.float16, device)
    assert scaler.get_scale() == 2.0**39
    for one, other in zip(parameters(network), before, strict=True):
        equal(one, other.cpu())
    scaler.update(2.0**8)
    step(network, scaler, torch.float16, device)
    assert scaler.get_scale() == 2.0**8
    for one, other in zip(parameters(network), before, strict=True):
        assert one.isfinite().all()
        assert not torch.equal(one, other)


def test_whole_numbers_are_exact_under_autocast(road: str, device: str) -> None:
    """Numbers that bfloat16 represents give the same results under autocast as in float64."""
    network = exact_network().to(device)
    part = network[:3]
    given = whole_numbers(2, 3, 4, 6).to(device)
    expected = part(given)
    assert expected.abs().max() <= 2**8
    part.float()
    with torch.autocast(device, torch.bfloat16):
        found = part(given.float())
    assert found.dtype == torch.bfloat16
    equal(found.double(), expected.detach().cpu())


def test_compiled_as_eager() -> None:
    """A graph is compiled for autocast's state."""
    device, dtype = ("cpu" if runtime.INTERPRETED else "cuda"), torch.bfloat16
    torch._dynamo.reset()
    torch.manual_seed(8)
    network = Network(dropped=0.0).to(device).eval()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for on in (True, False):
        with torch.autocast(device, dtype, enabled=on):
            found, expected = (which(images(device=device)) for which in (compiled, network))
        assert found.dtype == (dtype if on else torch.float32)
        equal(found, expected.detach().cpu())
        losses = [nn.functional.cross_entropy(scores.float(), labels(device=device)) for scores in (found, expected)]
        wanted = list(network.parameters())
        for one, other in zip(*(torch.autograd.grad(loss, wanted) for loss in losses), strict=True):
            equal(one, other.cpu())


def test_switched_off_it_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor is copied: the operator gets the given objects."""
    seen: list[tuple[Any, ...]] = []
    original = runtime.Operator.__call__

    def record(operator: runtime.Operator, *tensors: Any, **rest: Any) -> Any:
        seen.append(tensors)
        return original(operator, *tensors, **rest)

    monkeypatch.setattr(runtime.Operator, "__call__", record)
    image, weight = torch.ones(2, 3), torch.ones(4, 3)
    functional.linear(image, weight)
    assert seen[0][0] is image
    assert seen[0][1] is weight
