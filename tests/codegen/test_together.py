"""Programs that run together store what programs store that run one after another, to the last bit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.lowering.built import built
from svertka.codegen.verify import together
from svertka.codegen.verify.levels import LEVELS, Outcome, Subject, source
from svertka.codegen.verify.levels.bfloat16 import repaired
from svertka.codegen.verify.replay import replaying
from svertka.codegen.verify.symbolic.coverage import Coverage
from svertka.codegen.verify.symbolic.memory import Memory
from svertka.codegen.verify.symbolic.regions import REGIONS, tiles
from svertka.spec.layers import DEFINITIONS
from tests.codegen.harness import kernels_of, outcome, problem, problem_names

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("the interpreter is off", allow_module_level=True)

FORMULAS = [(layer, number) for layer in DEFINITIONS for number in range(len(DEFINITIONS[layer].variants))]
TOO_MANY_WAYS = "programs take too many ways"
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def tally(monkeypatch: pytest.MonkeyPatch) -> Iterator[together.Tally]:
    """How launches of a test ran."""
    made = together.Tally()
    monkeypatch.setattr(together, "TALLY", made)
    with np.errstate(all="ignore"):
        yield made


def both(tally: together.Tally, run: Any) -> tuple[Any, Any]:
    """What something gives where programs run one after another, and where they run together."""
    with together.one_after_another():
        alone = run()
    assert not tally.together
    return alone, run()


# Kernels of layers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What symbolic launches stored where, how often, and the statements that ran."""
    found: list[Any] = []
    check = Memory.check_stores

    def covering() -> Coverage:
        made = Coverage()
        found.append(made.reached)
        return made

    def checked(memory: Memory) -> None:
        found.extend(hashlib.sha256(block.stores.tobytes()).hexdigest() for block in memory.blocks)
        check(memory)

    monkeypatch.setattr(Memory, "check_stores", checked)
    monkeypatch.setattr(source, "Coverage", covering)
    return found


@pytest.mark.thinned(16)
@pytest.mark.parametrize(("layer", "number"), FORMULAS)
def test_the_proof_is_the_same(layer: str, number: int, tally: together.Tally, noted: list[Any]) -> None:
    """As many nodes, the same elements compared and stored, the same statements reached: nothing else would hold."""
    module = built(DEFINITIONS[layer])
    subject = Subject(module, module.definition.variants[number], "svertka.generated")

    def proven() -> tuple[Outcome, list[Any]]:
        noted.clear()
        with replaying():
            return LEVELS["source"](subject), list(noted)

    alone, joint = both(tally, proven)
    assert joint == alone
    assert alone[0].failures == ()
    assert any(isinstance(part, set) and part for part in joint[1])
    assert tally.together or tally.single
    assert {reason for _, reason in tally.alone} <= {TOO_MANY_WAYS}


def test_level_source_runs_several_programs_of_every_pointwise_kernel(tally: together.Tally) -> None:
    """With one program, a wrong step from program to program would not be seen."""
    for definition in DEFINITIONS.values():
        module = built(definition)
        for variant in definition.variants:
            if all(kernel.pattern == LoopPattern.POINTWISE for kernel in module.kernels):
                tally.together.clear()
                subject = Subject(module, variant, "svertka.generated")
                with replaying():
                    assert LEVELS["source"](subject).failures == ()
                assert tally.together, variant.layer.name


@pytest.mark.thinned(12)
@pytest.mark.parametrize("region", REGIONS[::2], ids=lambda region: str(region.name))
@pytest.mark.parametrize("name", [name for name in problem_names() if name.endswith("-0")])
def test_numbers_are_the_same_bits(name: str, region: Any, tally: together.Tally) -> None:
    """With tiles smaller than the tensors, so that every launch has several programs."""
    given = problem(name, "half")
    kernels = kernels_of(given.module.definition.name)
    largest = max(tensor.numel() for tensor in given.tensors.values())

    def computed() -> dict[str, bytes]:
        found = {}
        with replaying(), repaired(), tiles(kernels, region, largest, 0):
            for dtype in DTYPES:
                for result, tensor in outcome(given, kernels, dtype, "cpu").items():
                    if tensor is not None:
                        found[f"{result} {dtype}"] = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return found

    alone, joint = both(tally, computed)
    assert joint == alone
    assert any(joint.values())
    assert tally.together or tally.single
    assert {reason for _, reason in tally.alone} <= {TOO_MANY_WAYS}


# Kernels in which programs differ ------------------------------------------------------------------------------------


@triton.jit
def of_ways(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Branches and loops that programs take for their number, and for what they load."""
    place = tl.program_id(0)
    x = tl.load(x_ptr + place)
    total = 0.0
    if x > 2.0:
        total += 1.0
    for step in range(tl.load(x_ptr + place).to(tl.int32)):
        total += step
    for step in tl.range(place, 10, 3):
        total += tl.cast(step, tl.float32) * 0.5
    tl.store(result_ptr + place, total if place % 2 == 0 else -total)


@triton.jit
def of_steps(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """A loop of as many steps in every program, over other numbers in each."""
    place = tl.program_id(0)
    total = tl.zeros([2], tl.float32)
    for step in tl.range(place, place + 6, 2):
        total = total * 3.0 + tl.load(x_ptr + step + tl.arange(0, 2))
    tl.store(result_ptr + place * 2 + tl.arange(0, 2), total)


@triton.jit
def of_one_place(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """All programs store one element; the last stays."""
    tl.store(result_ptr, tl.load(x_ptr + tl.program_id(0)))


@triton.jit
def of_one_number(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """All programs store the same number in one element."""
    tl.store(result_ptr, tl.load(x_ptr))


@triton.jit
def of_others(result_ptr):  # type: ignore[no-untyped-def]
    """Every program reads what the one before it stored."""
    place = tl.program_id(0)
    tl.store(result_ptr + place + 1, tl.load(result_ptr + place) + 1.0)


@triton.jit
def of_scans(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Sums along a tile, of all elements before each."""
    lane = tl.program_id(0) * 4 + tl.arange(0, 4)
    tl.store(result_ptr + lane, tl.cumsum(tl.load(x_ptr + lane), 0))


@triton.jit
def of_shapes(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Operations that know shapes, on tiles with sides of different length."""
    place = tl.program_id(0)
    x = tl.load(x_ptr + place * 8 + tl.arange(0, 2)[:, None] * 4 + tl.arange(0, 4)[None, :])
    turned = tl.trans(x) * (place + 1)
    y = tl.reshape(turned, [8]) + tl.sum(tl.reshape(x, [8]), 0)
    z = tl.dot(x, turned) + tl.max(x, 1)[:, None] - tl.min(x, 1, keep_dims=True)
    product = tl.broadcast_to(tl.sum(z, 0)[:, None], [2, 4])
    y += tl.reshape(product + tl.argmax(x, 1)[:, None], [8])
    tl.store(result_ptr + place * 8 + tl.arange(0, 8), y)


@triton.jit
def of_totals(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """A sum along both axes of a tile."""
    place = tl.program_id(0)
    x = tl.load(x_ptr + place * 4 + tl.arange(0, 2)[:, None] * 2 + tl.arange(0, 2)[None, :])
    tl.store(result_ptr + place, tl.sum(x))


@triton.jit
def of_halves(x_ptr, result_ptr):  # type: ignore[no-untyped-def]
    """Two ways, which several programs take."""
    place = tl.program_id(0)
    x = tl.load(x_ptr + place)
    if place < 5:
        x = x * 2.0 + 1.0
    tl.store(result_ptr + place, x)


@triton.jit
def of_grids(result_ptr, A: tl.constexpr, B: tl.constexpr):  # type: ignore[no-untyped-def]
    """A number made of all indices of a program, and of a length of the grid."""
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    tl.store(result_ptr + (x * A + y) * B + z, x * 100 + y * 10 + z + tl.num_programs(1) * 1000)


@triton.jit
def of_faults(result_ptr):  # type: ignore[no-untyped-def]
    """Some programs fail after they stored."""
    place = tl.program_id(0)
    tl.store(result_ptr + place, 1.0)
    tl.static_assert(place < 2, "too far")


GIVEN = [3.0, 0.0, 2.0, 5.0, -1.0, 4.0, 0.5, 2.5]
CASES = [
    (of_ways, 8, 8, True, 8, {TOO_MANY_WAYS}),
    (of_steps, 3, 6, True, 8, set()),
    (of_one_place, 5, 1, True, 8, {"an element is stored twice"}),
    (of_one_number, 5, 1, True, 8, {"an element is stored twice"}),
    (of_others, 4, 5, False, 0, {"an element is loaded and stored"}),
    (of_scans, 2, 8, True, 8, {"a scan"}),
    (of_totals, 2, 2, True, 8, {"a reduction along all axes"}),
    (of_halves, 8, 8, True, 8, set()),
    (of_shapes, 3, 24, True, 24, set()),
]


@pytest.mark.parametrize(("kernel", "programs", "results", "reads", "length", "reasons"), CASES)
def test_programs_that_differ_store_the_same(
    kernel: Any, programs: int, results: int, reads: bool, length: int, reasons: set[str], tally: together.Tally
) -> None:
    """What cannot run together runs one after another, and is counted with its reason."""

    def ran() -> list[float]:
        given = [torch.tensor(GIVEN * 3)[:length]] if reads else []
        result = torch.zeros(results)
        with replaying():
            kernel[(programs,)](*given, result)
        return result.tolist()

    alone, joint = both(tally, ran)
    assert joint == alone
    assert any(joint)
    assert {reason for _, reason in tally.alone} == reasons
    assert bool(tally.together) == (not reasons)


def test_a_grid_of_three_dimensions(tally: together.Tally) -> None:
    def ran() -> list[int]:
        result = torch.zeros(2 * 3 * 4, dtype=torch.int32)
        with replaying():
            of_grids[(2, 3, 4)](result, 3, 4)
        return result.tolist()

    alone, joint = both(tally, ran)
    assert joint == alone
    assert len(set(joint)) == 24
    assert tally.groups == 1


def test_more_programs_than_a_group_has(tally: together.Tally) -> None:
    programs = together.MOST * 2 + 3

    def ran() -> list[float]:
        result = torch.zeros(programs * 2)
        with replaying():
            of_steps[(programs,)](torch.arange(programs + 8.0), result)
        return result.tolist()

    alone, joint = both(tally, ran)
    assert joint == alone
    assert tally.groups == 3


def test_a_fault_of_a_kernel_is_raised_as_one_program_raises_it(tally: together.Tally) -> None:
    def ran() -> tuple[str, list[float]]:
        result = torch.zeros(4)
        with replaying(), pytest.raises(Exception, match="too far") as raised:
            of_faults[(4,)](result)
        return str(raised.value), result.tolist()

    alone, joint = both(tally, ran)
    assert joint == alone
    assert joint[1] == [1.0, 1.0, 1.0, 0.0]
