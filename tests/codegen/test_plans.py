"""Plans: a replayed program does what the program does, and nothing is replayed that another call would compile."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch

from svertka.codegen.build import keywords_of, results_of
from svertka.codegen.cases import cases
from svertka.codegen.equivalence import differentiable, draw_values, real
from svertka.codegen.operators import operator_of
from svertka.generated import launching, plans
from svertka.spec import gradient_name
from svertka.spec.definition import Definition, Variant
from svertka.spec.layers import DEFINITIONS

pytestmark = pytest.mark.skipif(not launching.INTERPRETING, reason="kernels stand in for compiled ones here")


class Compiled:
    """What Triton returns of a launch, for a kernel of the interpreter: it runs again, by position."""

    packed_metadata = ()

    def __init__(self, kernel: Any, options: dict[str, Any]) -> None:
        self.kernel, self.options = kernel, options

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(*values: Any) -> None:
            assert len(values) == len(self.kernel.arg_names)
            self.kernel[(grid[0],)](**dict(zip(self.kernel.arg_names, values, strict=True)), **self.options)

        return run


class Kernel:
    """A kernel of the interpreter that is launched as a compiled one is."""

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


def programs_of(definition: Definition) -> tuple[Any, dict[str, Kernel]]:
    """The definition's generated module and its kernels, as compiled ones."""
    module = importlib.import_module(f"svertka.generated.kernels.{definition.name}")
    return module, {name: Kernel(value) for name, value in vars(module).items() if hasattr(value, "arg_names")}


EVERY = [
    pytest.param(definition, variant, id=variant.layer.name)
    for definition in DEFINITIONS.values()
    for variant in definition.variants
]


@pytest.mark.parametrize(("definition", "variant"), EVERY)
def test_a_replay_is_the_program(definition: Definition, variant: Variant) -> None:
    layer = variant.layer
    case = next(cases(definition, variant))
    module, kernels = programs_of(definition)
    symbols = {name: case.sizes[name] for name in keywords_of(layer)}
    varying = operator_of(definition, variant).varying
    wanted = tuple(name in {t.name for t in layer.inputs} - case.absent for name in differentiable(definition, layer))
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
            seeds = [values[gradient_name(name)] for name in results_of(definition, layer)]
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


# What a plan is of ---------------------------------------------------------------------------------------------------


class Probe:
    """A program of one launch, which counts how often it runs as it is written."""

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
    """What Triton returns of a launch of the probe."""

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
    """A tensor made behind the plan's back, or a Triton that returns something else."""
    probe = Probe()
    setattr(probe, fault, fault == "escapes")
    for _ in range(3):
        run(probe)
    assert (probe.written, probe.launched) == (3, [])


def test_an_error_leaves_no_draft() -> None:
    def broken(x: torch.Tensor, **symbols: Any) -> tuple[torch.Tensor, ...]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        plans.run(broken, (X,), {}, ())
    assert plans._OPEN.draft is None
    assert plans._PLANS == {}


def test_threads_do_not_meet() -> None:
    """The backward of one thread may run while another records."""
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
