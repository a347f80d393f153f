"""Loops over what guards allow: residue classes, bounds of sums, and tiles whose sums nobody uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd
from typing import Any
from unittest import mock

import pytest
import torch
import triton
import triton.language as tl
from sympy import And, Expr, Le, Lt
from sympy.logic.boolalg import Boolean
from torch.nn import functional
from triton.runtime import interpreter as engine

from svertka import generated
from svertka.codegen.ir.kernel import Apply, Kernel, walk_node
from svertka.codegen.lowering.build import build
from svertka.codegen.lowering.built import built
from svertka.codegen.lowering.loop_bounds import bounds_of, used_under
from svertka.codegen.lowering.residue_classes import phases, residue_classes
from svertka.generated.kernels import primitives
from svertka.spec import Equation, Layer, Select, Sum, Tensor, axes, axis, define, integer
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Divides, InRange

from .scratch import Scratch, defined, scratch
from .tiles import tiles

b, m, k, n = axis("b", batch=True), axis("m"), axis("k"), axis("n")
left, right, output = Tensor("input", b, m, k), Tensor("mat2", b, k, n), Tensor("output", b, m, n)
stride, width = integer("stride", positive=True), integer("width", positive=True)
h, r, s = axes("h r s")
interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="runs kernels in the interpreter")
KNOWN = {"R", "S", "stride", "width"}


# Residue classes ------------------------------------------------------------------------------------------------------


def test_a_divisibility_leaves_an_index_one_residue_class() -> None:
    condition = Divides(stride, h + 3 - width * r)
    (found,) = residue_classes([condition], (r, s), KNOWN).values()
    assert (found.tap, found.slope, found.residue, found.modulus) == (r, width, h + 3, stride)


@pytest.mark.parametrize(
    "condition",
    [
        Divides(stride, h),
        Divides(stride, h + r + s),
        Divides(stride, h + r * r),
        Divides(integer("d"), h + r),
        Divides(k.extent + 1, h + r),
        Divides(stride, h + k),
        Divides(stride, Tensor("place", h, kind="integer")[h] + r),
        InRange(h - r, h.extent),
    ],
    ids=["no tap", "two taps", "a square", "unknown sign", "a size", "a large index", "from data", "no divisibility"],
)
def test_other_conditions_leave_none(condition: Boolean) -> None:
    assert not residue_classes([condition], (r, s, k), KNOWN)


def test_an_index_has_one_residue_class() -> None:
    first, second = Divides(stride, h + r), Divides(width, h - r)
    assert residue_classes([first, second], (r,), KNOWN).keys() == {first}


def test_phases_are_of_the_indices_that_residues_contain() -> None:
    found = phases(residue_classes([Divides(stride, 2 * h - r), Divides(width, n - s)], (r, s), KNOWN), (h,))
    assert found.steps == {h: stride}
    assert [str(one.residue) for one in found.classes.values()] == ["2*phase_h", "n"]


@pytest.mark.parametrize(
    "conditions",
    [(Divides(stride, h + m - r),), (Divides(stride * width, h - r),)],
    ids=["two indices of the result", "a product"],
)
def test_what_no_phase_answers_stays_a_guard(conditions: tuple[Boolean, ...]) -> None:
    assert not phases(residue_classes(conditions, (r,), KNOWN), (h, m)).classes


@triton.jit
def taps(found_ptr, residue, SLOPE: tl.constexpr, MODULUS: tl.constexpr, EXTENT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store the first value below the extent, and how many there are."""
    first = primitives.first_tap(SLOPE, residue, MODULUS, EXTENT)
    count = primitives.tap_count(EXTENT, first, primitives.tap_period(SLOPE, MODULUS))
    tl.store(found_ptr, first)
    tl.store(found_ptr + 1, count)


@interpreted
@pytest.mark.parametrize("modulus", range(1, 8))
def test_first_tap_and_period_find_all_values_of_a_class(modulus: int) -> None:
    for slope in range(-7, 8):
        if slope == 0:
            continue
        period, most = primitives.tap_period(slope, modulus), primitives.most_taps(11, slope, modulus)
        assert period == modulus // gcd(slope, modulus)
        assert most == -(-11 // period)
        for residue in range(-9, 10):
            found = torch.zeros(2, dtype=torch.int32)
            taps[(1,)](found, residue, SLOPE=slope, MODULUS=modulus, EXTENT=11)
            first, count = found.tolist()
            values = [place for place in range(11) if (slope * place - residue) % modulus == 0]
            assert [first + period * turn for turn in range(count)] == values
            assert count <= most


def nodes_of(kernel: Kernel) -> Iterator[Apply]:
    """All operations of a kernel's guards, masks and values."""
    roots = [root for operand in kernel.operands for root in (*operand.guards, operand.value)]
    roots += [let.value for operand in kernel.operands for let in operand.lets]
    for section in kernel.sections:
        roots += [let.value for let in section.lets]
        roots += [root for a in section.accumulators for root in (a.value, *a.guards)]
    yield from (node for root in roots for node in walk_node(root) if isinstance(node, Apply))


def strided_kernels() -> list[tuple[str, Kernel]]:
    """Kernels of the library, first and second order, that compute a sum under a divisibility."""
    found = [(d.name, kernel) for d in DEFINITIONS.values() for kernel in built(d).kernels]
    return [(name, kernel) for name, kernel in found if any(" divides " in text for text in kernel.equations)]


def test_no_kernel_of_the_library_asks_in_its_loop_what_divides() -> None:
    kernels = strided_kernels()
    assert {name for name, _ in kernels} >= {"max_pooling_2d", "average_pooling_3d", "convolution_1d"}
    for name, kernel in kernels:
        assert not [node for node in nodes_of(kernel) if node.operation == "remainder"], name
        assert kernel.taps or any(section.taps for section in kernel.sections), name


GEOMETRIES = [((2, 3), (1, 1), (1, 2)), ((4, 6), (6, 4), (2, 0)), ((5, 2), (1, 4), (0, 1)), ((3, 1), (3, 2), (1, 1))]
"""Stride, dilation, padding; in some, stride and dilation have a common divisor, so that no tap reads some places."""


def whole(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-8, 9, shape, generator=generator).double()


@interpreted
@pytest.mark.thinned(4)
@pytest.mark.parametrize("last", [False, True], ids=["row-major", "channels last"])
@pytest.mark.parametrize(("stride", "dilation", "padding"), GEOMETRIES)
def test_gradients_of_strided_windows_are_those_of_pytorch(
    stride: tuple[int, int], dilation: tuple[int, int], padding: tuple[int, int], last: bool
) -> None:
    """On whole numbers, where no sum rounds."""
    memory = torch.channels_last if last else torch.contiguous_format
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    image, weight = whole(2, 3, 31, 29).to(memory_format=memory), whole(4, 3, 5, 4).to(memory_format=memory)
    for name, given in (("max_pool2d", (image, (5, 4))), ("conv2d", (image, weight))):
        results = []
        for functions in (generated.functional, functional):
            taken = [one.clone().requires_grad_() if isinstance(one, torch.Tensor) else one for one in given]
            found = getattr(functions, name)(*taken, **settings)
            found.backward(whole(*found.shape))
            results.append([one.grad for one in taken if isinstance(one, torch.Tensor)])
        for own, known in zip(*results, strict=True):
            assert torch.equal(own, known), name


# Bounds -----------------------------------------------------------------------------------------------------------


CONDITIONS: dict[str, Boolean] = {
    "triangle": Le(k, m),
    "strict triangle": Lt(m, k),
    "band": And(Le(k - m, width), Lt(m - k, width)),
    "window": InRange(m - k + width, 2 * width + 1),
    "slope": And(Lt(2 * m, 3 * k), Le(k, 2 * m + width)),
    "corner": Lt(k + m, 20),
}
SIZES = {"B": 2, "M": 38, "K": 45, "N": 8}
WIDTH = 1  # so that a tile beside the diagonal has one element
TABLE = {
    "interpreter_contraction": {
        kind: [{"least_m": 0, "least_n": 0, "tile": [16, 32, 16], "warps": 4, "stages": 1, "persistent": 1}]
        for kind in ("half", "float32", "float64", "boxes")
    }
}


def product(condition: Boolean) -> Layer:
    value = Sum(left[b, m, k] * right[b, k, n], k, where=condition)
    return Layer("guarded", (left, right), (Equation(output, value),), ("output",))


def mask(condition: Boolean) -> torch.Tensor:
    rows = [[bool(condition.subs({m: i, k: j, width: WIDTH})) for j in range(SIZES["K"])] for i in range(SIZES["M"])]
    return torch.tensor(rows)


@contextmanager
def dots_counted() -> Iterator[list[int]]:
    """How many products of tiles the interpreter computes."""
    count = [0]
    plain = engine.InterpreterBuilder.create_dot

    def counted(*arguments: Any) -> Any:
        count[0] += 1
        return plain(*arguments)

    with mock.patch.object(engine.InterpreterBuilder, "create_dot", counted):
        yield count


def results(made: Scratch, x: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> list[torch.Tensor]:
    names = {"K": SIZES["K"], "M": SIZES["M"], "N": SIZES["N"], "width": WIDTH}
    program = made.module.programs[0]
    forward = {name: names[name] for name in program[0].keywords}
    backward = {name: names[name] for name in program[2].keywords}
    (y,) = made.kernels.guarded_forward(x, w, **forward)
    return [y, *made.kernels.guarded_backward(g, x, w, **backward, wanted=(True, True))]


@interpreted
@pytest.mark.thinned(4)
@pytest.mark.parametrize("boxed", [False, True], ids=["pointers", "boxes"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_guarded_products_visit_only_tiles_that_their_guard_reaches(name: str, boxed: bool) -> None:
    held = mask(CONDITIONS[name])
    x, w, g = whole(2, 38, 45).float(), whole(2, 45, 8).float(), whole(2, 38, 8).float()
    kept = torch.where(held, x, 0)
    expected = [kept @ w, torch.where(held, g @ w.mT, 0), kept.mT @ g]
    with (
        scratch(defined(product(CONDITIONS[name]))) as made,
        tiles(TABLE, made.package),
        mock.patch.object(made.kernels.launching, "boxed", return_value=boxed),
        dots_counted() as count,
    ):
        found = results(made, x, w, g)
    for own, known in zip(found, expected, strict=True):
        assert torch.equal(own, known)
    rows, inner = -(-SIZES["M"] // 16), -(-SIZES["K"] // 16)
    full = SIZES["B"] * (rows * inner + rows * -(-SIZES["K"] // 32) + inner * rows)
    assert count[0] < full
    if name == "triangle" and not boxed:
        # steps of 16 up to a tile's 16 rows; tiles of 16 x 32 on or below the diagonal; steps from a tile's rows on
        assert count[0] == SIZES["B"] * ((1 + 2 + 3) + (1 + 1 + 2) + (3 + 2 + 1))


def test_bounds_are_on_the_summed_index_alone() -> None:
    place = Tensor("place", m, kind="integer")
    assert bounds_of([Le(k, 5), Le(k, place[m]), Le(k * k, m), Le(Tensor("x", m)[m], 0)], k) is None


def test_a_product_that_is_used_everywhere_has_no_conditions() -> None:
    read = output[b, m, n]
    condition = Le(n, m)
    used: dict[Expr, tuple[Boolean, ...]] = {
        Select(condition, read, 0): (condition,),
        2 * Select(condition, 1, 0) * read + 1: (condition,),
        Select(condition, read, 0) * Select(m > 3, 1, 0): (condition, m > 3),
        Select(condition, 1, read): (),
        Select(condition, read, 0) + read: (),
        Select(read > 0, read, 0): (),
        read + m: (),
    }
    for value, conditions in used.items():
        assert set(used_under(value, read)) == set(conditions), value


def test_a_condition_around_a_product_leaves_it_a_product() -> None:
    kernels = {kernel.name: kernel for kernel in build(define(product(Le(k, m)))).kernels}
    gradient = kernels["guarded_grad_input"]
    assert gradient.operands
    assert gradient.boxes is not None
    assert gradient.used


def test_only_guarded_products_have_bounds() -> None:
    for definition in with_gradients([DEFINITIONS["linear"], DEFINITIONS["convolution_1d"]]):
        for kernel in built(definition).kernels:
            assert kernel.bounds is None
            assert not kernel.used
