"""Maps of rows and columns: which kernels are, with what tiles, that they are right, and faults."""

from __future__ import annotations

from typing import Any

import pytest
from sympy import exp, sqrt

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.lowering.build import build
from svertka.codegen.lowering.fusion import FusionGroup, partition
from svertka.codegen.passes.inline import inline_maps
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.generated import schedule
from svertka.spec import Equation, Layer, Tensor, axes, define, maximum, normal_form

from .planted import judged

n, c, m = axes("n c m")
image, output = Tensor("input", n, c, m), Tensor("output", n, c, m)
scale, place, example = Tensor("scale", c), Tensor("place", m), Tensor("example", n, c)
total = Tensor("total")
SCALED = define(
    Layer(
        "scaled",
        (image, scale, example),
        (Equation(output, image[n, c, m] * scale[c] ** 2 / sqrt(example[n, c] ** 2 + 1)),),
        ("output",),
    )
)


def group_of(value: Any) -> FusionGroup:
    tensors = (image, scale, place, example, total)
    [group] = partition(inline_maps(normal_form(Layer("map", tensors, (Equation(output, value),), ("output",)))))
    return group


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (image[n, c, m] * scale[c], (n, c)),
        (image[n, c, m] * example[n, c], (n, c)),
        (image[n, c, m] * example[n, 0], (n,)),
        (image[n, c, m] + scale[0] + example[n, 0], (n,)),
        (maximum(image[n, c, m], scale[c]) + total[()], (n, c)),
    ],
)
def test_what_depends_on_the_first_indices_alone_gives_rows(value: Any, rows: tuple[Any, ...]) -> None:
    group = group_of(value)
    assert group.pattern == LoopPattern.ROW
    assert (group.rows, group.rows + group.columns) == (rows, (n, c, m))
    assert not group.reductions


@pytest.mark.parametrize(
    "value",
    [
        exp(image[n, c, m]),
        image[n, c, m] * total[()],
        image[n, c, m] + image[n, c, m] ** 2,
        image[n, c, m] * place[m],
        image[n, c, m] * place[m] * scale[c],
    ],
)
def test_other_maps_have_lanes(value: Any) -> None:
    """Nothing is the same for several elements, or the last index decides it."""
    group = group_of(value)
    assert (group.pattern, group.columns) == (LoopPattern.POINTWISE, ())


def test_a_map_is_a_kernel_of_rows_without_reductions() -> None:
    forward, _, backward = build(SCALED).programs[0]
    assert [launch.kernel.maps for launch in forward.launches] == [True]
    kinds = {launch.kernel.maps for launch in backward.launches}
    assert kinds == {True, False}  # the gradient of the image, and sums


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "default"])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(("count", "length"), [(1, 1), (7, 49), (4096, 3136), (3, 10**7), (10**7, 1), (0, 5), (5, 0)])
def test_tiles_cover_all_elements(count: int, length: int, beside: bool, target: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    programs, tiles = schedule.maps.__wrapped__(count, length, beside, target)
    height, width = tiles["ROWS"], tiles["COLUMNS"]
    assert programs == -(-count // height) * -(-length // width)
    assert height * width <= 2 * schedule.TABLES[target]["lanes"]["block"]
    assert height >= min(count, 32) or not beside


def test_every_level_holds() -> None:
    [verdict] = validate_package(generate_package([SCALED]).sources, [SCALED], processes=1)
    assert not verdict.failures
    assert {o.level for o in verdict.outcomes if o.holds} == LEVELS.keys() - {"exact"}


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("program // across * height", "program % across * height"),
        ("program % across * width", "program // across * width"),
        ("program // across * height", "program // across"),
        ("across = tl.cdiv(columns, width)", "across = columns // width"),
        ("mask=live_row & live_column)", "mask=live_column)"),
        ("mask=live_row & live_column)", "mask=live_row)"),
        ("c * scale_stride_c", "n * scale_stride_c"),
    ],
)
def test_a_fault_is_found(text: str, fault: str) -> None:
    assert judged(SCALED, text, fault).failures
