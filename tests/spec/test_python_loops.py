"""Equations as Python source: what is computed, in which order, and what is not."""

from __future__ import annotations

import math

import pytest

from svertka.spec import (
    ArgMax,
    Array,
    Equation,
    Float,
    FloorDiv,
    Layer,
    Max,
    Select,
    Sum,
    Tensor,
    axes,
    evaluate,
    integer,
)
from svertka.spec.evaluate import Places, holds, values_of, whole
from svertka.spec.notation import inside

i, j, k = axes("i j k")
x, w, y = Tensor("x", i), Tensor("w", k), Tensor("y", i)
stride = integer("stride")


class Told(Float):
    """Floats that note what they multiply."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, ...]] = []

    def multiply(self, *values: float) -> float:
        self.seen.append(values)
        return super().multiply(*values)


def of(value: object, *inputs: Tensor, kind: str = "real") -> Layer:
    target = Tensor("y", i, kind=kind) if kind != "real" else y
    return Layer("one", inputs, (Equation(target, value),), ("y",))


def test_members_are_those_of_which_the_guard_holds_in_order() -> None:
    place = stride * i + k - 1
    layer = of(Sum(x[place] * w[k], k, where=inside(place, x.axes[0].extent)), x, w)
    told = Told()
    given = {"x": Array((4,), [1.0, 2.0, 3.0, 4.0]), "w": Array((3,), [10.0, 100.0, 1000.0])}
    found = evaluate(layer, given, {"stride": 2}, told)["y"]
    expected = [[(100.0, 1.0), (1000.0, 2.0)], [(10.0, 2.0), (100.0, 3.0), (1000.0, 4.0)], [(10.0, 4.0)], []]
    assert told.seen == [pair for row in expected for pair in row]
    assert found.values == [sum(math.prod(pair) for pair in row) for row in expected]


def test_a_condition_that_reads_a_tensor_is_asked_behind_those_that_bound_it() -> None:
    after = i + k + 1
    layer = of(Sum(w[k], k, where=inside(after, x.axes[0].extent) & (x[after] > 1)), x, w)
    given = {"x": Array((3,), [5.0, 0.0, 7.0]), "w": Array((4,), [1.0, 2.0, 4.0, 8.0])}
    assert evaluate(layer, given, {}, Float())["y"].values == [2.0, 1.0, 0.0]


def test_what_is_not_selected_is_not_computed() -> None:
    inverse = Select(x[i] > 0, 1 / x[i], -x[i])
    given = {"x": Array((3,), [0.0, 4.0, -2.0])}
    assert evaluate(of(inverse, x), given, {}, Float())["y"].values == [0.0, 0.25, 2.0]


@pytest.mark.parametrize("extent", [0, 3])
def test_maxima_over_nothing_are_minus_infinity_at_place_0(extent: int) -> None:
    values = [float(-place) for place in range(extent)]
    given = {"x": Array((2,), [1.0, 2.0]), "w": Array((extent,), values)}
    largest = evaluate(of(x[i] + Max(w[k], k), x, w), given, {}, Float())["y"].values
    assert largest == [value + (values[0] if values else -math.inf) for value in given["x"].values]
    place = evaluate(of(ArgMax(w[k], k), x, w, kind="integer"), given, {}, Float())["y"].values
    assert place == [0, 0]


def test_integers_of_sizes_and_indices() -> None:
    extent = x.axes[0].extent
    assert whole(FloorDiv(extent - 1, stride) + 1, {str(extent): 8, "stride": 3}) == 3
    assert holds(extent > stride, {str(extent): 8, "stride": 3}) is True
    assert values_of(2 * i - stride, {str(extent): 3, "stride": 1}) == {-1, 1, 3}
    places = Places({str(extent): 4, "stride": 3})
    assert [places.position(FloorDiv(i, stride), {"i": place}) for place in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [places.holds(inside(i - 1, extent), {"i": place}) for place in (0, 1, 4, 5)] == [False, True, True, False]
    with pytest.raises(ValueError, match=r"'stride' is missing; give it in sizes \(given: \['I'\]\)"):
        whole(stride + extent, {str(extent): 1})
