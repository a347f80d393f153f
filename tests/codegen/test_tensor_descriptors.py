"""Contractions with boxes: which exist, which launches use them, and that both routes give the formula."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import triton.language as tl
from sympy import cos, sin

from svertka.codegen.ir.kernel import Boxes, Kernel
from svertka.codegen.lowering.built import built
from svertka.codegen.verify.cases import Case, cases
from svertka.codegen.verify.equivalence import compare, draw_values, outcome, real
from svertka.codegen.verify.levels import Subject
from svertka.generated import launching, schedule
from svertka.spec import Equation, Index, Layer, Sum, Tensor, axes, axis, define
from svertka.spec.evaluate import whole
from svertka.spec.layers import DEFINITIONS

from .scratch import defined, scratch
from .tiles import Launched, few_processors, recorded, table, tiles

n, k, c, h, p, r = axes("n k c h p r")
x, weight, product = Tensor("input", n, c), Tensor("weight", k, c), Tensor("output", n, k)
COMPUTED = Layer("computed", (x, weight), (Equation(product, Sum(sin(x[n, c]) * cos(weight[k, c]), c)),), ("output",))
FETCHED = ("linear", "convolution_1d", "convolution_2d", "convolution_3d", "convolution_2d_relu")
FETCHED += tuple(f"transposed_convolution_{rank}d" for rank in (1, 2, 3))
interpreter = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="these are the interpreter's tables")


def boxes_of(layer: str, kernel: str) -> Boxes:
    """How a kernel loads boxes."""
    found = next(k for k in built(DEFINITIONS[layer]).kernels if k.name == f"{layer}_{kernel}")
    assert found.boxes is not None
    return found.boxes


def contractions() -> Iterator[tuple[str, Kernel]]:
    """All contractions with their definitions' names, and one product with a computed operand."""
    for definition in (*DEFINITIONS.values(), define(COMPUTED)):
        yield from ((definition.name, k) for k in built(definition).kernels if k.operands)


def test_products_of_stored_tensors_are_boxes_and_no_others() -> None:
    """Only elements of a tensor are boxes."""
    found = {(name, kernel.boxes is not None) for name, kernel in contractions()}
    assert found == {*((name, True) for name in FETCHED), ("computed", False)}


def test_forward_walks_the_phases_of_its_stride() -> None:
    boxes = boxes_of("convolution_2d", "output")
    assert [axis.index for axis in boxes.rows] == ["k"]
    assert [axis.index for axis in boxes.columns] == ["p", "q", "n"]  # examples side by side
    assert [axis.index for axis in boxes.summed] == ["c"]
    assert [(walk.index, walk.extent.name) for walk in boxes.phases] == [  # type: ignore[union-attr]
        ("phase_h", "stride_h"),
        ("phase_w", "stride_w"),
    ]
    assert [tap.modulus is not None for tap in boxes.taps] == [True, True]
    assert (boxes.left.tensor, boxes.right.tensor) == ("weight", "input")
    assert boxes.right.phased
    assert not boxes.left.phased
    assert not boxes.right.moves


def test_gradient_of_the_input_has_the_phases_in_its_result() -> None:
    boxes = boxes_of("convolution_2d", "grad_input")
    assert [axis.step is not None for axis in boxes.columns] == [True, True, False]
    assert not boxes.phases
    assert {"phase_h", "phase_w", "g"} == {walk.index for walk in boxes.walks}
    assert not boxes.right.phased


def test_gradient_of_the_weight_walks_places_of_the_window_by_program() -> None:
    boxes = boxes_of("convolution_2d", "grad_weight")
    assert [walk.index for walk in boxes.walks] == ["g", "r", "s"]
    assert [axis.index for axis in boxes.summed] == ["p", "q", "n"]
    assert boxes.right.moves
    assert all(axis.limit is not None for axis in boxes.right.axes if axis.step is not None)


# The choice at a call -------------------------------------------------------------------------------------------------


def operand(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A tensor as launchers describe it."""
    pairs = list(zip(tensor.shape, tensor.stride(), strict=True))
    return (tensor, pairs[-1][1], *pairs[:-1])


@pytest.fixture
def halves() -> Iterator[None]:
    """The types that a GPU accepts, also in the interpreter."""
    before = launching.BOXED_TYPES
    launching.BOXED_TYPES = {torch.float16, torch.bfloat16}
    yield
    launching.BOXED_TYPES = before


@pytest.mark.usefixtures("halves")
@pytest.mark.parametrize(
    ("tensor", "fits"),
    [
        (torch.zeros(5, 16, dtype=torch.bfloat16), True),
        (torch.zeros(5, 16, dtype=torch.float16)[:, :9], True),
        (torch.zeros(5, 12, dtype=torch.float16), False),  # 24 bytes from row to row
        (torch.zeros(1, 12, dtype=torch.float16), True),  # one row: its stride does not matter
        (torch.zeros(16, 5, dtype=torch.bfloat16).T, False),
        (torch.zeros(5, 16, dtype=torch.float32), False),
        (torch.zeros(1, 16, dtype=torch.bfloat16).expand(5, 16), False),
        (torch.zeros(5 * 16 + 1, dtype=torch.bfloat16)[1:].view(5, 16), False),
        (torch.zeros(5 * 16 + 8, dtype=torch.bfloat16)[8:].view(5, 16), True),
    ],
)
def test_which_tensors_can_be_fetched(tensor: torch.Tensor, fits: bool) -> None:
    good = torch.zeros(3, 8, dtype=torch.bfloat16)
    assert launching.boxed(operand(good), operand(tensor)) == fits
    assert launching.boxed(operand(tensor), operand(good)) == fits


@pytest.mark.parametrize("extents", [(7, 56, 56, 64), (13, 13, 256), (1, 224, 3), (55, 55, 2), (5,)])
@pytest.mark.parametrize("block", [16, 64, 256])
def test_widths_fill_a_block_with_little_outside(extents: tuple[int, ...], block: int) -> None:
    widths = schedule._widths(extents, block)
    assert math.prod(widths) == block
    assert all(width & (width - 1) == 0 for width in widths)

    def filled(chosen: tuple[int, ...]) -> int:
        return math.prod(-(-extent // width) * width for extent, width in zip(extents, chosen, strict=True))

    flat = (*(1 for _ in extents[1:]), block)
    assert filled(widths) <= min(filled(flat), filled(flat[::-1]))


@pytest.mark.parametrize(
    ("tiles_", "steps", "splits"), [(132, 900, 1), (67, 900, 1), (66, 900, 4), (9, 900, 29), (9, 24, 3), (1, 7, 1)]
)
def test_sums_are_split_where_tiles_are_few(tiles_: int, steps: int, splits: int) -> None:
    assert schedule._splits(tiles_, steps, 132, "sm_90") == splits


@pytest.mark.parametrize(("target", "taken"), [("sm_90", True), ("sm_100", True), ("sm_80", False), ("default", False)])
def test_a_target_without_tiles_for_boxes_takes_pointers(
    target: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    choose = schedule._boxes.__wrapped__
    extents = ((("m", 4096),), (("n", 512),), (("k", 256),))
    product = choose(1, *extents, 9, 1, tl.bfloat16, "ieee", target, 132, 0)
    assert (product is not None) == taken
    if product is not None:
        assert product.row[0] == "boxes"
        assert product.programs <= 2 * 132
    assert choose(1, extents[0], extents[1], (("k", 16),), 9, 1, tl.bfloat16, "ieee", target, 132, 0) is None
    assert choose(1, *extents, 81, 81, tl.bfloat16, "ieee", target, 132, 0) is None


# Both routes ----------------------------------------------------------------------------------------------------------

PRODUCTS = table(64, 64, 4, (16, 16, 4))["interpreter_contraction"]
BOXES = [{"least_m": 0, "least_n": 0, "tile": [16, 16, 8], "warps": 4, "stages": 1, "persistent": 1}]
SMALL = {
    "interpreter_contraction": {**PRODUCTS, "boxes": BOXES},
    "sums": {"least_depth": 1, "most_phases": 64, "steps_a_part": 1, "row_steps_a_part": 1},
}
"""Tiles smaller than extents, and partial sums."""


def subject_of(layer: str) -> Subject:
    module = built(DEFINITIONS[layer])
    return Subject(module, module.definition.variants[0], "svertka.generated")


def small(subject: Subject) -> tuple[Case, ...]:
    """The smallest sizes at which half precision can be loaded as boxes and sums have several steps."""
    return subject.aligned(subject.small_cases[:1], 16 if subject.layer.name == "linear" else 8)


def run(subject: Subject, case: Case, count: int) -> list[Launched]:
    """Compare with the formula in three dtypes, with so many processors; returns the launches."""
    from svertka.codegen.verify.levels.bfloat16 import repaired_on

    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    with tiles(SMALL), few_processors(count), repaired_on("cpu"), recorded() as launches:
        found = list(compare(subject.module, subject.variant, subject.kernels, case, dtypes))
    assert found
    assert [f"{dtype} {result}" for dtype, result in found if not result.holds] == []
    return launches


@interpreter
@pytest.mark.parametrize("layer", FETCHED[:3])
@pytest.mark.parametrize("count", [1, 64])
def test_boxes_give_the_formula(layer: str, count: int) -> None:
    """One program loops over all tiles and sums are whole, or more processors than tiles and sums are split."""
    subject = subject_of(layer)
    seen: dict[str, set[str]] = {}
    for case in small(subject):
        for launched in run(subject, case, count):
            if launched.kernel.endswith("_boxes"):
                seen.setdefault(launched.kernel, set()).add(launched.constants["PART"])
                assert launched.programs <= count or launched.constants["PART"] != "whole"
    assert seen.keys() == {f"{kernel.name}_boxes" for kernel in subject.boxed}
    if count > 1:
        assert any({"part", "finish"} <= parts for parts in seen.values())
    else:
        assert all(parts == {"whole"} for parts in seen.values())


def strided_twice(place: Index) -> Layer:
    """Two factors that are read with steps, the left one along an axis ``h``, the right one along ``place``."""
    image, kernel = Tensor("image", n, h, c), Tensor("kernel", place, r, k)
    value = Sum(image[n, 2 * p + r, c] * kernel[2 * c, r, k], c, r)
    return Layer("strided_twice", (image, kernel), (Equation(Tensor("output", n, p, k), value),), ("output",))


@interpreter
@pytest.mark.parametrize(("place", "fetched"), [(axis("i"), True), (h, False)])
def test_phases_of_axes_of_one_name_are_not_mixed_up(place: Index, fetched: bool) -> None:
    """A phase is named after its axis: two phases of one name would be one variable of the kernel."""
    definition = defined(strided_twice(place))
    with scratch(definition) as made, tiles(SMALL):
        (variant,) = definition.variants
        drawn = next(iter(cases(definition, variant))).sizes
        sizes = {"N": 3, "H": 16, "I": 16, "C": 8, "K": 8, "P": 6, "R": 3}
        case = Case("steps", {name: sizes[name] for name in drawn}, frozenset())
        found = list(compare(made.module, variant, made.kernels, case, (torch.float32,)))
        assert (made.module.kernels[0].boxes is not None) == fetched
    assert found
    assert [str(result) for _, result in found if not result.holds] == []


@interpreter
@pytest.mark.parametrize("layer", FETCHED[:3])
def test_pointers_give_the_formula_in_parts(layer: str) -> None:
    """Odd extents cannot be loaded as boxes; the sums are split nevertheless."""
    subject = subject_of(layer)
    parts = set()
    for case in subject.small_cases[:1]:
        launches = run(subject, Case(case.name, dict(case.sizes), case.absent, last=True), 64)
        parts |= {one.constants["PART"] for one in launches if "PART" in one.constants and "_boxes" not in one.kernel}
    assert {"part", "finish"} <= parts


GEOMETRY = [
    # stride, padding, dilation, kernel: phases without any position, phases that repeat, windows beyond both ends
    (2, 1, 1, 3),
    (2, 0, 2, 3),
    (3, 2, 2, 2),
    (4, 5, 3, 5),
    (3, 0, 3, 1),
    (2, 3, 1, 7),
    (6, 2, 4, 3),
]


@pytest.mark.thinned(4)
@interpreter
@pytest.mark.parametrize(("stride", "padding", "dilation", "kernel"), GEOMETRY)
@pytest.mark.parametrize("groups", [1, 2])
def test_every_geometry(stride: int, padding: int, dilation: int, kernel: int, groups: int) -> None:
    subject = subject_of("convolution_1d")
    definition = subject.module.definition
    drawn = next(iter(cases(definition, subject.variant))).sizes
    sizes = {**drawn, "N": 3, "G": groups, "C": 8, "K": 16, "W": 17, "S": kernel, "stride_w": stride}
    sizes |= {"dilation_w": dilation, "padding_w": padding, "padding_w_high": padding}
    for name, rule in definition.extents.items():
        sizes[name] = whole(rule, sizes)
    case = Case(f"{stride}/{padding}/{dilation}/{kernel}", sizes, frozenset(), last=True)
    launches = run(subject, case, 2)
    assert {one.kernel for one in launches} >= {f"{k.name}_boxes" for k in subject.boxed}


@interpreter
def test_what_lies_outside_a_window_is_not_multiplied() -> None:
    """An input element in no window may be infinite: the gradient of the weight does not change."""
    subject = subject_of("convolution_1d")
    definition, layer = subject.module.definition, subject.layer
    drawn = next(iter(cases(definition, subject.variant))).sizes
    sizes = {**drawn, "N": 2, "G": 1, "C": 8, "K": 8, "W": 12, "S": 2, "stride_w": 3}
    sizes |= {"dilation_w": 1, "padding_w": 0, "padding_w_high": 0}
    for name, rule in definition.extents.items():
        sizes[name] = whole(rule, sizes)
    case = Case("unmet", sizes, frozenset(), last=True)
    values = draw_values(definition, layer, case, real)
    values.tensors["input"][..., 2::3] = math.inf
    kernels = importlib.import_module("svertka.generated.kernels.convolution_1d")
    with tiles(SMALL), recorded() as launches:
        found = dict(outcome(definition, layer, kernels, case, values, torch.float32, "cpu"))
    assert any(one.kernel == "convolution_1d_grad_weight_boxes" for one in launches)
    assert found["grad_weight"].isfinite().all()
