"""A loop over an index that a quotient keeps near another begins there and reaches all values that the guard allows."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from sympy import Expr
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import Apply, Constant, Name, Node, TapRange
from svertka.codegen.lowering.build import build
from svertka.codegen.lowering.tap_ranges import tap_ranges
from svertka.spec import Tensor, axes, integer
from svertka.spec.evaluate import holds
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Divides, FloorDiv, InRange

h, p, q, r = axes("h p q r")
step, parts = integer("step", positive=True), integer("parts", positive=True)
reach = r.extent
KNOWN = {"R", "step", "parts"}
SIZES = ("H", "P", "R", "step", "parts")


def value(node: Node, sizes: dict[str, int]) -> Any:
    """What a node of index arithmetic is."""
    if isinstance(node, Constant):
        return int(node.value)
    if isinstance(node, Name):
        return sizes[node.name]
    assert isinstance(node, Apply)
    operations: dict[str, Any] = {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "negate": lambda a: -a,
        "floor_divide": _divided,
        "<": lambda a, b: a < b,
        "where": lambda condition, a, b: a if condition else b,
    }
    return operations[node.operation](*(value(part, sizes) for part in node.arguments))


def _divided(number: int, divisor: int) -> int:
    assert number >= 0  # kernels round towards zero
    return number // divisor


PLACES: dict[str, Expr] = {
    "a quotient": h - FloorDiv(step * p, parts),
    "shifted": h + 2 - FloorDiv(2 * step * p + step + 3, 2 * parts),
    "of extents": h - FloorDiv(p * h.extent, p.extent),
    "a difference": h - p,
    "the other way": p - h,
}


@pytest.mark.parametrize("name", PLACES)
def test_every_value_that_the_guard_allows_is_reached(name: str) -> None:
    condition = InRange(PLACES[name], reach)
    (found,) = tap_ranges([condition], (p,), (h,), KNOWN).values()
    for numbers in product((3, 5), (1, 4, 7), (1, 2, 3), (1, 2, 5), (1, 3, 4)):
        sizes = dict(zip(SIZES, numbers, strict=True))
        for place in range(sizes["H"]):
            here = sizes | {"h": place}
            first, count = value(found.first, here), -(-value(found.width, here) // value(found.slope, here))
            allowed = [i for i in range(sizes["P"]) if holds(condition.subs({h: place, p: i}), sizes)]
            assert first >= 0
            assert set(allowed) <= {*range(first, first + count)}
            assert count <= sizes["R"] * max(sizes["parts"], sizes["P"]) + 1


@pytest.mark.parametrize(
    "condition",
    [
        InRange(h - FloorDiv(step * p, parts), p.extent),
        InRange(h - FloorDiv(-step * p, parts), reach),
        InRange(h - FloorDiv(integer("slope") * p, parts), reach),
        InRange(h - FloorDiv(p * q.extent, parts), reach),
        InRange(h - FloorDiv(step * p * p, parts), reach),
        InRange(h + FloorDiv(step * p, parts), reach),
        InRange(h - 2 * FloorDiv(step * p, parts), reach),
        InRange(h - FloorDiv(step * p, parts) + p, reach),
        InRange(h - FloorDiv(step * p, parts) - q, reach),
        InRange(h - FloorDiv(step * r, parts), reach),
        InRange(h - FloorDiv(step * Tensor("at", p, kind="integer")[p], parts), reach),
        Divides(parts, h - p),
    ],
    ids=[
        "a large range",
        "a negative slope",
        "unknown sign",
        "perhaps no slope",
        "a square",
        "a sum",
        "a multiple",
        "beside itself",
        "two indices",
        "a small index",
        "from data",
        "no range",
    ],
)
def test_other_conditions_leave_no_range(condition: Boolean) -> None:
    assert not tap_ranges([condition], (p, q, r), (h,), KNOWN)


@pytest.mark.parametrize("name", ["adaptive_average_pooling_2d", "nearest_interpolation_2d", "linear_interpolation_2d"])
def test_gradients_of_resampling_walk_ranges(name: str) -> None:
    (gradient,) = [one for one in build(DEFINITIONS[name]).kernels if one.name == f"{name}_grad_input"]
    walked = [tap for section in gradient.sections for tap in section.taps]
    assert [tap.index for tap in walked if isinstance(tap, TapRange)] == ["p", "q"]
