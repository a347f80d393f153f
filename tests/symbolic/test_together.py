"""Faults of memory are told in the same words where programs run together, and each store is counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from svertka.codegen.verify import together
from svertka.codegen.verify.symbolic.coverage import Coverage
from svertka.codegen.verify.symbolic.graph import Graph
from svertka.codegen.verify.symbolic.interpreter import symbolic
from svertka.codegen.verify.symbolic.memory import Memory
from svertka.generated.kernels import primitives

PROGRAMS = 3


@triton.jit
def of_elements(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Every program stores an element of its own."""
    place = tl.program_id(0)
    tl.store(result_ptr + place, tl.load(x_ptr + place) * 2.0)


@triton.jit
def of_one_place(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Every program stores the same number in the same place."""
    tl.store(result_ptr, tl.load(x_ptr))
    tl.store(result_ptr + 1 + tl.arange(0, 2), 0.0)


@triton.jit
def of_neighbours(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Every program reads what another stores."""
    place = tl.program_id(0)
    tl.store(result_ptr + place, tl.load(x_ptr + place))
    tl.load(result_ptr + (place + 1) % 3)


@triton.jit
def of_outside(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """The last two programs load beyond the tensor, at different elements."""
    place = tl.program_id(0)
    tl.store(result_ptr + place, tl.load(x_ptr + 2 * place))


@triton.jit
def of_ways(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """One program takes a way of its own, and stores nothing before it is known."""
    place = tl.program_id(0)
    tl.store(result_ptr + place, tl.load(x_ptr + place))
    if place == 1:
        tl.load(x_ptr + 9)


CASES = [
    (of_elements, []),
    (of_one_place, ["result: element 0 of 3 is stored 3 times"]),
    (of_neighbours, ["load from result before it is stored", "result is read and stored in one launch"]),
    (of_outside, ["load outside x, at element 4 of 3"]),
    (of_ways, ["load outside x, at element 9 of 3"]),
]


@pytest.mark.parametrize(("kernel", "told"), CASES)
def test_failures(kernel: Any, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tally = together.Tally()
    monkeypatch.setattr(together, "TALLY", tally)

    def failures() -> tuple[list[str], list[int]]:
        graph, memory, x, result = Graph(), Memory(), torch.zeros(PROGRAMS), torch.zeros(PROGRAMS)
        memory.give(x, [graph.variable(f"x{place}", float(place)) for place in range(PROGRAMS)], "x")
        with symbolic(graph, memory, primitives, Coverage()):
            kernel[(PROGRAMS,)](x, result)
        memory.check_stores()
        return memory.failures, memory.nodes_of(result)

    with together.one_after_another():
        alone = failures()
    assert not tally.together
    joint = failures()
    assert joint == alone
    assert len(joint[0]) == len(told)
    assert all(part in text for text, part in zip(joint[0], told, strict=True))
    assert bool(tally.together) == (not told)
    assert bool(tally.alone) == bool(told)
