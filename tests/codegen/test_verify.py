"""The check of benchmarks finds kernels that compute nothing, at the first call and when its plan is replayed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch

from svertka.codegen.machine.bench import verify as checking
from svertka.codegen.machine.bench.idle import idle_kernels
from svertka.codegen.machine.bench.verify import judged, verify
from svertka.codegen.machine.bench.workload import Road, Workload, gradient_groups, in_phase, roads
from svertka.generated import functional, kernels, plans

from .test_plans import Compiled, Kernel

FEWER = 4  # larger extents become this or slightly more: all different, none less than a window


def tiny(workload: Workload) -> Workload:
    """A workload whose large extents are small, and different if they were."""
    shapes = [*workload.shapes.values(), *workload.labels.values(), (workload.classes,)]
    large = sorted({extent for shape in shapes for extent in shape if extent > FEWER})
    small = {extent: FEWER + place for place, extent in enumerate(large)}

    def less(shape: Any) -> Any:
        return tuple(small.get(extent, extent) for extent in shape)

    return replace(
        workload,
        shapes={name: less(shape) for name, shape in workload.shapes.items()},
        labels={name: less(shape) for name, shape in workload.labels.items()},
        classes=small.get(workload.classes, workload.classes),
        arguments={name: [17, 19] if name == "size" else value for name, value in workload.arguments.items()},
    )


def one_of_each() -> list[Workload]:
    """One workload of every function and kind of a short run, in float32."""
    found = {(w.kind, w.function, str(w.arguments)): w for w in in_phase("benchmark")}
    functions: dict[tuple[str, ...], Workload] = {}
    for (kind, function, arguments), one in found.items():
        # training and inference are two formulas
        functions[(kind, function, arguments) if function == "batch_norm" else (kind, function)] = one
    return [replace(tiny(w), dtype="float32") for w in functions.values()]


EACH = [pytest.param(w, id=f"{w.kind} {w.name}") for w in one_of_each()]
FUNCTIONS = [one for one in EACH if one.values[0].kind != "launch"]  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _few_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "LANES", {"cpu": 1 << 18})


@contextmanager
def compiled_kernels(compiled: type[Compiled] = Compiled) -> Iterator[None]:
    """Kernels of the interpreter, launched, planned and replayed like compiled ones."""
    with ExitStack() as stack:
        # All are imported before any is altered: a module imports kernels that it shares from others.
        names = [f"{kernels.__name__}.{found.name}" for found in pkgutil.iter_modules(kernels.__path__)]
        for module in [importlib.import_module(name) for name in names]:
            if standing_in := _standing_in(module, compiled):
                stack.enter_context(mock.patch.multiple(module, **standing_in))
        stack.enter_context(mock.patch.object(plans, "ENABLED", True))
        stack.enter_context(mock.patch.object(plans, "_PLANS", {}))
        yield


def _standing_in(module: Any, compiled: type[Compiled]) -> dict[str, Any]:
    class Launched(Kernel):
        def __call__(self, *arguments: Any, **named: Any) -> Any:  # a kernel's own function
            return self.kernel(*arguments, **named)

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            launch = super().__getitem__(grid)

            def run(*arguments: Any, **constants: Any) -> Compiled:
                made = launch(*arguments, **constants)
                return compiled(made.kernel, made.options)

            return run

    return {name: Launched(value) for name, value in vars(module).items() if hasattr(value, "arg_names")}


class Forgetful(Compiled):
    """A kernel whose replay does nothing."""

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *values: None


@pytest.fixture
def _memory_of_nothing() -> Iterator[None]:
    """New memory holds NaN, not the right result of an earlier call."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def wrong_results(lines: tuple[str, ...]) -> set[str]:
    return {line.partition(":")[0] for line in lines}


def expected(workload: Workload) -> set[str]:
    tensors = workload.tensors("cpu")
    return {f"grad_{name}" for group in gradient_groups(workload, tensors).values() for name in group}


@pytest.mark.thinned(4)
@pytest.mark.parametrize("workload", FUNCTIONS)
def test_kernels_of_the_formula_hold(workload: Workload) -> None:
    """In the interpreter, run, planned and replayed; everything is compared."""
    road, tensors = roads(workload, False)[0], workload.tensors("cpu")
    with compiled_kernels():
        verdict = judged(workload, road, tensors)
        assert (verdict.wrong, verdict.unchecked) == ((), "")
        assert sum(plan is not None for plan in plans._PLANS.values()) >= 2


@pytest.mark.parametrize("workload", EACH)
@pytest.mark.usefixtures("_memory_of_nothing")
def test_kernels_that_compute_nothing_fail_at_every_call(workload: Workload) -> None:
    road, tensors = roads(workload, False)[0], workload.tensors("cpu")
    with idle_kernels():
        for _ in range(2):
            wrong = wrong_results(verify(workload, road, tensors))
            assert wrong >= expected(workload)
            assert wrong - expected(workload)  # failures of the results themselves


@pytest.mark.parametrize("workload", FUNCTIONS)
@pytest.mark.usefixtures("_memory_of_nothing")
def test_what_is_replayed_is_compared(workload: Workload) -> None:
    """The first call of each plan is right, and the timed one is not."""
    road, tensors = roads(workload, False)[0], workload.tensors("cpu")
    with compiled_kernels(Forgetful):
        wrong = wrong_results(verify(workload, road, tensors))
    assert wrong >= expected(workload)
    assert wrong - expected(workload)


@pytest.mark.usefixtures("_memory_of_nothing")
def test_a_direction_alone_is_compared_alone() -> None:
    workload = next(w for w in one_of_each() if w.function == "conv2d" and w.kind == "matrix")
    road, tensors = roads(workload, False)[0], workload.tensors("cpu")
    with idle_kernels():
        assert wrong_results(verify(workload, road, tensors, "forward")) == {"output"}
        assert wrong_results(verify(workload, road, tensors, "gradient of weight")) == {"output", "grad_weight"}


def chain(input: torch.Tensor) -> torch.Tensor:
    return functional.relu(functional.softmax(input, dim=1))


CHAIN = Workload("chain", "memory", "relu", {"input": (3, 7)}, {}, "float32", "row_major", True, "relu", {})


@pytest.mark.usefixtures("_memory_of_nothing")
def test_a_chain_is_compared_link_by_link() -> None:
    tensors, road = CHAIN.tensors("cpu"), Road("svertka", chain, {})
    assert judged(CHAIN, road, tensors) == checking.Verdict((), "")
    with idle_kernels():
        wrong = verify(CHAIN, road, tensors)
    assert wrong_results(wrong) == {"output", "grad_input"}


def test_what_is_not_compared_is_said() -> None:
    tensors = CHAIN.tensors("cpu")
    plain = judged(CHAIN, Road("svertka", torch.nn.functional.relu, {}), tensors)
    assert plain.wrong == ()
    assert "calls no operator" in plain.unchecked
    with mock.patch.object(checking, "DEFINITIONS", {}):
        unknown = judged(CHAIN, Road("svertka", functional.relu, {}), tensors)
    assert unknown.wrong == ()
    assert "no formula of" in unknown.unchecked
    with mock.patch.dict(checking.LANES, {"cpu": 0}):
        large = judged(CHAIN, Road("svertka", functional.relu, {}), tensors)
    assert "loop elements" in large.unchecked
    assert verify(CHAIN, Road("svertka", torch.nn.functional.relu, {}), tensors) == (f"not checked: {plain.unchecked}",)
