"""Autograd and ``torch.compile``: requested gradients, saved tensors, second order, in-place flags, graphs."""

from __future__ import annotations

import copy
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from svertka.generated import functional, runtime

from .cases import CASES, DIVISIBLE, Case

SEEDED = Case("dropout", {"input": (3, 4)}, {"p": 0.25, "seed": 7})
FIRST: dict[str, Case] = {case.function: case for case in reversed(CASES)} | {"dropout": SEEDED}
every_function = pytest.mark.parametrize("case", FIRST.values(), ids=FIRST)


def formula(case: Case) -> tuple[object, ...]:
    """The arguments that select a function's formula for a call."""
    options = case.options
    mean = "running_mean" in case.shapes
    return case.function, options.get("training"), mean, options.get("reduction"), "target" in case.shapes


EVERY_FORMULA = {formula(case): case for case in (*reversed(CASES), SEEDED)}
every_formula = pytest.mark.parametrize("case", EVERY_FORMULA.values(), ids=str)


def call(case: Case, tensors: dict[str, Tensor]) -> Any:
    return getattr(functional, case.function)(**tensors, **case.others())


def first(results: Any) -> Tensor:
    found: Tensor = results[0] if isinstance(results, tuple) else results
    return found


def differentiable(case: Case) -> list[str]:
    return [name for name in case.shapes if name not in case.constant]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, ...]]:
    """The requested gradients of every backward."""
    found: list[tuple[bool, ...]] = []
    compute = runtime.Operator.backward

    def backward(
        operator: runtime.Operator,
        gradients: Sequence[Tensor | None],
        tensors: Sequence[Tensor | None],
        saved: Sequence[Tensor | None],
        symbols: dict[str, Any],
        wanted: Sequence[bool],
    ) -> tuple[Tensor | None, ...]:
        found.append(tuple(wanted))
        return compute(operator, gradients, tensors, saved, symbols, wanted)

    monkeypatch.setattr(runtime.Operator, "backward", backward)
    return found


@every_function
def test_only_wanted_gradients_are_computed(case: Case, road: str, asked: list[tuple[bool, ...]]) -> None:
    names = differentiable(case)
    whole = {k: t.requires_grad_(k in names) for k, t in case.tensors().items()}
    output = first(call(case, whole))
    every = torch.autograd.grad(output.sum(), [whole[name] for name in names])
    assert asked.pop() == (True,) * len(names)
    for place, name in enumerate(names):
        given = {k: t.detach().requires_grad_(k == name) for k, t in case.tensors().items()}
        (alone,) = torch.autograd.grad(first(call(case, given)).sum(), [given[name]])
        assert asked.pop() == tuple(other == name for other in names)
        torch.testing.assert_close(alone, every[place], rtol=0, atol=0)


@every_function
def test_nothing_is_kept_without_gradients(case: Case, road: str) -> None:
    given = {k: t.requires_grad_(k not in case.constant) for k, t in case.tensors().items()}
    with torch.no_grad():
        output = first(call(case, given))
    assert output.grad_fn is None
    assert not output.requires_grad
    frozen = first(call(case, case.tensors()))
    assert frozen.grad_fn is None
    torch.testing.assert_close(output, frozen, rtol=0, atol=0)


def generic(case: Case) -> dict[str, Tensor]:
    """The case's tensors with real elements, away from kinks and ties."""
    random = torch.Generator().manual_seed(3)
    found = {}
    for name, tensor in case.tensors().items():
        values = torch.randn(tensor.shape, generator=random, dtype=torch.float64)
        values = values.abs() + 0.5 if name in case.positive else values
        found[name] = values.requires_grad_(name not in case.constant)
    return found


@pytest.mark.thinned(10)
@every_formula
def test_second_order(case: Case, road: str) -> None:
    """Gradients of gradients against finite differences, by PyTorch's own check."""
    given = generic(case)
    wanted = [name for name, tensor in given.items() if tensor.requires_grad]

    def function(*values: Tensor) -> Tensor:
        state = {name: t.clone() for name, t in given.items() if name.startswith("running")}
        return first(call(case, given | state | dict(zip(wanted, values, strict=True))))

    assert torch.autograd.gradgradcheck(function, [given[name] for name in wanted], fast_mode=True)


@every_function
def test_gradients_while_autograd_records(case: Case, road: str) -> None:
    given = {k: t.requires_grad_(k not in case.constant) for k, t in case.tensors().items()}
    wanted = [t for t in given.values() if t.requires_grad]
    recorded, plain = (
        torch.autograd.grad((first(call(case, given)) * DIVISIBLE).sum(), wanted, create_graph=kept)
        for kept in (True, False)
    )
    for left, right in zip(recorded, plain, strict=True):
        assert left.shape == right.shape
        if case.exact:
            torch.testing.assert_close(left.detach(), right, rtol=0, atol=0)


def test_third_order_is_refused(road: str) -> None:
    given = torch.tensor([0.5, 1.0, -2.0], dtype=torch.float64, requires_grad=True)
    value = functional.softmax(given, 0).square().sum()
    for _ in range(2):
        (value,) = torch.autograd.grad(value.square().sum(), given, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"softmax.*gradient.*torch\.nn\.functional"):
        torch.autograd.grad(value.square().sum(), given)


def test_integer_results_have_no_gradient(road: str) -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4).requires_grad_()
    output, indices = functional.max_pool2d(image, 2, return_indices=True)
    assert output.requires_grad
    assert not indices.requires_grad
    assert indices.dtype == torch.int64


# State and memory


def test_state_may_change_before_the_backward(road: str) -> None:
    """Running estimates are replaced in place between forward and backward; a frozen state stays."""
    given = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    output = functional.batch_norm(given, mean, variance, training=True)
    assert mean.abs().min() > 0
    output.square().sum().backward()
    before = mean.clone()
    functional.batch_norm(given, mean, variance)
    assert torch.equal(mean, before)


IN_PLACE: list[Callable[..., Tensor]] = [functional.relu, lambda t, **k: functional.dropout(t, seed=3, **k)]


@pytest.mark.parametrize("function", IN_PLACE, ids=["relu", "dropout"])
def test_in_place(function: Callable[..., Tensor], road: str) -> None:
    """The result overwrites the input, and gradients equal those of the call without the flag."""
    leaf = torch.tensor([[-1.0, 2.0, 0.5], [3.0, -4.0, 5.0]], requires_grad=True)
    expected = function(leaf * 2).square()
    moved = leaf * 2
    output = function(moved, inplace=True)
    assert output is moved
    assert torch.equal(output.square(), expected)
    grads = [torch.autograd.grad(result.sum(), leaf)[0] for result in (output.square(), expected)]
    assert torch.equal(*grads)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        function(leaf, inplace=True)
    plain = torch.tensor([-1.0, 2.0])
    assert function(plain, inplace=True) is plain


@pytest.mark.parametrize("function", [functional.relu, lambda t: functional.max_pool2d(t, 2)], ids=["relu", "pool"])
def test_channels_last_stays(function: Callable[[Tensor], Tensor]) -> None:
    given = torch.arange(96.0).view(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    output = function(given)
    assert torch.equal(output, function(given.contiguous()))
    if function is functional.relu:
        assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_along_a_dimension_results_are_row_major(name: str, road: str) -> None:
    """As in torch, for any format of the image: ``view`` cannot merge dimensions of a channels-last result."""
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    for module in (functional, torch.nn.functional):
        output = getattr(module, name)(image, 1)
        (gradient,) = torch.autograd.grad(output.square().sum(), image)
        assert output.is_contiguous()
        assert gradient.is_contiguous()


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "channels last": lambda: torch.linspace(-1, 1, 120).view(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "channels last, volumes": lambda: torch.ones(2, 3, 2, 4, 5).to(memory_format=torch.channels_last_3d),
    "expanded": lambda: torch.linspace(-1, 1, 30).view(2, 3, 1, 5).expand(2, 3, 4, 5),
    "every second": lambda: torch.linspace(-1, 1, 240).view(2, 3, 4, 10)[..., ::2],
    "row-major": lambda: torch.linspace(-1, 1, 120).view(2, 3, 4, 5),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["relu", "dropout"])
def test_results_and_gradients_lie_in_memory_as_torchs_do(name: str, layout: str, road: str) -> None:
    """The code that follows may take a view of them, or be fast in this format only."""
    found = []
    for functions in (functional, torch.nn.functional):
        given = LAYOUTS[layout]().requires_grad_()
        output = getattr(functions, name)(given)
        (gradient,) = torch.autograd.grad(output, given, torch.ones_like(output))
        found.append((output.stride(), gradient.stride()))
    assert found[0] == found[1]


@pytest.mark.parametrize("rank", [2, 3])
def test_weights_with_channels_last_bring_them_last(rank: int, road: str) -> None:
    """As in torch's convolutions: a model in channels-last format accepts images in any format, and keeps its own."""
    last = {2: torch.channels_last, 3: torch.channels_last_3d}[rank]
    image = torch.arange(3.0 * 4**rank).view(1, 3, *[4] * rank)  # whole numbers, which no sum here rounds
    weight = torch.arange(6.0 * 2**rank).view(2, 3, *[2] * rank).to(memory_format=last)
    found = []
    for functions in (functional, torch.nn.functional):
        given = image.clone().requires_grad_()
        output = getattr(functions, f"conv{rank}d")(given, weight)
        (gradient,) = torch.autograd.grad(output, given, torch.ones_like(output))
        found.append((output, gradient))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert found[0][0].is_contiguous(memory_format=last)  # so does torch on a CPU for images, not for volumes
    assert rank == 3 or found[0][0].stride() == found[1][0].stride()


# Randomness


def test_nothing_is_drawn_where_nothing_is_dropped(road: str) -> None:
    """With p = 0 the input itself is returned, and the generator's state does not change, as in torch."""
    before, ones = torch.get_rng_state(), torch.ones(3, 4)
    assert functional.dropout(ones, 0.0) is ones
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.func.vmap(lambda row: functional.dropout(row, 0.0))(ones), ones)


def test_seeds_come_from_torch(road: str) -> None:
    ones = torch.ones(1000)
    torch.manual_seed(5)
    one, two = functional.dropout(ones), functional.dropout(ones)
    torch.manual_seed(5)
    assert torch.equal(functional.dropout(ones), one)
    assert not torch.equal(one, two)
    assert torch.equal(functional.dropout(ones, seed=2**62 + 1), functional.dropout(ones, seed=2**62 + 1))
    assert functional.dropout(ones, training=False) is ones


# torch.compile and torch.library


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    torch._dynamo.reset()
    found: Callable[..., Any] = torch.compile(function, fullgraph=True, backend="aot_eager")
    return found


@pytest.mark.thinned(5)
@every_formula
def test_compiled_as_eager(case: Case) -> None:
    """Results, state and gradients of one whole graph."""
    function = getattr(functional, case.function)
    names = differentiable(case)
    eager = {k: t.requires_grad_(k in names) for k, t in case.tensors().items()}
    traced = {k: t.requires_grad_(k in names) for k, t in case.tensors().items()}
    expected = function(**eager, **case.others())
    found = compiled(function)(**traced, **case.others())
    for left, right in zip(as_tuple(found), as_tuple(expected), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    first(found).square().sum().backward()
    first(expected).square().sum().backward()
    for name, tensor in eager.items():
        torch.testing.assert_close(traced[name].detach(), tensor.detach(), rtol=0, atol=0)
        if name in names:
            torch.testing.assert_close(traced[name].grad, tensor.grad, rtol=0, atol=0)


def as_tuple(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def test_compiled_dropout_draws_anew() -> None:
    function = compiled(lambda t: functional.dropout(t))
    ones = torch.ones(1000)
    assert not torch.equal(function(ones), function(ones))


def test_compiled_for_any_batch() -> None:
    """One graph is used for all sizes."""
    torch._dynamo.reset()
    counted = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    function = torch.compile(
        lambda t, w: functional.relu(functional.conv2d(t, w, padding=1)), fullgraph=True, dynamic=True, backend=counted
    )
    weight = torch.ones(3, 2, 3, 3)
    for extent in (5, 6, 9):
        given = torch.ones(extent, 2, extent + 1, extent + 2)
        assert torch.equal(function(given, weight), functional.relu(functional.conv2d(given, weight, padding=1)))
    assert counted.frame_count == 1


def test_compiled_labels_are_checked() -> None:
    function = compiled(functional.cross_entropy)
    with pytest.raises((RuntimeError, ValueError), match="target"):
        function(torch.zeros(2, 3), torch.tensor([0, 3]))


@pytest.mark.thinned(5)
@every_formula
def test_registered_as_torch_asks(case: Case) -> None:
    """Schema, fake tensors and autograd registration, by torch's own checks."""
    called: list[tuple[runtime.Operator, tuple[Any, ...]]] = []
    original = runtime.Operator.__call__

    def record(operator: runtime.Operator, *tensors: Any, around: int | None = None, **rest: Any) -> Any:
        view = operator.view(tensors, around)
        flat = tensors if view is None else view.flat(operator.tensors, tensors)
        called.append((operator, (*flat, *operator.packed(rest))))
        return original(operator, *tensors, around=around, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime.Operator, "__call__", record)
        call(case, {k: t.requires_grad_(k in differentiable(case)) for k, t in case.tensors().items()})
    for operator, values in called:
        torch.library.opcheck(operator.registered, copy.copy(values), rtol=0, atol=0)


@every_function
def test_meta_tensors_have_the_shapes(case: Case) -> None:
    given = {k: t.to("meta") for k, t in case.tensors().items()}
    others = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in case.others().items()}
    if any(isinstance(v, Tensor) and not v.is_floating_point() for v in others.values()):
        pytest.skip("labels are data")
    found = as_tuple(getattr(functional, case.function)(**given, **others))
    expected = as_tuple(call(case, case.tensors()))
    assert [(t.shape, t.dtype) for t in found] == [(t.shape, t.dtype) for t in expected]


def test_import_brings_only_what_a_gpu_needs() -> None:
    """No SymPy, no Jinja, no reference, no kernels."""
    program = (
        "import sys, torch, triton\n"
        "from svertka.generated import Conv2d\n"
        "print(*[n for n in sys.modules if n.startswith(('svertka', 'jinja2'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    way = ("autograd", "forward_mode", "library", "plans", "roads", "runtime", "saving", "transforms")
    parts = ("arguments", "exporting", "functional", "memory", "modules", "on_demand", "views", *way)
    allowed = {"svertka", "svertka.generated", *(f"svertka.generated.{part}" for part in parts)}
    functions = importlib.import_module("svertka.generated.functions")
    allowed |= {found.name for found in pkgutil.walk_packages(functions.__path__, f"{functions.__name__}.")}
    allowed.add(functions.__name__)
    assert set(done.stdout.split()) <= allowed
