"""``torch.func``, forward mode, batches of gradients, fake and subclass tensors, tracers, counters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from svertka import generated
from svertka.generated import functional, runtime
from svertka.generated.functions.batch_normalization import _BATCH_NORM_TRAINING
from svertka.generated.functions.cross_entropy import _CROSS_ENTROPY_LABELS_MEAN
from svertka.generated.functions.dropout import _DROPOUT
from svertka.generated.functions.relu import _RELU

from .cases import Case
from .test_autograd import as_tuple, call, differentiable, every_function, first, generic

Function = Callable[..., Any]
OURS, THEIRS = functional, torch.nn.functional


def double(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_case(case: Case) -> tuple[Function, dict[str, Tensor], list[str]]:
    """A function of the differentiable tensors of a case, its tensors away from kinks, and their names."""
    given = {name: tensor.detach() for name, tensor in generic(case).items()}
    names = differentiable(case)

    def function(*values: Tensor) -> Tensor:
        state = {name: t.clone() for name, t in given.items() if name.startswith("running")}
        return first(call(case, given | state | dict(zip(names, values, strict=True))))

    return function, given, names


# Derivatives -------------------------------------------------------------------------------------------------------


@pytest.mark.thinned(4)
@every_function
def test_gradient_of_torch_func(case: Case, road: str) -> None:
    """It equals autograd's gradient."""
    function, given, names = of_case(case)
    values = [given[name] for name in names]
    places = tuple(range(len(names)))
    found = torch.func.grad(lambda *v: function(*v).square().sum(), places)(*values)
    leaves = [value.clone().requires_grad_() for value in values]
    expected = torch.autograd.grad(function(*leaves).square().sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.thinned(5)
@every_function
def test_forward_mode_against_reverse_mode(case: Case, road: str) -> None:
    """For every direction v and weight u: the product of J v with u equals that of v with the gradient for u."""
    function, given, names = of_case(case)
    values = [given[name] for name in names]
    directions = [double(*value.shape, seed=place) for place, value in enumerate(values)]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(value, v) for value, v in zip(values, directions, strict=True)]
        result, dual = forward_ad.unpack_dual(function(*duals))
    by_func = torch.func.jvp(function, tuple(values), tuple(directions))
    torch.testing.assert_close(by_func[0], result, rtol=0, atol=0)
    torch.testing.assert_close(by_func[1], dual, rtol=0, atol=0)
    weight = double(*result.shape, seed=9)
    leaves = [value.clone().requires_grad_() for value in values]
    gradients = torch.autograd.grad(function(*leaves), leaves, weight)
    left = (dual * weight).sum()
    right = sum((v * gradient).sum() for v, gradient in zip(directions, gradients, strict=True))
    scale = (dual * weight).abs().sum() + 1
    assert abs(left - right) <= 1e-11 * scale
    assert float(dual.abs().max()) > 0


def test_integer_results_have_no_tangent(road: str) -> None:
    with forward_ad.dual_level():
        image = forward_ad.make_dual(double(2, 4, 6), double(2, 4, 6, seed=2))
        output, indices = functional.max_pool2d(image, 2, return_indices=True)
        assert forward_ad.unpack_dual(output).tangent is not None
        assert forward_ad.unpack_dual(indices).tangent is None


SMOOTH: dict[str, Function] = {
    "softmax": lambda F, x: F.softmax(x, 1),
    "log_softmax": lambda F, x: F.log_softmax(x, 0),
    "conv": lambda F, x: F.conv2d(x[None, None], x[None, None, :2, :2]),
    "batch_norm": lambda F, x: F.batch_norm(x, None, None, training=True),
    "linear": lambda F, x: F.linear(x, x[:2]),
    "relu": lambda F, x: F.relu(x) ** 3,
    "cross_entropy": lambda F, x: F.cross_entropy(x, torch.tensor([0, 2, 1])),
}
COMPOSED: dict[str, Function] = {
    "jacrev": torch.func.jacrev,
    "jacfwd": torch.func.jacfwd,
    "hessian": lambda f: torch.func.hessian(lambda x: f(x).square().sum()),
    "reverse of forward": lambda f: torch.func.jacrev(torch.func.jacfwd(lambda x: f(x).square().sum())),
    "reverse of reverse": lambda f: torch.func.jacrev(torch.func.jacrev(lambda x: f(x).square().sum())),
    "vmap of grad": lambda f: torch.vmap(torch.func.grad(lambda x: f(x).square().sum())),
    "vectorized": lambda f: lambda x: torch.autograd.functional.jacobian(f, x, vectorize=True),
}


@pytest.mark.thinned(8)
@pytest.mark.parametrize("transform", COMPOSED)
@pytest.mark.parametrize("name", SMOOTH)
def test_composed_as_torch_composes(name: str, transform: str, road: str) -> None:
    """Values of torch's own functions under the same transform, or under an equivalent one."""
    given = double(5, 3, 4) if transform == "vmap of grad" else double(3, 4)
    ours = COMPOSED[transform](lambda x: SMOOTH[name](OURS, x))(given)
    # torch's jacrev(jacfwd) of its batch norm contradicts its own hessian.
    judge = "reverse of reverse" if transform == "reverse of forward" else transform
    theirs = COMPOSED[judge](lambda x: SMOOTH[name](THEIRS, x))(given)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_second_tangents_are_refused(road: str) -> None:
    with pytest.raises(NotImplementedError, match=r"softmax.*orders=2"):
        torch.func.jacfwd(torch.func.jacfwd(lambda x: functional.softmax(x, 0)))(double(3))


def test_no_tangent_without_second_order(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error message names the option that would generate it."""
    monkeypatch.setitem(vars(_RELU), "gradient", None)
    with pytest.raises(NotImplementedError, match=r"relu: forward mode .* define\(\.\.\., orders=2\)"):
        torch.func.jvp(functional.relu, (double(3),), (double(3),))


@pytest.mark.parametrize("name", ["instance_norm", "batch_norm"])
@pytest.mark.parametrize("transform", ["grad", "jvp", "grad of grad"])
def test_running_statistics_of_a_differentiated_function(name: str, transform: str, road: str) -> None:
    """They are captured, not passed: torch's normalizations step them all the same, and ours."""
    image = double(3, 2, 4, seed=5)
    found = []
    for place in (OURS, THEIRS):
        state = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([2.0, 0.75], dtype=torch.float64)
        told = {"use_input_stats": True} if name == "instance_norm" else {"training": True}

        def loss(
            values: Tensor, place: Any = place, state: tuple[Tensor, Tensor] = state, told: dict[str, bool] = told
        ) -> Tensor:
            return (getattr(place, name)(values, *state, momentum=0.25, **told) ** 3).sum()

        if transform == "jvp":
            derived = torch.func.jvp(loss, (image,), (double(3, 2, 4, seed=6),))[1]
        elif transform == "grad":
            derived = torch.func.grad(loss)(image)
        else:
            derived = torch.func.grad(lambda values, loss=loss: torch.func.grad(loss)(values)[0, 0, 0])(image)
        assert not any(torch._C._functorch.is_functorch_wrapped_tensor(one) for one in state)
        assert not any(one.requires_grad or forward_ad.unpack_dual(one).tangent is not None for one in state)
        found.append((derived, *state))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


# Batches -----------------------------------------------------------------------------------------------------------


WITHOUT_STATE: dict[str, dict[str, Any]] = {"instance_norm": {"use_input_stats": False}}
"""Options with which running statistics are read alone, where they are not batch norm's."""


@pytest.mark.thinned(5)
@every_function
def test_vmap_is_slice_by_slice(case: Case, road: str) -> None:
    """Over each tensor alone, over all, along the last dimension, and over an empty batch."""
    if "running_mean" in case.shapes:  # vmap does not support state
        case = Case(case.function, case.shapes, case.options | WITHOUT_STATE.get(case.function, {"training": False}))
    function, given, names = of_case(case)
    values = [given[name] for name in names]
    size = 3
    batches = [torch.stack([value + k / 8 for k in range(size)]) for value in values]
    choices = [tuple(0 if place == only else None for place in range(len(names))) for only in range(len(names))]
    for dims in {*choices, (0,) * len(names)}:
        chosen = [b if dim == 0 else v for b, v, dim in zip(batches, values, dims, strict=True)]
        found = torch.vmap(function, dims)(*chosen)
        slices = [
            function(*[c[k] if dim == 0 else c for c, dim in zip(chosen, dims, strict=True)]) for k in range(size)
        ]
        torch.testing.assert_close(found, torch.stack(slices), rtol=1e-12, atol=1e-12)
    moved = [batch.movedim(0, -1) for batch in batches]
    found = torch.vmap(function, (-1,) * len(names), -1)(*moved)
    torch.testing.assert_close(found, torch.vmap(function)(*batches).movedim(0, -1), rtol=0, atol=0)
    empty = torch.vmap(function)(*(batch[:0] for batch in batches))
    assert empty.shape == (0, *function(*values).shape)


@pytest.mark.thinned(5)
@every_function
def test_batches_of_gradients(case: Case, road: str) -> None:
    """``is_grads_batched``: each gradient equals the separate one."""
    function, given, names = of_case(case)
    leaves = [given[name].clone().requires_grad_() for name in names]
    result = function(*leaves)
    weights = double(3, *result.shape)
    found = torch.autograd.grad(result, leaves, weights, is_grads_batched=True, retain_graph=True)
    for place, weight in enumerate(weights):
        alone = torch.autograd.grad(result, leaves, weight, retain_graph=True)
        for one, other in zip(found, alone, strict=True):
            torch.testing.assert_close(one[place], other, rtol=1e-12, atol=1e-12)


def test_gradients_of_each_example(road: str) -> None:
    """A network's loss and its labels, one example at a time."""
    labels, images, weight = torch.tensor([0, 2, 1, 1]), double(4, 5), double(3, 5)

    def gradients(F: Any) -> Tensor:
        def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(F.linear(x[None], w), y[None])

        return torch.vmap(torch.func.grad(loss), (None, 0, 0))(weight, images, labels)

    torch.testing.assert_close(gradients(OURS), gradients(THEIRS), rtol=1e-9, atol=1e-9)
    with pytest.raises((RuntimeError, ValueError), match="target"):
        torch.vmap(lambda y: functional.cross_entropy(images[0], y))(labels + 7)


def test_dropout_in_batches_obeys_randomness(road: str) -> None:
    ones = torch.ones(4, 200)
    with pytest.raises(RuntimeError, match="randomness"):
        torch.vmap(functional.dropout)(ones)
    same = torch.vmap(functional.dropout, randomness="same")(ones)
    different = torch.vmap(functional.dropout, randomness="different")(ones)
    assert all(torch.equal(same[0], row) for row in same)
    assert not torch.equal(different[0], different[1])


# Tensors that are no plain memory, and what follows a computation ----------------------------------------------------


@every_function
def test_fake_tensors_have_shapes_and_strides(case: Case, road: str) -> None:
    """They equal those of the real tensors, for results and gradients, for row-major and channels-last images."""
    for last in (False, True):
        tensors = case.tensors()
        if last and "input" in tensors and tensors["input"].dim() == 4:
            tensors["input"] = tensors["input"].contiguous(memory_format=torch.channels_last)
        real = results_and_gradients(case, tensors, case.others())
        mode = FakeTensorMode()
        others = {k: mode.from_tensor(v) if isinstance(v, Tensor) else v for k, v in case.others().items()}
        fakes = {k: mode.from_tensor(v) for k, v in tensors.items()}
        with mode:
            fake = results_and_gradients(case, fakes, others)
        assert [(t.shape, t.dtype, t.stride()) for t in fake] == [(t.shape, t.dtype, t.stride()) for t in real]


def results_and_gradients(case: Case, tensors: dict[str, Tensor], others: dict[str, Any]) -> list[Tensor]:
    given = {k: t.detach().requires_grad_(k in differentiable(case)) for k, t in tensors.items()}
    results = as_tuple(getattr(functional, case.function)(**given, **others))
    results[0].backward(torch.ones_like(results[0]))
    return [*results, *(t.grad for t in given.values() if t.grad is not None)]


def test_fake_dropout(road: str) -> None:
    with FakeTensorMode():
        assert functional.dropout(torch.ones(3, 4, requires_grad=True)).shape == (3, 4)


class Marked(Tensor):
    """A subclass without additions."""


@every_function
def test_subclasses_are_kept(case: Case, road: str) -> None:
    tensors = case.tensors()
    name = next(iter(tensors))
    plain = first(call(case, case.tensors()))
    marked = first(call(case, tensors | {name: tensors[name].as_subclass(Marked)}))
    assert type(marked) is Marked
    torch.testing.assert_close(marked.as_subclass(Tensor), plain, rtol=0, atol=0)


def test_operations_are_counted(road: str) -> None:
    """Forward and backward of products, as in torch; for groups torch counts too much in the weight's gradient."""
    image, weight = double(2, 4, 5, 6), double(6, 4, 3, 2)

    def counted(F: Any) -> dict[str, int]:
        with FlopCounterMode(display=False) as mode:
            x, w = image.clone().requires_grad_(), weight.clone().requires_grad_()
            F.conv2d(x, w, padding=1).sum().backward()
            F.linear(x.flatten(1), double(7, 120).requires_grad_()).sum().backward()
            F.conv1d(image[:, :, 0], weight[:, :, 0].clone().requires_grad_()).sum().backward()
        return mode.get_total_flops()

    assert counted(OURS) == counted(THEIRS) > 0


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_traced_into_a_graph(mode: str, road: str) -> None:
    """The graph computes the values from its inputs."""

    def network(x: Tensor, w: Tensor) -> Tensor:
        return functional.softmax(functional.max_pool2d(functional.relu(functional.conv2d(x, w)), 2), 1)

    image, weight = double(2, 3, 6, 7), double(4, 3, 3, 2)
    graph = make_fx(network, tracing_mode=mode)(image, weight)
    torch.testing.assert_close(graph(image * 2, weight), network(image * 2, weight), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_traced_by_torch_jit(road: str) -> None:
    """No result of the traced call becomes a constant; torch warns that its shapes do."""
    layer = generated.Conv2d(3, 4, 3, padding=1, dtype=torch.float64).requires_grad_(False)
    image = double(2, 3, 6, 7)
    with pytest.warns(torch.jit.TracerWarning, match=r"these shapes alone; torch\.export keeps shapes open"):
        traced = torch.jit.trace(layer, image)
    torch.testing.assert_close(traced(image * 3), layer(image * 3), rtol=0, atol=0)


def test_traced_by_torch_fx() -> None:
    """Every public function is a node of the graph, as torch's functions are."""

    class Network(torch.nn.Module):
        def forward(self, x: Tensor, w: Tensor) -> Tensor:
            return functional.relu(functional.conv2d(x, w, stride=2))

    graph = torch.fx.symbolic_trace(Network())
    called = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert called == [functional.conv2d, functional.relu]
    image, weight = double(2, 3, 6, 7), double(4, 3, 3, 2)
    torch.testing.assert_close(graph(image, weight), Network()(image, weight), rtol=0, atol=0)


# torch.compile --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", ["jvp", "grad", "vmap"])
def test_transforms_compile(transform: str, place: str) -> None:
    def function(x: Tensor, F: Any) -> Any:
        if transform == "jvp":
            return torch.func.jvp(lambda v: F.softmax(v, 0), (x,), (x.cos(),))[1]
        if transform == "grad":
            return torch.func.grad(lambda v: F.softmax(v, 0).square().sum())(x)
        return torch.vmap(lambda v: F.softmax(v, 0))(x)

    torch._dynamo.reset()
    given = double(3, 4)
    found = torch.compile(function, backend="aot_eager", fullgraph=True)(given, OURS)
    torch.testing.assert_close(found, function(given, THEIRS), rtol=1e-9, atol=1e-9)


def test_channels_last_images_of_any_size_compile(place: str) -> None:
    torch._dynamo.reset()
    layers = [generated.Conv2d(3, 8, 3, padding=1), generated.BatchNorm2d(8), generated.ReLU(), generated.MaxPool2d(2)]
    network = torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for size in (8, 10, 13):
        image = torch.rand(2, 3, size, size + 2).contiguous(memory_format=torch.channels_last)
        found, expected = compiled(image), network(image)
        assert found.stride() == expected.stride()
        torch.testing.assert_close(found, expected)


def test_numbers_that_change_compile(place: str) -> None:
    """A probability, a momentum, a smoothing that a schedule changes."""
    torch._dynamo.reset()
    x, labels = torch.rand(4, 3), torch.tensor([0, 2, 1, 1])
    functions: list[Function] = [
        lambda p: functional.dropout(x, p, seed=3),
        lambda p: functional.batch_norm(x, x[0].clone(), x[1].clone(), training=True, momentum=p),
        lambda p: functional.cross_entropy(x, labels, label_smoothing=p),
    ]
    for function in functions:
        for dynamic in (None, True):
            torch._dynamo.reset()
            compiled = torch.compile(function, fullgraph=True, dynamic=dynamic, backend="aot_eager")
            for p in (0.1, 0.2, 0.35):
                torch.testing.assert_close(compiled(p), function(p), rtol=0, atol=0)


def test_numbers_that_change_compile_as_often_as_torchs() -> None:
    """``torch.compile`` treats a number as a constant, for any function; no kernel is compiled for it."""
    x, labels = torch.rand(4, 3), torch.tensor([0, 2, 1, 1])
    calls: list[Callable[[Any, float], Tensor]] = [
        lambda house, p: house.dropout(x, p),
        lambda house, p: house.batch_norm(x, x[0].clone(), x[1].clone(), training=True, momentum=p),
        lambda house, p: house.cross_entropy(x, labels, label_smoothing=p),
    ]
    for called in calls:
        frames = []
        for house in (OURS, THEIRS):
            torch._dynamo.reset()
            counted = CompileCounterWithBackend("aot_eager")
            compiled = torch.compile(partial(called, house), fullgraph=True, backend=counted)
            for p in (0.1, 0.2, 0.35, 0.4):
                compiled(p)
            frames.append(counted.frame_count)
        assert frames[0] <= frames[1]
    operators = _DROPOUT, _BATCH_NORM_TRAINING, _CROSS_ENTROPY_LABELS_MEAN
    assert [one.varying for one in operators] == [("p", "seed"), ("momentum",), ("label_smoothing",)]


@pytest.mark.thinned(5)
@every_function
def test_the_forward_runs_once_when_compiled(case: Case, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved tensors are used, and not computed again."""
    torch._dynamo.reset()
    names = differentiable(case)
    compiled = torch.compile(getattr(functional, case.function), fullgraph=True, backend="aot_eager")
    runs: list[str] = []
    forward = runtime.Operator.forward

    def counted(operator: runtime.Operator, *given: Any, **more: Any) -> Any:
        runs.append(operator.name)
        return forward(operator, *given, **more)

    monkeypatch.setattr(runtime.Operator, "forward", counted)
    given = {k: t.requires_grad_(k in names) for k, t in case.tensors().items()}
    result = first(compiled(**given, **case.others()))
    result.backward(torch.ones_like(result))
    assert len(runs) == 1
    assert all(given[name].grad is not None for name in names)


# CUDA graphs ----------------------------------------------------------------------------------------------------------


def test_a_mask_is_not_baked_into_a_graph_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """During capture the seed is a tensor: a replay draws a new one into it, and kernels load it."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(runtime, "INTERPRETED", True)
    drawn: list[Any] = []
    operator = _DROPOUT

    class Seen:
        def __call__(self, *tensors: Tensor, seed: Any, **more: Any) -> Any:
            drawn.append(seed)
            return operator(*tensors, seed=seed, **more)

    monkeypatch.setattr("svertka.generated.functions.dropout._DROPOUT", Seen())
    ones = torch.ones(5, 7, dtype=torch.float64, requires_grad=True)
    masked = functional.dropout(ones)
    (seed,) = drawn
    assert (seed.shape, seed.dtype, seed.device) == ((), torch.int64, ones.device)
    (gradient,) = torch.autograd.grad(masked.sum(), ones, retain_graph=True)
    assert torch.equal(gradient, functional.dropout(torch.ones_like(ones), seed=int(seed)))
    seed.fill_(int(seed) // 2 + 1)  # what a replay does before the backward's kernels run again
    (gradient,) = torch.autograd.grad(masked.sum(), ones)
    assert torch.equal(gradient, functional.dropout(torch.ones_like(ones), seed=int(seed)))
    assert not torch.equal(gradient, masked)
