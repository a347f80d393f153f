"""Powers with exponents that a call has, and products of numbers: accepted by every level, and as torch's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from sympy import Abs, E, Expr, Rational, pi, sin

from svertka.codegen.verify.symbolic.graph import INFINITY, ONE, ZERO, Graph
from svertka.spec import Select, Sum, Tensor, adjoint, define, integer, maximum, number
from svertka.spec.running_error import FORMATS, Bounded, RunningError

from ..examples.conftest import packaged
from .test_accepted import a, all_accepted, b, c, failures, layer, n, positive, x, y
from .test_accepted import i as element

k = number("k")
m = integer("m")
rho = number("rho", positive=True)
weight, points, values = Tensor("weight", c), Tensor("input", n), Tensor("output", n)
polynomial: Expr = Sum(weight[c] * points[n] ** c, c)

POWERS = {
    "power_and_one": layer("power_and_one", positive[element] ** (k + 1), y, positive),
    "half_a_power": layer("half_a_power", positive[element] ** (k / 2), y, positive),
    "whole_power": layer("whole_power", x[element] ** (m + 1), y, x),
    "tenth_power": layer("tenth_power", x[element] ** 10 - x[element] ** 9, y, x),
    "polynomial": layer("polynomial", polynomial, values, points, weight),
    "norm": layer("norm", Sum(Abs(a[n, c]) ** rho, c) ** (1 / rho), b, a),
    "root_of_1": layer("root_of_1", Select(positive[element] > 1, positive[element], 1) ** (1 / rho), y, positive),
}


@pytest.mark.thinned(4)
@all_accepted(POWERS)
def test_an_exponent_may_be_an_expression(name: str) -> None:
    assert not failures(POWERS[name])


NUMBERS = {
    "square_of_pi": layer("square_of_pi", pi**2 * x[element], y, x),
    "other_powers": layer("other_powers", pi ** Rational(1, 3) * x[element] - E**2 * x[element] / pi**3, y, x),
    "multiples": layer("multiples", 3 * pi * sin(3 * pi * x[element]) + x[element] / (7 * pi), y, x),
}


@all_accepted(NUMBERS)
def test_numbers_are_multiplied_as_the_formula_says(name: str) -> None:
    assert not failures(NUMBERS[name])


HATS = {
    "hat": layer("hat", maximum(0, 1 - Abs(x[element])), y, x),
    "hats": layer("hats", Sum(weight[c] * maximum(0, 1 - Abs(points[n] - c)), c), values, points, weight),
}


@all_accepted(HATS)
def test_a_hat_whose_ends_are_met(name: str) -> None:
    assert not failures(HATS[name])


def test_a_whole_power_is_that_of_torch(tmp_path: Path) -> None:
    """Of negative numbers, zeros, infinities and NaN, for exponents of either parity and 0, with its gradient."""
    given = torch.tensor([-3.0, -1.5, 0.0, 0.5, 2.0, math.inf, -math.inf, math.nan])
    with packaged(tmp_path, [define(POWERS["whole_power"])]) as made:
        for exponent in (-2, -1, 0, 1, 2, 7):
            ours, theirs = (given.clone().requires_grad_() for _ in range(2))
            result, expected = made.functional.whole_power(ours, exponent), theirs ** (exponent + 1)
            torch.testing.assert_close(result, expected, equal_nan=True)
            finite = theirs.isfinite() & expected.isfinite()
            result[finite].sum().backward()
            expected[finite].sum().backward()
            torch.testing.assert_close(ours.grad[finite], theirs.grad[finite])


def test_the_derivative_of_a_power_divides_by_nothing() -> None:
    for formula in (POWERS["whole_power"], POWERS["polynomial"]):
        (gradient, *_) = adjoint(formula, wrt=["input"], outputs=["output"]).equations
        assert not any(power.exp == -1 for power in gradient.value.atoms(type(x[element] ** 2)))


def test_powers_of_a_graph_at_0_and_of_1() -> None:
    graph = Graph()
    nothing, something = graph.variable("nothing", 0.0), graph.variable("something", 2.5)
    assert graph.power(ONE, something) == ONE
    assert graph.power(ZERO, nothing) == ONE
    assert graph.power(ZERO, graph.number(-1)) == INFINITY


def test_the_bound_of_a_power_knows_whether_its_exponent_is_a_number_of_the_formula() -> None:
    """A square is one product; a power that happens to be one goes by the logarithm."""
    arithmetic = RunningError(FORMATS["float32"])
    base, two = Bounded(1.7, 0.0), Bounded(2.0, 0.0)
    assert arithmetic.power(base, two).error == arithmetic.multiply(base, base).error
    assert arithmetic.power_of_any(base, two).error > 8 * arithmetic.power(base, two).error


def test_the_absolute_value_of_a_stored_number_is_exact() -> None:
    arithmetic = RunningError(FORMATS["float32"])
    assert arithmetic.function("Abs", Bounded(-0.3, 0.0)) == Bounded(0.3, 0.0)
    assert arithmetic.function("Abs", Bounded(-0.3, 0.1)) == Bounded(0.3, 0.1)


def test_what_a_format_does_not_hold_is_stored_as_infinity() -> None:
    arithmetic = RunningError(FORMATS["float16"])
    assert arithmetic.stored(Bounded(-70000.0, 1.0)) == Bounded(-math.inf, 0.0)
    assert math.isfinite(arithmetic.stored(Bounded(65504.0, 0.0)).value)
