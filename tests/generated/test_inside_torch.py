"""A network of the modules inside PyTorch: compiled, partly frozen, deterministic, checkpointed, on meta tensors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from svertka import generated
from svertka.codegen.verify.recording import recording
from svertka.generated import functional, plans, runtime

from .agreement import equal
from .cases import CASES, Case
from .network import CLASSES, Network, gradients, images, labels, loss_of, same_gradients, same_state, seeded, trained

# torch.compile


@pytest.mark.thinned(5)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_whole(backend: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, gradients, running statistics and dropout's field are eager's, in one graph, and in one more for any batch.

    Inductor draws other random numbers, as documented, unless it is told to draw the same as eager. Where the
    environment has ``CI``, it checks more.
    """
    monkeypatch.setenv("CI", "true")
    torch._dynamo.reset()
    eager = seeded(place)
    network = copy.deepcopy(eager)
    loss = generated.CrossEntropyLoss()
    graphs = CompileCounterWithBackend(backend)
    step = torch.compile(lambda image, target: loss(network(image), target), fullgraph=True, backend=graphs)
    with torch._inductor.config.patch(fallback_random=True):
        for count, expected in ((5, 1), (4, 2), (6, 2), (3, 2)):
            torch.manual_seed(3)
            found = step(images(count, device=place), labels(count, place))
            found.backward()
            equal(found, trained(eager, place, count).cpu())
            assert graphs.frame_count == expected
    same_gradients(network, eager)
    same_state(network, eager)
    assert network.rest[0].num_batches_tracked == 4


# Gradients that are not requested

SEVERAL = {
    case.function: case for case in reversed(CASES) if len([n for n in case.shapes if n not in case.constant]) > 1
}


@pytest.mark.parametrize("case", SEVERAL.values(), ids=SEVERAL)
def test_no_kernel_computes_what_is_not_wanted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launches of a backward on a GPU; kernels with several results get no pointers for unwanted gradients.

    A kernel that another layer's module defines has names of that layer's tensors: there results are known by their
    memory alone.
    """
    monkeypatch.setattr(runtime, "INTERPRETED", True)
    names = [name for name in case.shapes if name not in case.constant]
    launched = {}
    for asked in [names, *([name] for name in names)]:
        given = {name: t.requires_grad_(name in asked) for name, t in case.tensors().items()}
        with recording() as launches:
            results = getattr(functional, case.function)(**given, **case.others())
            forward = len(launches)
            gradients = torch.autograd.grad(results.sum(), [given[name] for name in asked])
        launched["".join(asked)] = len(launches) - forward
        made = {
            name
            for launch in launches[forward:]
            for name, value in zip(launch.kernel.arg_names, launch.arguments, strict=False)
            if isinstance(value, Tensor) and name.removeprefix("grad_").removesuffix("_ptr") in names
            if name.startswith("grad_")
        }
        assert made <= {f"grad_{name}_ptr" for name in asked}
        passed = {v.data_ptr() for launch in launches[forward:] for v in launch.arguments if isinstance(v, Tensor)}
        assert passed >= {gradient.data_ptr() for gradient in gradients}
    assert all(0 < number <= launched["".join(names)] for number in launched.values())


def test_frozen_parameters_get_nothing(device: str, road: str, asked: list[list[bool]]) -> None:
    """The others get the same gradients as without freezing; layers before the first trained one have no backward."""
    network = seeded(device)
    whole = copy.deepcopy(network)
    trained(whole, device)
    every = len(asked)
    asked.clear()
    frozen = {"first.weight", "first.bias", "normalised.weight", "normalised.bias", "second.weight", "rest.4.bias"}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    trained(network, device)
    expected = dict(whole.named_parameters())
    for name, parameter in network.named_parameters():
        if name in frozen:
            assert parameter.grad is None
        else:
            assert parameter.grad is not None
            equal(parameter.grad, expected[name].grad.cpu())  # type: ignore[union-attr]
    # Trained: the loss, the last layer without its bias, dropout, ReLU, batch norm, cross-channel norm, and only the
    # bias of the second convolution; pooling, the first batch norm and the first convolution are frozen.
    assert asked == [[True], [True, True, False], [True], [True], [True] * 3, [True], [False, False, True]]
    assert every == len(asked) + 3


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    """The requested gradients of every backward; checks that it gives None for the rest."""
    found: list[list[bool]] = []
    compute = runtime.Operator.backward

    def backward(operator: runtime.Operator, *given: Any) -> tuple[Tensor | None, ...]:
        results, wanted = compute(operator, *given), given[-1]
        tensors = given[1]
        present = [tensors[place] is not None for place in operator.differentiable]
        assert [result is not None for result in results] == [w and p for w, p in zip(wanted, present, strict=True)]
        found.append([want for want, here in zip(wanted, present, strict=True) if here])
        return results

    monkeypatch.setattr(runtime.Operator, "backward", backward)
    return found


# Modes and tools of PyTorch


def test_deterministic_algorithms(device: str) -> None:
    """Nothing is refused, the bits are the same, and no result is uninitialized: torch fills such memory with NaN."""
    network = seeded(device)
    twin = copy.deepcopy(network)
    plain = trained(twin, device)
    try:
        torch.use_deterministic_algorithms(True)
        assert torch.utils.deterministic.fill_uninitialized_memory
        plans._PLANS.clear()
        equal(trained(network, device), plain.cpu())
    finally:
        torch.use_deterministic_algorithms(False)
    same_gradients(network, twin)
    same_state(network, twin)


def test_made_without_memory(place: str) -> None:
    """On meta tensors a network has shapes; with memory and a state, it computes."""
    network = seeded(place)
    with torch.device("meta"):
        empty = Network()
        scores = empty(torch.empty(5, 3, 8, 6, requires_grad=True))
    assert scores.is_meta
    assert scores.shape == (5, CLASSES)
    scores.sum().backward()
    assert all(p.grad is not None and p.grad.is_meta and p.grad.shape == p.shape for p in empty.parameters())
    empty.zero_grad()
    empty.to_empty(device=place)
    empty.load_state_dict(network.state_dict())
    with torch.device("meta"):
        assigned = Network()
    assigned.load_state_dict(copy.deepcopy(network.state_dict()), assign=True)
    expected = trained(network, place)
    for made in (empty, assigned):
        equal(trained(made, place), expected.cpu())
        same_gradients(made, network)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.float16], ids=["float64", "bfloat16", "float16"]
)
def test_in_another_type(dtype: torch.dtype, device: str) -> None:
    """Results, gradients and running statistics are in the network's type."""
    network = seeded(device)
    network.to(dtype)
    scores = network(images(dtype=dtype, device=device))
    assert scores.dtype == dtype
    assert scores.isfinite().all()
    torch.nn.functional.cross_entropy(scores, labels(device=device)).backward()
    assert {tensor.dtype for tensor in network.state_dict().values()} == {dtype, torch.int64}
    for gradient in gradients(network):
        assert gradient is not None
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


def test_called_with_other_parameters(place: str) -> None:
    """``torch.func.functional_call``."""
    network = seeded(place)
    other = Network().to(place)
    state = {name: tensor.detach().clone() for name, tensor in other.state_dict().items()}
    torch.manual_seed(3)
    found = torch.func.functional_call(network, state, (images(device=place),))
    torch.manual_seed(3)
    equal(found, other(images(device=place)).detach().cpu())


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "plain"])
def test_checkpointed(reentrant: bool, place: str) -> None:
    """Recomputed in the backward: the same gradients, dropout's field included."""
    network = seeded(place)
    twin = copy.deepcopy(network)
    given = [images(device=place).requires_grad_() for _ in range(2)]
    results = []
    for one, image in zip((network, twin), given, strict=True):
        torch.manual_seed(3)
        hidden = one.across(one.second(one.pool(one.normalised(one.first(image)))))
        again = (lambda t: checkpoint(network.rest, t, use_reentrant=reentrant)) if one is network else one.rest
        results.append(again(hidden))
        results[-1].square().sum().backward()
    equal(results[0], results[1].detach().cpu())
    same_gradients(network, twin)
    assert given[1].grad is not None
    equal(given[0].grad, given[1].grad.cpu())  # type: ignore[arg-type]


def test_hooks(place: str) -> None:
    """Each module's forward and backward hooks are called once, with its inputs and outputs."""
    network = seeded(place)
    seen: list[tuple[str, str, torch.Size]] = []
    layers = {name: layer for name, layer in network.named_modules() if not any(layer.children())}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, given, made, name=name: seen.append((name, "forward", made.shape)))
        layer.register_full_backward_hook(lambda _, left, right, name=name: seen.append((name, "back", right[0].shape)))
    loss_of(network, place).backward()
    forward = [(name, shape) for name, way, shape in seen if way == "forward"]
    assert [name for name, _ in forward] == list(layers)
    assert [(name, shape) for name, way, shape in seen if way == "back"] == forward[::-1]
