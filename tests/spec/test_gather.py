"""Inverting index maps: the solutions of ``gather`` are exactly those found by trying all indices."""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Eq, Expr, Integer, Symbol, false, true

from svertka.spec import Equation, FloorDiv, Index, Layer, Sum, Tensor, axes, integer
from svertka.spec.evaluate import Array
from svertka.spec.gather import gather
from svertka.spec.notation import Divides, InRange
from svertka.spec.proof import Setting, prove_adjoint
from svertka.spec.rewrite import substitute

System: TypeAlias = tuple[list[Expr], list[Index], list[Index], list[Index]]
Solutions: TypeAlias = list[tuple[tuple[int, ...], tuple[int, ...]]]

i, j, u, v = axes("i j u v")
stride, other = integer("stride", positive=True), integer("other", positive=True)


def solutions(expressions: list[Expr], targets: list[Index], free: list[Index], reduced: list[Index]) -> Solutions:
    """All solutions that a Gather describes: pairs of target and index values."""
    found = gather(expressions, targets, free, reduced)
    result = []
    for place in product(*(range(int(t.extent)) for t in targets)):
        for rest in product(*(range(int(index.extent)) for index in found.remaining)):
            known = dict(zip([*targets, *found.remaining], map(Integer, (*place, *rest)), strict=True))
            guards = [substitute(guard, known) for guard in found.guards]
            assert all(guard in (true, false) for guard in guards)
            if all(guards):
                solved = {index: substitute(value, known) for index, value in found.solution.items()}
                values = {**known, **solved}
                result.append((place, tuple(int(values[index]) for index in (*free, *reduced))))
    return sorted(result)


def tried(expressions: list[Expr], targets: list[Index], free: list[Index], reduced: list[Index]) -> Solutions:
    """The same, by trying all index values."""
    indices = (*free, *reduced)
    result = []
    for values in product(*(range(int(index.extent)) for index in indices)):
        known = dict(zip(indices, map(Integer, values), strict=True))
        place = tuple(int(substitute(e, known)) for e in expressions)
        if all(0 <= p < int(t.extent) for p, t in zip(place, targets, strict=True)):
            result.append((place, values))
    return sorted(result)


@st.composite
def systems(draw: st.DrawFn) -> System:
    """A random affine system: rows, targets, free and reduced indices."""
    count, rows = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    indices = [Index(f"a{n}", Integer(draw(st.integers(0, 4)))) for n in range(count)]
    targets = [Index(f"t{n}", Integer(draw(st.integers(1, 5)))) for n in range(rows)]
    small = st.integers(-3, 3)
    expressions = [sum(draw(small) * index for index in indices) + Integer(draw(small)) for _ in range(rows)]
    split = draw(st.integers(0, count))
    return expressions, targets, indices[:split], indices[split:]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(systems())
def test_affine_systems(system: System) -> None:
    assert solutions(*system) == tried(*system)


a, b = Index("a", Integer(4)), Index("b", Integer(5))
s, t = Index("s", Integer(6)), Index("t", Integer(7))
COUPLED = [
    [a + b, a - b],
    [a, a],
    [2 * a + 3 * b],
    [2 * a - 3 * b + 4],
    [a + b, 2 * a + 2 * b],
    [2 * a + b, a + 2 * b],
    [3 * a, 2 * a + b],
    [Integer(2), a],
    [FloorDiv(a, 2), a + b],
    [FloorDiv(a + b, 3)],
    [a - 1, FloorDiv(a, 2) + b],
]


@pytest.mark.parametrize("rows", COUPLED, ids=str)
@pytest.mark.parametrize("reduced", [0, 1, 2])
def test_coupled_systems(rows: list[Expr], reduced: int) -> None:
    indices = [a, b]
    system = rows, [s, t][: len(rows)], indices[reduced:], indices[:reduced]
    assert solutions(*system) == tried(*system)


def test_a_factor_of_unknown_sign_is_left_as_a_guard() -> None:
    """Eliminating a leaves a factor stride - other, perhaps 0 or negative: no division by it is allowed."""
    found = gather([stride * a + b, other * a + b], [s, t], [a, b], [])
    assert found.remaining == (a,)
    for values in ({stride: 2, other: 3}, {stride: 2, other: 2}, {stride: 3, other: 1}):
        numbers = {Symbol(p.name, integer=True, positive=True): Integer(v) for p, v in values.items()}
        rows = [row.xreplace(numbers) for row in (stride * a + b, other * a + b)]
        expected = tried(rows, [s, t], [a, b], [])
        got = []
        for place in product(range(6), range(7)):
            for value in range(4):
                known = dict(zip([s, t, a], map(Integer, (*place, value)), strict=True))
                if all(substitute(guard.xreplace(numbers), known) == true for guard in found.guards):
                    got.append((place, (value, int(substitute(found.solution[b], known).xreplace(numbers)))))
        assert sorted(got) == expected


def test_strided_windows_are_solved_for_the_window() -> None:
    """Stride p + dilation r - padding = h is solved for p; the few values of r stay summed."""
    p, r, h = axes("p r h")
    dilation, padding = integer("dilation", positive=True), integer("padding")
    found = gather([stride * p + dilation * r - padding], [h], [p], [r])
    assert found.remaining == (r,)
    assert found.solution == {p: FloorDiv(h - dilation * r + padding, stride)}
    assert found.guards == (
        Divides(stride, h - dilation * r + padding),
        InRange(FloorDiv(h - dilation * r + padding, stride), p.extent),
    )


def layer(*reads: Expr, inputs: tuple[Tensor, ...], target: Tensor, reduced: tuple[Index, ...] = ()) -> Layer:
    value = sum(reads)
    value = Sum(value, *reduced) if reduced else value
    return Layer("coupled", inputs, (Equation(target, value),), ("y",))


x, x2 = Tensor("x", u), Tensor("x", u, v)
INDICES = Tensor("x", u), Tensor("label", i, kind="integer")
LAYERS: list[tuple[Layer, dict[str, Any]]] = [
    (layer(x2[i + j, i - j] ** 2, inputs=(x2,), target=Tensor("y", i, j)), {}),
    (layer(x2[i, i] ** 2, inputs=(x2,), target=Tensor("y"), reduced=(i,)), {}),
    (layer(x[2 * i + 3 * j] ** 2, inputs=(x,), target=Tensor("y"), reduced=(i, j)), {}),
    (layer(x[2 * i + 3 * j] ** 2, inputs=(x,), target=Tensor("y", j), reduced=(i,)), {}),
    (layer(x[i] * x[i + 1] * x[2 * i], inputs=(x,), target=Tensor("y", i)), {}),
    (layer(x[3] * x[i], inputs=(x,), target=Tensor("y", i)), {}),
    (layer(x[FloorDiv(i, 2)] * x[i], inputs=(x,), target=Tensor("y", i)), {}),
]


@pytest.mark.parametrize(("formula", "rest"), LAYERS, ids=lambda case: getattr(case, "name", ""))
def test_gradients_of_coupled_reads(formula: Layer, rest: dict[str, Any]) -> None:
    sizes = {"I": 3, "J": 4, "U": 6, "V": 5}
    assert prove_adjoint(formula, Setting(sizes, **rest)) in (6, 30)


def test_gather_by_data() -> None:
    """A read at a position from data: several reads may have the same position, and some positions none."""
    values, label = INDICES
    formula = layer(values[label[i]] ** 2, inputs=INDICES, target=Tensor("y", i))
    setting = Setting({"I": 4, "U": 3}, {"label": Array((4,), [2, 0, 2, 2])})
    assert prove_adjoint(formula, setting) == 3


def test_equal_rows_leave_an_equality() -> None:
    found = gather([a, a], [s, t], [a], [])
    assert Eq(s - t, 0) in found.guards or Eq(t - s, 0) in found.guards
