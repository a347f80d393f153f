"""Pitfalls of SymPy 1.14, each with a test that the calculus avoids it.

If the pitfall is cheap to show, the test shows it first: if a later SymPy repairs it, that line fails.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import sympy

from svertka.spec import (
    Array,
    Equation,
    Float,
    FloorDiv,
    Layer,
    Max,
    Rational,
    Sum,
    Symbolic,
    Tensor,
    Uniform,
    adjoint,
    axes,
    evaluate,
    integer,
    maximum,
    minimum,
)
from svertka.spec.layer import reads
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Divides, InRange, Select
from svertka.spec.rewrite import substitute

i, j, k, p, r = axes("i j k p r")
x, y, w = Tensor("x", i), Tensor("y", p), Tensor("w", r)


def test_strides_read_no_half_integers() -> None:
    """``Sum(KroneckerDelta(2*p + r, i) ...).doit()`` reads at (i - r)/2; svertka uses floor, behind a guard."""
    layer = Layer("l", (x, w), (Equation(y, Sum(x[2 * p + r] * w[r], r)),), ("y",))
    gradient = next(e.value for e in adjoint(layer).equations if e.target.name == "grad_x")
    assert not any(index.has(sympy.Rational(1, 2)) for read in reads(gradient) for index in read.indices)
    assert gradient.guard == sympy.And(
        Divides(2, i - gradient.indices[0]), InRange(FloorDiv(i - gradient.indices[0], 2), p.extent)
    )
    arrays = {"w": Array((3,), [1, 10, 100]), "grad_y": Array((2,), [1, 7])}
    result = evaluate(adjoint(layer), {"x": Array((5,), [0] * 5), **arrays}, {}, Rational())["grad_x"]
    assert result.values == [1, 10, 100 + 7, 70, 700]


def test_substitution_does_not_capture() -> None:
    matrix = Tensor("m", i, j)
    inner = Sum(matrix[i, j], j)
    captured = inner.xreplace({i: j})
    assert captured.indices == (j,)
    assert captured.body == matrix[j, j]  # the pitfall
    renamed = substitute(inner, {i: j})
    assert renamed.indices[0] != j
    assert renamed.body == matrix[j, renamed.indices[0]]
    assert substitute(inner, {j: i}) == inner  # a bound index is not replaced
    assert inner.free_symbols & {i, j} == {i}


def test_substitution_renames_two_levels() -> None:
    cube = Tensor("c", i, j, k)
    nested = Sum(Sum(cube[i, j, k], k), j)
    moved = substitute(nested, {i: j + k})
    assert {s for s in moved.free_symbols if s in (i, j, k)} == {j, k}


def test_relu_has_slope_zero_at_zero() -> None:
    v = sympy.Symbol("v", real=True)
    assert sympy.Max(0, v).diff(v).subs(v, 0) == sympy.Rational(1, 2)  # the pitfall
    layer = DEFINITIONS["relu"].variants[0].layer
    arrays = {"input": Array((3,), [-1, 0, 2]), "grad_output": Array((3,), [5, 6, 7])}
    assert evaluate(adjoint(layer), arrays, {}, Rational())["grad_input"].values == [0, 0, 7]


def test_maximum_and_minimum_send_a_tie_to_the_second() -> None:
    a, b = sympy.symbols("a b", real=True)
    for function in (maximum, minimum):
        value = function(a, b)
        tie = {a: 1, b: 1}
        assert [value.diff(s).subs(tie) for s in (a, b)] == [0, 1]


def test_floor_division_is_left_alone() -> None:
    a, b = integer("a"), integer("b")
    assert sympy.floor((2 * a + 4) / 2) == a + 2  # rewritten, here harmlessly
    node = FloorDiv(i - r + 3, 2)
    assert node.args == (i - r + 3, 2)
    assert [int(FloorDiv(sympy.Integer(v), 3)) for v in (-4, -3, -1, 0, 2, 3)] == [-2, -1, -1, 0, 0, 1]
    assert FloorDiv(-(a - b), 2) + FloorDiv(a - b, 2) != 0
    assert FloorDiv(a, 1) == a


def test_an_empty_sum_is_zero() -> None:
    n = sympy.Symbol("n")
    assert sympy.Sum(1, (n, 0, -3)).doit() == -2  # the pitfall
    layer = Layer("l", (x,), (Equation(Tensor("y"), Sum(x[i] + 1, i)),), ("y",))
    assert evaluate(layer, {"x": Array((0,), [])}, {}, Rational())["y"].values == [0]


def test_an_empty_maximum_is_minus_infinity() -> None:
    layer = Layer("l", (x,), (Equation(Tensor("y"), Max(x[i], i)),), ("y",))
    assert evaluate(layer, {"x": Array((0,), [])}, {}, Float())["y"].values == [float("-inf")]


def test_tensors_are_one_by_name() -> None:
    """``IndexedBase('x')`` with and without a shape differ, so derivatives are 0; our tensors are equal by name."""
    again = Tensor("x", i)
    layer = Layer("l", (x,), (Equation(Tensor("y", i), again[i] ** 2),), ("y",))
    assert str(adjoint(layer).equations[-1].value) == "2*grad_y[i]*x[i]"


def test_symbols_of_one_name_must_agree() -> None:
    loose = sympy.Symbol("stride")
    assert (integer("stride") * loose).diff(loose) == integer("stride")  # the pitfall: the two are different
    with pytest.raises(ValueError, match="'stride' differ in their assumptions"):
        Layer("l", (x,), (Equation(Tensor("y", i), x[i] * loose + integer("stride")),), ("y",))


def test_selections_are_not_merged_or_decided() -> None:
    condition = x[i] > 0
    assert Select(condition, 1, 0) * x[i] != Select(condition, x[i], 0)
    assert isinstance(maximum(x[i], x[i] - 1), maximum)
    assert Select(condition, Select(condition, 1, 2), 3) == Select(condition, 1, 3)


def test_a_field_prints() -> None:
    """SymPy's printer mistakes a class named Uniform for its distribution and fails."""
    assert str(Uniform(integer("seed"), i)) == "Uniform(seed, i)"


def test_floats_are_exact() -> None:
    """``nsimplify`` converts 0.1 to 1/10; in every exact arithmetic a float is its binary value."""
    assert sympy.nsimplify(0.1, rational=True) == sympy.Rational(1, 10)  # the pitfall
    assert Symbolic().number(0.1) == sympy.Rational(*(0.1).as_integer_ratio())
    assert Rational().number(0.1).as_integer_ratio() == (0.1).as_integer_ratio()


TEXT = """
from svertka.spec import adjoint, normal_form
from svertka.spec.layers import DEFINITIONS
from svertka.spec.tangent import tangent
for definition in DEFINITIONS.values():
    for variant in definition.variants:
        for derived in (variant.layer, adjoint(variant.layer), tangent(variant.layer)):
            for equation in normal_form(derived).equations:
                print(equation.target.name, equation.target.axes, equation.value)
            print(derived.parameters)
"""


def text_with_seed(seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    found = subprocess.run([sys.executable, "-c", TEXT], env=environment, capture_output=True, text=True, check=True)
    return found.stdout


def test_text_does_not_depend_on_the_hash_seed() -> None:
    """``free_symbols`` and ``atoms`` are sets: their order changes with the seed."""
    texts = [text_with_seed(seed) for seed in (0, 1, 4711)]
    assert texts[0] == texts[1] == texts[2]
    assert "Dummy" not in texts[0]  # a numbered Dummy would appear in the text
    assert "_element" not in texts[0]
