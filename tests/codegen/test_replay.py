"""Operations whose types were checked before give the bits that Triton's own interpreter gives."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

from svertka.codegen.verify import equivalence, replay, together
from svertka.codegen.verify.replay import replaying
from tests.codegen.harness import kernels_of, outcome, problem, smallest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("the interpreter is off", allow_module_level=True)

FORMULAS = (
    "relu",
    "convolution_2d",
    "max_pooling_2d",
    "softmax",
    "dropout",
    "cross_entropy_labels_mean",
    "batch_normalization_training",
)


@triton.jit
def of_pairs(x_ptr, y_ptr, result_ptr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """Squares and products, by one operation."""
    lane = tl.arange(0, N)
    x = tl.load(x_ptr + lane)
    y = tl.load(y_ptr + lane)
    tl.store(result_ptr + lane, x * x)
    tl.store(result_ptr + N + lane, x * y)
    tl.store(result_ptr + 2 * N + lane, y * x)
    tl.store(result_ptr + 3 * N + lane, y * y)


@triton.jit
def of_constants(x_ptr, result_ptr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """Constants that are equal to Python, and are not to a kernel."""
    lane = tl.arange(0, N)
    x = tl.load(x_ptr + lane)
    tl.store(result_ptr + lane, x / 0.0)
    tl.store(result_ptr + N + lane, x / -0.0)
    tl.store(result_ptr + 2 * N + lane, lane / 2)
    tl.store(result_ptr + 3 * N + lane, lane * 1.5 + (lane // 2))
    tl.store(result_ptr + 4 * N + lane, lane + 2147483647)
    tl.store(result_ptr + 5 * N + lane, lane + 2147483647.0)


@triton.jit
def of_masks(x_ptr, result_ptr, number):  # type: ignore[no-untyped-def]
    """A load of one number, whose mask holds in some programs."""
    place = tl.program_id(0)
    other = tl.load(x_ptr + place)
    tl.store(result_ptr + place, tl.load(x_ptr + place, mask=place < number, other=other))


@triton.jit
def of_lengths(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """A loop whose length is loaded."""
    place = tl.program_id(0)
    total = 0.0
    for step in range(tl.load(x_ptr + place).to(tl.int32)):
        total += step
    tl.store(result_ptr + place, total)


def ran(kernel: Any, programs: int, inputs: int, results: int, *more: int) -> torch.Tensor:
    """What a kernel stores."""
    given = [torch.tensor([3.0, 0.0, 2.0, 5.0]), torch.tensor([-1.0, 4.0, 0.5, 2.0])]
    result = torch.zeros(results)
    kernel[(programs,)](*given[:inputs], result, *more)
    return result


@pytest.mark.parametrize(
    ("kernel", "programs", "inputs", "results", "more"),
    [
        (of_pairs, 1, 2, 16, (4,)),
        (of_constants, 1, 1, 24, (4,)),
        (of_masks, 4, 1, 4, (2,)),
        (of_lengths, 4, 1, 4, ()),
    ],
)
def test_an_operation_is_repeated_only_where_it_is_the_same(
    kernel: Any, programs: int, inputs: int, results: int, more: tuple[int, ...]
) -> None:
    with np.errstate(all="ignore"):
        plain = ran(kernel, programs, inputs, results, *more)
        found = []
        for road in (nullcontext(), together.one_after_another()):
            with replaying(), road:
                found += [ran(kernel, programs, inputs, results, *more) for _ in range(2)]
    assert plain.any()
    for again in found:
        assert torch.equal(again.view(torch.int32), plain.view(torch.int32))


def test_an_operation_that_asks_for_data_is_repeated_where_the_answer_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Triton gives a load of one number nothing for what is masked, where that is 0."""
    builder = type(interpreter.interpreter_builder)
    load, given = builder.create_masked_load, []

    def noted(self: Any, pointers: Any, mask: Any, other: Any, *more: Any) -> Any:
        given.append(other is None)
        return load(self, pointers, mask, other, *more)

    monkeypatch.setattr(builder, "create_masked_load", noted)
    ran(of_masks, 4, 1, 4, 2)
    plain = list(given)
    assert len(set(plain[1::2])) == 2
    with replaying(), together.one_after_another():
        for _ in range(2):
            given.clear()
            ran(of_masks, 4, 1, 4, 2)
            assert given == plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("formula", FORMULAS)
def test_kernels_give_the_same_bits(formula: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(f"{formula}-{smallest(formula)}", "float32")
    kernels = kernels_of(given.module.definition.name)
    with np.errstate(all="ignore"):
        again = outcome(given, kernels, dtype, "cpu")
        monkeypatch.setattr(equivalence, "replaying_on", lambda device: nullcontext())
        with mock.patch.object(replay._Plan, "run", side_effect=AssertionError("this is to be Triton's own")):
            plain = outcome(given, kernels, dtype, "cpu")
    assert plain.keys() == again.keys()
    for name, tensor in plain.items():
        other = again[name]
        assert tensor is None if other is None else tensor is not None and torch.equal(tensor, other), name


def test_operations_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of a kernel's operations come from plans, or nothing here is of use."""
    numbers = {"run": 0, "recorded": 0}
    run, recorded = replay._Plan.run, replay._recorded

    def counted_run(plan: Any, values: Any) -> Any:
        numbers["run"] += 1
        return run(plan, values)

    def counted_recorded(*arguments: Any) -> Any:
        numbers["recorded"] += 1
        return recorded(*arguments)

    given = problem(f"convolution_2d-{smallest('convolution_2d')}", "float32")
    outcome(given, kernels_of("convolution_2d"), torch.float32, "cpu")
    monkeypatch.setattr(replay._Plan, "run", counted_run)
    monkeypatch.setattr(replay, "_recorded", counted_recorded)
    outcome(given, kernels_of("convolution_2d"), torch.float32, "cpu")
    assert numbers["run"] > 100
    assert numbers["recorded"] < numbers["run"] / 10


def test_the_language_is_left_as_it_was() -> None:
    names = ("load", "store", "zeros", "program_id")
    before = [getattr(tl, name) for name in names], vars(tl.tensor)["__add__"], interpreter.interpreter_builder.options
    with pytest.raises(ZeroDivisionError), replaying():
        raise ZeroDivisionError
    after = [getattr(tl, name) for name in names], vars(tl.tensor)["__add__"], interpreter.interpreter_builder.options
    assert after == before
