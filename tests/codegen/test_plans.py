"""Plans: a replayed program gives the program's results, and is not replayed where another kernel would be compiled."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
import torch

from svertka.codegen.lowering.build import keywords_of
from svertka.codegen.torch_api.operators import operator_of
from svertka.codegen.verify.cases import cases
from svertka.codegen.verify.equivalence import draw_values, real
from svertka.generated import functional, launching, plans
from svertka.generated import kernels as kernels_package
from svertka.spec import gradient_name
from svertka.spec.definition import Definition, Variant
from svertka.spec.layers import DEFINITIONS

from ..generated.cases import CASES, Case

pytestmark = pytest.mark.skipif(not launching.INTERPRETING, reason="kernels stand in for compiled ones here")


class Compiled:
    """Stands for the result of a Triton launch, for an interpreted kernel: it runs again with positional arguments."""

    packed_metadata = ()

    def __init__(self, kernel: Any, options: dict[str, Any]) -> None:
        self.kernel, self.options = kernel, options

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(*values: Any) -> None:
            assert len(values) == len(self.kernel.arg_names)
            self.kernel[(grid[0],)](**dict(zip(self.kernel.arg_names, values, strict=True)), **self.options)

        return run


class Kernel:
    """A kernel of the interpreter that is launched like a compiled one."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.arg_names, self.bound = kernel, kernel.arg_names, 0

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Compiled]:
        def launch(*arguments: Any, **constants: Any) -> Compiled:
            self.bound += 1
            self.kernel[grid](*arguments, **constants)
            options = {name: value for name, value in constants.items() if name not in self.arg_names}
            return Compiled(self.kernel, options)

        return launch


@pytest.fixture(autouse=True)
def _enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "ENABLED", True)
    monkeypatch.setattr(plans, "_PLANS", {})


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    """Every module of kernels: one that is imported while kernels of another are replaced keeps the replacements."""
    for found in pkgutil.iter_modules(kernels_package.__path__):
        importlib.import_module(f"{kernels_package.__name__}.{found.name}")


def programs_of(definition: Definition) -> tuple[Any, dict[str, Kernel]]:
    """The definition's generated module and its kernels, as compiled ones."""
    module = importlib.import_module(f"svertka.generated.kernels.{definition.name}")
    return module, {name: Kernel(value) for name, value in vars(module).items() if hasattr(value, "arg_names")}


EVERY = [
    pytest.param(definition, variant, id=variant.layer.name)
    for definition in DEFINITIONS.values()
    for variant in definition.variants
]


@pytest.mark.thinned(8)
@pytest.mark.parametrize(("definition", "variant"), EVERY)
def test_a_replay_is_the_program(definition: Definition, variant: Variant) -> None:
    layer = variant.layer
    case = next(cases(definition, variant))
    module, kernels = programs_of(definition)
    symbols = {name: case.sizes[name] for name in keywords_of(layer)}
    varying = operator_of(definition, variant).varying
    wanted = tuple(name in {t.name for t in layer.inputs} - case.absent for name in definition.differentiable(layer))
    forward, backward = (getattr(module, f"{layer.name}_{way}") for way in ("forward", "backward"))
    with mock.patch.multiple(module, **kernels):
        for seed in (1, 2, 3):
            drawn = draw_values(definition, layer, case, real, str(seed)).all
            values = {name: t.float() if t.is_floating_point() else t for name, t in drawn.items()}
            given = [values.get(tensor.name) for tensor in layer.inputs]
            saved = plans.run(forward, given, symbols, varying, save=True, skipped=())
            expected = forward(*given, **symbols, save=True, skipped=())
            same(saved, expected)
            count = len(layer.outputs)
            seeds = [values[gradient_name(name)] for name in definition.real_results(layer)]
            behind = (*seeds, *given, *expected[count:])
            found = plans.run(backward, behind, symbols, varying, wanted=wanted)
            same(found, backward(*behind, **symbols, wanted=wanted))
    assert len(plans._PLANS) == 2
    assert all(plan is not None and plan.launches for plan in plans._PLANS.values())


def same(found: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
        else:
            assert one.stride() == other.stride()
            assert torch.equal(one.nan_to_num(nan=77.0), other.nan_to_num(nan=77.0))


def called(case: Case, scale: float) -> list[torch.Tensor]:
    """Results of a call and the gradients of its tensors, for other values with another scale."""
    given = {
        name: (tensor * scale).requires_grad_(name not in case.constant)
        for name, tensor in case.tensors(torch.float32).items()
    }
    results = getattr(functional, case.function)(**given, **case.others(torch.float32))
    listed = [one for one in (results if isinstance(results, tuple) else (results,)) if one.is_floating_point()]
    wanted = [tensor for tensor in given.values() if tensor.requires_grad]
    grads = torch.autograd.grad(listed[0], wanted, torch.linspace(-1, 2, listed[0].numel()).view_as(listed[0]) * scale)
    return [*(one.detach() for one in listed), *grads, *(t for n, t in given.items() if n in case.constant)]


@pytest.fixture(scope="module")
def every_kernel() -> Iterator[None]:
    """All kernels as compiled ones."""
    with ExitStack() as stack:
        for definition in DEFINITIONS.values():
            module, kernels = programs_of(definition)
            stack.enter_context(mock.patch.multiple(module, **kernels))
        yield


@pytest.mark.thinned(8)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_calls_are_replayed(case: Case, every_kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """From and to the shapes that users see: flattened, transposed, with absent tensors, replaced state."""
    called(case, 1.0)
    recorded = dict(plans._PLANS)
    assert recorded
    assert None not in recorded.values()
    found = called(case, 0.5)
    assert recorded == plans._PLANS
    monkeypatch.setattr(plans, "ENABLED", False)
    same(tuple(found), tuple(called(case, 0.5)))


LAYOUTS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda x: x,
    lambda x: x.transpose(1, 2),
    lambda x: x.transpose(0, 2),
    lambda x: x.movedim(1, -1),
    lambda x: x[:, ::2],
    lambda x: x[1:],
    lambda x: x[:, :1].expand(-1, 4, -1),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_replayed(
    layout: Callable[[torch.Tensor], torch.Tensor], every_kernel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a flattened tensor is no view: then the call runs without a plan."""

    def results(scale: float) -> tuple[torch.Tensor, ...]:
        x = layout(torch.linspace(-3, 5, 48).view(2, 4, 6) * scale).detach().requires_grad_()
        y, z = functional.relu(x), functional.softmax(x, 1)
        return y.detach(), z.detach(), *torch.autograd.grad((y * z).sum(), x)

    results(1.0)
    found = results(-0.5)
    monkeypatch.setattr(plans, "ENABLED", False)
    same(found, results(-0.5))


# The key of a plan ---------------------------------------------------------------------------------------------------


class Probe:
    """A program with one launch; it counts how often it runs without a plan."""

    arg_names = ("x", "y", "n", "scale", "BLOCK", "R")

    def __init__(self) -> None:
        self.written, self.launched = 0, list[Any]()
        self.escapes, self.compiles = False, True

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
        return lambda *arguments, **constants: self if self.compiles else None

    def __call__(self, x: torch.Tensor, *, n: int, scale: float, save: bool = False) -> tuple[torch.Tensor, ...]:
        self.written += 1
        y = torch.empty_like(x) if self.escapes else plans.allocated(torch.empty_like(x))
        compiled = Launched(self) if self.compiles else None
        plans.launched(self, compiled, 3, (x, y, n, scale), {"BLOCK": 64, "R": n}, ("scale",))
        return (y,)


class Launched:
    """Stands for the result of a Triton launch of the probe."""

    packed_metadata = ()

    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *values: self.probe.launched.append((grid, values))


X = torch.zeros(4, 6)


def run(probe: Probe, x: torch.Tensor = X, n: Any = 5, scale: Any = 0.5, **options: Any) -> tuple[Any, ...]:
    return plans.run(probe, (x,), {"n": n, "scale": scale}, ("scale",), **options)


def test_a_replay_takes_the_tensors_and_what_varies() -> None:
    probe, other = Probe(), torch.ones(4, 6)
    run(probe)
    (result,) = run(probe, other, scale=0.25)
    assert probe.written == 1
    ((grid, values),) = probe.launched
    assert grid == (3, 1, 1)
    assert values[0] is other
    assert values[1] is result
    assert values[2:] == (5, 0.25, 64, 5)


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.zeros(4, 6, dtype=torch.float64)},
        {"x": torch.zeros(6, 4)},
        {"x": torch.zeros(6, 4).t()},
        {"x": torch.zeros(25)[1:].view(4, 6)},  # not aligned to 16 bytes
        {"x": torch.zeros(4, 6, device="meta")},
        {"n": 6},
        {"scale": 1},
        {"save": True},
    ],
)
def test_what_decides_a_program_makes_another_plan(other: dict[str, Any]) -> None:
    probe = Probe()
    for _ in range(2):
        run(probe)
        run(probe, **other)
    assert probe.written == 2
    assert len(probe.launched) == 2


def test_integers_that_vary_are_apart_where_triton_compiles_for_them() -> None:
    probe = Probe()
    for seed in (3, 5, 7, 1, 16, 32, 2**31 + 3, 2**31 + 5, 2**63 + 3, -(2**31) - 3):
        run(probe, scale=seed)
    assert probe.written == 5  # odd, one, multiples of 16, more than 32 bits, more than 63


@pytest.mark.parametrize("fault", ["escapes", "compiles"])
def test_what_cannot_be_replayed_runs_as_written(fault: str) -> None:
    """A tensor made outside the plan's recording, or a Triton that returns something else."""
    probe = Probe()
    setattr(probe, fault, fault == "escapes")
    for _ in range(3):
        run(probe)
    assert (probe.written, probe.launched) == (3, [])


class Pair(Probe):
    """A program with two tensors, and with a result that depends on them."""

    shown: Callable[[torch.Tensor], torch.Tensor] = staticmethod(lambda made: made)

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        self.written += 1
        z = plans.allocated(torch.empty_like(x))
        plans.launched(self, Launched(self), 3, (x.flatten(), y, z), {"scale": 1.0, "BLOCK": 64, "R": 5})
        return (type(self).shown(z),)


def test_tensors_that_share_memory_are_not_taken_for_one_another() -> None:
    pair, other = Pair(), torch.ones(4, 6)
    plans.run(pair, (X, X), {}, ())
    for x, y in ((X, other), (other, X), (X, X), (other, other), (X, X.view(6, 4).view(4, 6))):
        plans.run(pair, (x, y), {}, ())
        plans.run(pair, (x, y), {}, ())
        left, right = pair.launched[-1][1][:2]
        assert (left.data_ptr(), right.data_ptr()) == (x.data_ptr(), y.data_ptr())
    assert pair.written == 2


def test_a_view_of_all_that_was_made_is_made_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pair, "shown", staticmethod(lambda made: made.view(2, 12).t()))
    pair = Pair()
    for _ in range(2):
        (result,) = plans.run(pair, (X, torch.ones(4, 6)), {}, ())
        assert result is not None
        assert (result.shape, result.stride()) == ((12, 2), (1, 12))
    assert pair.written == 1
    assert pair.launched[0][1][2] is result


@pytest.mark.parametrize("less", [lambda made: made[:2], lambda made: made.expand(3, 4, 6), lambda made: made[:, ::2]])
def test_a_view_of_less_is_not_replayed(less: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for the view alone would be too small for the kernel."""
    monkeypatch.setattr(Pair, "shown", staticmethod(less))
    pair = Pair()
    for _ in range(2):
        plans.run(pair, (X, torch.ones(4, 6)), {}, ())
    assert (pair.written, pair.launched) == (2, [])


def test_how_pytorch_multiplies_makes_another_plan() -> None:
    probe, before = Probe(), torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high", "highest", "high"):
            torch.set_float32_matmul_precision(precision)
            run(probe)
    finally:
        torch.set_float32_matmul_precision(before)
    assert probe.written == 2


def test_a_program_within_another_is_part_of_its_plan() -> None:
    probe = Probe()

    def outer(x: torch.Tensor, *, n: int, scale: float) -> tuple[torch.Tensor, ...]:
        return run(probe, x, n, scale)

    for scale in (0.5, 0.25):
        plans.run(outer, (X,), {"n": 5, "scale": scale}, ("scale",))
    assert len(plans._PLANS) == 1
    assert probe.written == 1
    assert probe.launched[0][1][3] == 0.25


def test_a_program_within_one_that_has_no_plan_has_its_own() -> None:
    probe = Probe()

    def outer(x: torch.Tensor, *, n: int, scale: float) -> tuple[torch.Tensor, ...]:
        return (run(probe, x.clone(), n, scale)[0] + 1,)  # made outside the recording

    for _ in range(4):
        plans.run(outer, (X,), {"n": 5, "scale": 0.5}, ("scale",))
    assert probe.written == 2  # once within the other's recording, once for its own plan
    assert len(probe.launched) == 2


def test_an_error_leaves_no_draft() -> None:
    def broken(x: torch.Tensor, **symbols: Any) -> tuple[torch.Tensor, ...]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        plans.run(broken, (X,), {}, ())
    assert plans._OPEN.draft is None
    assert plans._PLANS == {}


def test_threads_do_not_meet() -> None:
    """The backward of one thread may run while another thread records."""
    probe, started, done = Probe(), threading.Event(), threading.Event()

    def slow(x: torch.Tensor, **symbols: Any) -> tuple[torch.Tensor, ...]:
        started.set()
        done.wait(5)
        return (plans.allocated(torch.empty_like(x)),)

    thread = threading.Thread(target=lambda: plans.run(slow, (X,), {}, ()))
    thread.start()
    started.wait(5)
    run(probe)
    done.set()
    thread.join()
    assert sorted(len(plan.allocations) for plan in plans._PLANS.values() if plan) == [1, 1]


def test_the_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST_PLANS", 2)
    for n in range(5):
        run(Probe(), n=n)
        assert len(plans._PLANS) <= 2


def test_what_was_used_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST_PLANS", 3)
    probe = Probe()
    for n in (1, 2, 3, 1, 4, 1, 3):  # 4 replaces 2
        run(probe, n=n)
    assert probe.written == 4
    run(probe, n=2)
    assert probe.written == 5


def test_where_kernels_take_memory_is_the_process_s_own_again() -> None:
    """After the first call, which prepares and records, and after a replay."""
    from triton.runtime import _allocation

    seen: list[Any] = []

    def program(x: torch.Tensor, **symbols: Any) -> tuple[torch.Tensor, ...]:
        plans.prepared(lambda: _allocation.set_allocator(ours))
        seen.append(_allocation._allocator.get())
        made = plans.allocated(torch.empty_like(x))
        plans.launched(probe, Launched(probe), 3, (x, made, 5, 0.5), {"BLOCK": 64, "R": 5})
        return (made,)

    def ours(size: int, alignment: int, stream: int | None) -> Any: ...

    probe, before = Probe(), _allocation._allocator.get()
    for _ in range(2):
        plans.run(program, (X,), {}, ())
        assert _allocation._allocator.get() is before
    assert seen == [ours]
    assert len(probe.launched) == 1
