"""The check of SymPy expressions accepts what is supported and names what is not."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from sympy import (
    E,
    Expr,
    Float,
    Heaviside,
    I,
    Mod,
    Rational,
    Symbol,
    atan,
    besselj,
    exp,
    floor,
    gamma,
    oo,
    pi,
    sqrt,
)

from svertka.codegen.ir.kernel import Apply, Constant, Load, Name, Node, walk_node
from svertka.codegen.lowering.expressions import Door
from svertka.spec import FloorDiv, Select, Tensor, axes, inside, integer, number

a, b = axes("a b")
x = Tensor("x", a, b)
t = number("t")
stride = integer("stride", positive=True)


def operations(node: Node) -> list[str]:
    return [part.operation for part in walk_node(node) if isinstance(part, Apply)]


@pytest.mark.parametrize("node", [gamma(x[a, b]), besselj(0, x[a, b]), atan(t) * x[a, b], Heaviside(x[a, b]), floor(t)])
def test_unknown_functions_are_named(node: Expr) -> None:
    known = {"gamma", "besselj", "atan", "Heaviside", "floor"}
    with pytest.raises(TypeError, match="not supported in a kernel") as error:
        Door({}).real(node)
    assert any(name in str(error.value).split(":")[1] for name in known)
    for word in ("exp", "maximum", "Select", "FloorDiv"):
        assert word in str(error.value)


def test_unknown_index_expressions_are_named() -> None:
    with pytest.raises(TypeError, match="Mod is not supported; use"):
        Door({}).integer(Mod(a, stride))


def test_unknown_conditions_are_named() -> None:
    with pytest.raises(TypeError, match="Symbol is not supported; compare"):
        Door({}).condition(Symbol("flag"))


def test_irrational_numbers_are_the_nearest_float64() -> None:
    assert Door({}).real(pi) == Constant(Fraction(math.pi), "real")
    assert Door({}).real(E) == Constant(Fraction(math.e), "real")


def test_imaginary_numbers_are_named() -> None:
    with pytest.raises(TypeError, match="ImaginaryUnit is not supported"):
        Door({}).real(I * x[a, b])


def test_numbers_are_exact() -> None:
    assert Door({}).real(Rational(1, 3)) == Constant(Fraction(1, 3), "real")
    assert Door({}).real(Float(0.1)) == Constant(Fraction(0.1), "real")


def test_products_divide_once_by_what_is_no_power_of_two() -> None:
    """X / 3 is a quotient, rounded once; x * 0.333 would be rounded twice. x / 4 is an exact product."""
    assert operations(Door({}).real(x[a, b] / 3)) == ["divide"]
    assert operations(Door({}).real(x[a, b] / 4)) == ["multiply"]
    assert operations(Door({}).real(2 * x[a, b] / 3)) == ["divide", "multiply"]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (t**3, ["multiply", "multiply"]),
        (t**-2, ["divide", "multiply"]),
        (sqrt(t), ["sqrt"]),
        (1 / sqrt(t), ["rsqrt"]),
        (t ** Rational(3, 4), ["power"]),
        (t - 1, ["subtract"]),
        (-t, ["negate"]),
        (exp(-t), ["exp", "negate"]),
    ],
)
def test_operations(node: Expr, expected: list[str]) -> None:
    assert operations(Door({}).real(node)) == expected


def test_a_factor_that_is_0_or_1_selects() -> None:
    """0 * inf would be NaN."""
    node = Door({}).real(Select(x[a, b] > 0, 1, 0) * exp(t))
    assert isinstance(node, Apply)
    assert node.operation == "where"
    assert node.arguments[2] == Constant(0, "real")
    flipped = Door({}).real(Select(x[a, b] > 0, 0, 1) * exp(t))
    assert isinstance(flipped, Apply)
    assert flipped.arguments[1] == Constant(0, "real")


def test_reads_know_where_their_address_is_valid() -> None:
    guard = inside(a - stride, a.extent)
    node = Door({}).real(Select(guard, x[a - stride, b], 0))
    (load,) = [part for part in walk_node(node) if isinstance(part, Load)]
    assert load.tensor == "x"
    assert load.masks == (Door({}).condition(guard),)


def test_values_stand_for_reads() -> None:
    value = Name("already", "real")
    assert Door({str(x[a, b]): value}).real(x[a, b]) == value


def test_an_index_within_a_real_expression_is_cast() -> None:
    assert operations(Door({}).real(a * x[a, b])).count("real") == 1
    assert operations(Door({}).real(x[a, b] + FloorDiv(a, stride))) == ["add", "real", "floor_divide"]


@pytest.mark.parametrize("place", [a, a - stride, stride * a])
def test_ranges_test_only_the_sides_that_can_fail(place: Expr) -> None:
    tests = operations(Door({}).condition(inside(place, b.extent)))
    assert tests.count("<") == 1
    assert tests.count(">=") == (0 if place.is_nonnegative else 1)


def test_infinities() -> None:
    assert Door({}).real(oo) == Constant("inf", "real")
    assert Door({}).real(-oo) == Constant("-inf", "real")


def test_floor_division_stays_itself() -> None:
    assert operations(Door({}).integer(FloorDiv(a, stride))) == ["floor_divide"]
