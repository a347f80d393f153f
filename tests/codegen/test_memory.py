"""Memory and races: kernels access only their tensors, store all elements of their results, and run in any order.

Every tensor, given or allocated, lies inside a larger buffer filled with a pattern that is a NaN in every format. A
store outside a tensor changes the pattern around it; a load outside it, or of an element that was never stored, brings
a NaN into the results; an element that was not stored still has the pattern. Programs that depend on each other give
other results in another order; the interpreter runs them in several orders.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias
from unittest import mock

import pytest
import torch

import svertka.generated
from svertka.codegen.verify import together
from svertka.codegen.verify.validate import load_package

from .arrangements import channels_last, scattered
from .harness import Problem, kernels_of, misses, outcome, problem, problem_names, smallest
from .tiles import recorded, table

Results: TypeAlias = Mapping[str, torch.Tensor | None]
Order: TypeAlias = Callable[[int], Sequence[int]]

LAYERS = sorted({name.rsplit("-", 1)[0] for name in problem_names()})
ARRANGEMENTS = (torch.Tensor.contiguous, scattered)
WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
PATTERN = {1: 0x40, 2: 0x7FC1, 4: 0x7FC05A41, 8: 0x7FF85A5A5A5A5A41}
"""By width, the first of 62 patterns: quiet NaNs with a payload in every floating-point format, and large integers.

Each buffer has a different one, so that a kernel that copies from outside one tensor to outside another is found too.
"""
MARGIN = 1024
"""Elements before and after a tensor, in addition to as many as the tensor has; a multiple keeps the tensor aligned."""

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="only the interpreter lets a test choose the order of programs"
)


@dataclass(frozen=True)
class Block:
    """A tensor inside its buffer.

    Attributes:
        name: for reports.
        buffer: the buffer, as whole numbers.
        pattern: its initial content.
        inside: which of its elements belong to the tensor.
        made: whether a launcher allocated it; then kernels must fill it.
    """

    name: str
    buffer: torch.Tensor
    pattern: int
    inside: torch.Tensor
    made: bool


class Guard:
    """Places tensors inside buffers, and reports damage to these."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def around(self, tensor: torch.Tensor, name: str = "", made: bool = False) -> torch.Tensor:
        """A tensor of the same shape, strides and values inside a buffer; an allocated one is full of NaN."""
        shape, strides = tensor.shape, tensor.stride()
        reach = sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True)) + 1
        margin = MARGIN + -(-max(reach, 0) // MARGIN) * MARGIN
        bits, pattern = WHOLE[tensor.itemsize], PATTERN[tensor.itemsize] + len(self.blocks) % 62
        buffer = torch.full((2 * margin + max(reach, 0),), pattern, dtype=bits, device=tensor.device)
        inside = torch.zeros(len(buffer), dtype=torch.bool, device=tensor.device)
        inside.as_strided(shape, strides, margin).fill_(True)
        self.blocks.append(Block(name or f"tensor {len(self.blocks)}", buffer, pattern, inside, made))
        view = buffer.view(tensor.dtype).as_strided(shape, strides, margin)
        return view if made else view.copy_(tensor)

    def damage(self) -> list[str]:
        """The damage, one line per buffer."""
        lines = []
        for block in self.blocks:
            untouched = block.buffer == block.pattern
            stored, empty = ~block.inside & ~untouched, block.inside & untouched
            if bool(stored.any()):
                first = int(block.inside.nonzero()[0]) if bool(block.inside.any()) else len(block.buffer) // 2
                places = (stored.nonzero().reshape(-1) - first).tolist()
                lines.append(f"{block.name}: {len(places)} stores outside, the first at element {places[0]}")
            if block.made and bool(empty.any()):
                lines.append(f"{block.name}: {int(empty.sum())} elements were never stored, or are poisoned")
        return lines


@contextmanager
def guarded(package: str = "svertka.generated") -> Iterator[Guard]:
    """Place every tensor that a package's launchers allocate inside a guarded buffer."""
    launching = importlib.import_module(f"{package}.launching")
    guard, patch = Guard(), pytest.MonkeyPatch()

    def guarding(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return functools.wraps(make)(
            lambda *arguments: guard.around(make(*arguments), f"made {len(guard.blocks)}", made=True)
        )

    try:
        for name in ("empty", "gradient_like"):
            patch.setattr(launching, name, guarding(getattr(launching, name)))
        yield guard
    finally:
        patch.undo()


def _watched(
    given: Problem,
    kernels: ModuleType,
    device: str,
    arrange: Callable[[torch.Tensor], torch.Tensor],
    package: str = "svertka.generated",
) -> tuple[Results, list[str]]:
    """Results of a case with all tensors guarded, and the damage to the buffers."""
    with guarded(package) as guard:
        found = outcome(given, kernels, torch.float32, device, lambda tensor: guard.around(arrange(tensor)))
    assert sum(block.made for block in guard.blocks) >= len(found)
    return found, guard.damage()


@contextmanager
def programs_in(order: Order | None) -> Iterator[None]:
    """Let Triton's interpreter run the programs of every launch in another order."""
    from triton.runtime.interpreter import InterpreterBuilder as Builder

    plain, patch = Builder.set_grid_idx, pytest.MonkeyPatch()

    def place(self: Any, x: int, y: int, z: int) -> None:
        count, second, third = self.grid_dim
        assert second == third == 1
        if (count, order) not in chosen:
            chosen[count, order] = order(count) if order else range(count)
            assert sorted(chosen[count, order]) == list(range(count))
        plain(self, chosen[count, order][x], y, z)

    chosen: dict[tuple[int, Order | None], Sequence[int]] = {}
    patch.setattr(Builder, "set_grid_idx", place)
    try:
        with together.one_after_another():
            yield
    finally:
        patch.undo()
    assert any(count > 1 for count, _ in chosen), "no launch asked for the order"


def _shuffled(seed: int) -> Order:
    return lambda count: random.Random(f"{seed} {count}").sample(range(count), count)


ORDERS: tuple[Order, ...] = (lambda count: range(count - 1, -1, -1), _shuffled(1), _shuffled(2))


def _differences(run: Callable[[], Results]) -> list[str]:
    """Results whose bits depend on the order of the programs."""
    with programs_in(None):
        ordinary = run()
    found = []
    for number, order in enumerate(ORDERS):
        with programs_in(order):
            again = run()
        assert again.keys() == ordinary.keys()
        found += [f"order {number}: {name}" for name in again if not _same_bits(again[name], ordinary[name])]
    return found


def _same_bits(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    assert one is not None
    assert other is not None
    bits = WHOLE[one.itemsize]
    return torch.equal(one.contiguous().view(bits), other.contiguous().view(bits))


# Generated kernels ---------------------------------------------------------------------------------------------------


@functools.cache
def _case(layer: str) -> tuple[Problem, dict[str, Any]]:
    """The smallest case of a formula, and its results."""
    given = problem(f"{layer}-{smallest(layer)}", "float32")
    return given, given.expected()


@pytest.mark.parametrize("layer", LAYERS)
def test_canaries_and_poison(layer: str, device: str) -> None:
    """Nothing outside a tensor is changed, all of a result is stored, and nothing else is read."""
    given, expected = _case(layer)
    kernels = kernels_of(given.module.definition.name)
    for arrange in ARRANGEMENTS:
        found, damage = _watched(given, kernels, device, arrange)
        bad = damage + misses(found, expected, torch.float32)
        assert not bad, f"{arrange.__name__}: " + "\n".join(bad)


@pytest.mark.thinned(4)
@interpreted
@pytest.mark.parametrize("layer", LAYERS)
def test_programs_run_in_any_order(layer: str) -> None:
    """Law 7, which one run alone cannot show: no program depends on another."""
    given, expected = _case(layer)
    kernels = kernels_of(given.module.definition.name)

    def run() -> Results:
        with few_programs(), recorded() as launches:
            found, damage = _watched(given, kernels, "cpu", channels_last)
        assert any(launched.programs > 1 for launched in launches)
        bad = damage + misses(found, expected, torch.float32)
        assert not bad, "\n".join(bad)
        return found

    assert not _differences(run)


def _about(count: int, programs: int) -> int:
    """The largest power of two with which some elements make at least so many tiles."""
    return 1 << (max(-(-count // programs), 1).bit_length() - 1)


def _lanes(results: int, *_: Any) -> dict[str, Any]:
    return table(_about(results, 3), 1, 1, (1, 1, 1))


def _rows(count: int, length: int, *_: Any) -> dict[str, Any]:
    beside, columns = _about(count, 3), min(4, _about(length, 1))
    chosen = table(1, beside * columns, beside, (1, 1, 1))
    chosen["interpreter"]["short_row"] = beside * columns
    return chosen


def _maps(count: int, length: int, *_: Any) -> dict[str, Any]:
    return table(_about(count * length, 8), 1, 1, (1, 1, 1))


def _products(batch: int, m: int, n: int, *_: Any) -> dict[str, Any]:
    return table(1, 1, 1, (_about(m, 2), _about(n, 2), 16))


@contextmanager
def few_programs() -> Iterator[None]:
    """Let every launch choose tiles for a few programs: several, if it has several results."""
    schedule, patch = importlib.import_module("svertka.generated.schedule"), pytest.MonkeyPatch()

    def chooser(name: str, table_for: Callable[..., dict[str, Any]], results: Callable[..., int]) -> None:
        plain = getattr(schedule, name).__wrapped__

        def choose(*arguments: Any, **more: int) -> Any:
            with mock.patch.dict(schedule.TABLE, table_for(*arguments)):
                chosen = plain(*arguments, **more)
            programs = chosen.programs if name == "_contraction" else chosen[0]
            assert programs > 1 or results(*arguments) <= 1, f"{name}{arguments}: one program"
            return chosen

        patch.setattr(schedule, name, choose)

    chooser("lanes", _lanes, lambda results, *_: results)
    chooser("rows", _rows, lambda count, *_: count)
    chooser("maps", _maps, lambda count, length, *_: count * length)
    chooser("_contraction", _products, lambda batch, m, n, *_: batch * m * n)
    try:
        yield
    finally:
        patch.undo()


# The checks find the faults for which they are made ----------------------------------------------------------------


HAND_WRITTEN = """
import triton
import triton.language as tl


@triton.jit
def double(source_ptr, target_ptr, count, load_to, store_from, store_to, BLOCK: tl.constexpr):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK) - 1
    value = tl.load(source_ptr + lane + load_to, mask=(lane >= 0) & (lane < count), other=0)
    tl.store(target_ptr + lane, 2 * value, mask=(lane >= store_from) & (lane < store_to))


@triton.jit
def running_sum(source_ptr, target_ptr):
    place = tl.program_id(0)
    before = tl.load(target_ptr + place - 1, mask=place > 0, other=0)
    tl.store(target_ptr + place, before + tl.load(source_ptr + place))


@triton.jit
def everyone_to_one_place(source_ptr, target_ptr):
    tl.store(target_ptr + tl.arange(0, 8), tl.load(source_ptr + tl.program_id(0)))


@triton.jit
def each_to_its_place(source_ptr, target_ptr):
    place = tl.program_id(0)
    tl.store(target_ptr + place, tl.load(source_ptr + place))
"""
COUNT, SOME = 21, 8


@pytest.fixture(scope="module")
def hand_written(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Kernels with known faults; a jit function must be in a file."""
    path = tmp_path_factory.mktemp("kernels") / "svertka_hand_written.py"
    path.write_text(HAND_WRITTEN, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _doubled(kernels: ModuleType, device: str, load_to: int, store_from: int, store_to: int) -> list[str]:
    """Double some numbers, a few too many or too few; returns the guards' report."""
    guard = Guard()
    numbers = torch.arange(1.0, COUNT + 1, device=device)
    source, target = guard.around(numbers, "source"), guard.around(numbers, "target", made=True)
    kernels.double[(4,)](source, target, COUNT, load_to, store_from, store_to, BLOCK=8)
    wrong = ["target: wrong"] if not torch.equal(target, 2 * numbers) else []
    return guard.damage() + wrong


def test_a_faultless_kernel_passes(hand_written: ModuleType, device: str) -> None:
    assert _doubled(hand_written, device, 0, 0, COUNT) == []


def test_a_store_outside_is_seen(hand_written: ModuleType, device: str) -> None:
    """One element past the end, and one before the start."""
    (after,) = _doubled(hand_written, device, 0, 0, COUNT + 1)
    assert after == f"target: 1 stores outside, the first at element {COUNT}"
    (before,) = _doubled(hand_written, device, 0, -1, COUNT)
    assert before == "target: 1 stores outside, the first at element -1"


def test_an_element_that_is_not_stored_is_seen(hand_written: ModuleType, device: str) -> None:
    missing, wrong = _doubled(hand_written, device, 0, 0, COUNT - 1)
    assert missing == "target: 1 elements were never stored, or are poisoned"
    assert wrong == "target: wrong"


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_load_outside_is_seen(hand_written: ModuleType, device: str, shift: int) -> None:
    """The element outside is a NaN, and no result is."""
    guard = Guard()
    source, target = (guard.around(torch.zeros(COUNT, device=device), made=made) for made in (False, True))
    hand_written.double[(4,)](source, target, COUNT, shift, 0, COUNT, BLOCK=8)
    assert int(target.isnan().sum()) == 1


def _in_orders(kernel: Any) -> list[str]:
    def run() -> Results:
        guard = Guard()
        source = guard.around(torch.arange(1.0, SOME + 1))
        target = guard.around(source, made=True)
        kernel[(SOME,)](source, target)
        return {"target": target}

    return _differences(run)


@interpreted
def test_programs_that_depend_on_each_other_are_seen(hand_written: ModuleType) -> None:
    """One that reads what another stored, and two that store at one position."""
    every = [f"order {number}: target" for number in range(len(ORDERS))]
    assert _in_orders(hand_written.running_sum) == every
    assert _in_orders(hand_written.everyone_to_one_place) == every
    assert _in_orders(hand_written.each_to_its_place) == []


GENERATED = Path(svertka.generated.__file__).parent
FAULTS = (
    ("live = lane < tl.cast(I, INDEX)", "live = lane <= tl.cast(I, INDEX)", "stores outside"),
    ("live = lane < tl.cast(I, INDEX)", "live = lane < tl.cast(I, INDEX) - 1", "never stored"),
    ("output_ptr + i * output_stride_i,", "output_ptr + i * output_stride_i - 1,", "stores outside"),
)


@pytest.mark.parametrize(("old", "new", "said"), FAULTS)
def test_a_faulty_generated_kernel_is_seen(tmp_path: Path, device: str, old: str, new: str, said: str) -> None:
    """The guards also protect tensors that generated launchers allocate."""
    copy = tmp_path / "package"
    shutil.copytree(GENERATED, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "kernels" / "relu.py"
    text = path.read_text(encoding="utf-8")
    assert old in text, f"relu no longer says {old!r}; plant the fault elsewhere"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with load_package(copy) as package:
        kernels = importlib.import_module(f"{package}.kernels.relu")
        _, damage = _watched(problem("relu-1", "float32"), kernels, device, torch.Tensor.contiguous, package)
    assert any(said in line for line in damage), damage
