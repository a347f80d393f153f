"""Offsets: 64 bits wherever some element lies beyond what 32 bits say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton.language as tl

from svertka.generated import launching

FAR = launching.INT32_ELEMENTS


def index_type(*tensors: torch.Tensor) -> object:
    how = launching.prepare(torch.empty(3, 2, device="meta"))
    return launching.constants_of(how, (*tensors, 5))["INDEX"]


@pytest.mark.parametrize(
    ("shape", "strides", "wide"),
    [
        ((7, 5), (5, 1), False),
        ((FAR - 1,), (1,), False),
        ((FAR,), (1,), True),
        ((2, 3), (FAR // 4, FAR // 4), False),
        ((2, 3), (FAR, 1), True),  # six elements, far apart
        ((1, 3), (FAR, 1), False),
        ((0, 3), (FAR, 1), False),
    ],
)
def test_reach_decides(shape: tuple[int, ...], strides: tuple[int, ...], wide: bool) -> None:
    tensor = torch.empty_strided(shape, strides, device="meta")
    assert index_type(torch.empty(3, device="meta"), tensor) == (tl.int64 if wide else tl.int32)


# The short way to a compiled kernel ----------------------------------------------------------------------------------


class Compiled:
    """What Triton returns of a launch: it can be launched again."""

    packed_metadata = ()

    def __init__(self, launched: list[Any]) -> None:
        self.launched = launched

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *arguments: self.launched.append((grid, arguments))


class Kernel:
    """A kernel with two tensors or numbers and constants in an order of its own."""

    arg_names = ("x", "n", "BLOCK", "ACC", "LAST", "INDEX", "R")

    def __init__(self, compiles: bool = True) -> None:
        self.through_triton: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.directly: list[Any] = []
        self.compiles = compiles

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> Any:
            self.through_triton.append((arguments, options))
            return Compiled(self.directly) if self.compiles else None

        return launch


TILES = {"BLOCK": 64, "num_warps": 4}


def launch(kernel: Kernel, x: object, n: object, programs: int = 3, tiles: Any = TILES, constant: object = 1) -> None:
    how = launching.prepare(torch.empty(3, 2))
    launching.run(kernel, how, (programs, tiles), (x, n), {"R": constant})


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "DIRECT", True)
    monkeypatch.setattr(launching, "_COMPILED", {})


@pytest.mark.usefixtures("direct")
def test_the_second_launch_takes_the_short_way() -> None:
    kernel, x, y = Kernel(), torch.empty(8), torch.empty(16)
    launch(kernel, x, 5)
    launch(kernel, y, 7, programs=9)
    assert len(kernel.through_triton) == 1
    assert kernel.directly == [((9, 1, 1), (y, 7, 64, tl.float32, False, tl.int32, 1))]


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.empty(8, dtype=torch.float64)},
        {"x": torch.empty(9)[1:]},  # not aligned to 16 bytes
        {"x": None},
        {"n": 1},
        {"n": 16},
        {"n": 2**31 + 1},
        {"n": 5.0},
        {"n": True},
        {"tiles": {"BLOCK": 64, "num_warps": 8}},
        {"constant": 2},
        {"constant": True},
        {"constant": 1.0},
    ],
)
def test_what_triton_compiles_for_goes_through_triton(other: dict[str, Any]) -> None:
    kernel, plain = Kernel(), {"x": torch.empty(8), "n": 5}
    launch(kernel, **plain)
    launch(kernel, **{**plain, **other})
    assert (len(kernel.through_triton), kernel.directly) == (2, [])
    launch(kernel, **plain)
    launch(kernel, **{**plain, **other})
    assert (len(kernel.through_triton), len(kernel.directly)) == (2, 2)


@pytest.mark.usefixtures("direct")
def test_large_integers_of_other_widths_are_apart() -> None:
    kernel = Kernel()
    for n in (3, 2**31 + 3, 2**63 + 3, -(2**31) - 3):
        launch(kernel, None, n)
    assert len(kernel.through_triton) == 3  # what lies beyond 32 bits is signed below 2**63


@pytest.mark.usefixtures("direct")
def test_a_triton_that_returns_something_else_launches_everything() -> None:
    kernel = Kernel(compiles=False)
    launch(kernel, None, 5)
    launch(kernel, None, 5)
    assert (len(kernel.through_triton), kernel.directly) == (2, [])


@pytest.mark.usefixtures("direct")
def test_nothing_is_launched_for_an_empty_result() -> None:
    kernel = Kernel()
    launch(kernel, None, 5, programs=0)
    assert kernel.through_triton == []


@pytest.mark.usefixtures("direct")
def test_the_store_of_signatures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "MOST_COMPILED", 2)
    kernel = Kernel()
    for constant in range(5):
        launch(kernel, None, 5, constant=constant)
        assert len(launching._COMPILED) <= 2
