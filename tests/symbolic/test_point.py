"""Random points distinguish equal expressions from different ones: identities of exp, log, roots and powers hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction

import pytest
from sympy import isprime

from svertka.codegen.verify.symbolic.degree import error_probability
from svertka.codegen.verify.symbolic.graph import ONE, Graph
from svertka.codegen.verify.symbolic.numbers import Parameter, simplest
from svertka.codegen.verify.symbolic.point import G, P, Point, Q

GRAPH = Graph()
X, Y, Z = (GRAPH.variable(name, sample) for name, sample in (("x", 0.5), ("y", 1.25), ("z", 2.0)))
HALF = GRAPH.number(0.5)


def _exp(node: int) -> int:
    return GRAPH.function("exp", node)


def _log(node: int) -> int:
    return GRAPH.function("log", node)


def _root(node: int) -> int:
    return GRAPH.power(node, HALF)


def _roots() -> int:
    """A sum with more roots than are taken out of a denominator."""
    return GRAPH.total(_root(GRAPH.add(X, GRAPH.number(number))) for number in range(6))


def _rescaled(between: int) -> int:
    """``exp(x) + exp(y) + exp(z)``, relative to x, then y, then z; ``between`` is what the second step goes from."""
    first = GRAPH.add(GRAPH.multiply(ONE, _exp(GRAPH.subtract(X, Y))), ONE)
    return GRAPH.add(GRAPH.multiply(first, _exp(GRAPH.subtract(between, Z))), ONE)


EQUAL: dict[str, Callable[[], tuple[int, int]]] = {
    "exp of a sum": lambda: (_exp(GRAPH.add(X, Y)), GRAPH.multiply(_exp(X), _exp(Y))),
    "exp of a difference": lambda: (GRAPH.multiply(_exp(GRAPH.subtract(X, Y)), _exp(Y)), _exp(X)),
    "exp of a third": lambda: (GRAPH.power(_exp(GRAPH.divide(X, GRAPH.number(3))), GRAPH.number(3)), _exp(X)),
    "exp of log": lambda: (_exp(GRAPH.subtract(X, _log(Y))), GRAPH.divide(_exp(X), Y)),
    "log of exp": lambda: (_log(GRAPH.multiply(_exp(X), Y)), GRAPH.add(X, _log(Y))),
    "log of a shifted sum": lambda: (
        GRAPH.add(Z, _log(GRAPH.add(_exp(GRAPH.subtract(X, Z)), _exp(GRAPH.subtract(Y, Z))))),
        _log(GRAPH.add(_exp(X), _exp(Y))),
    ),
    "exponentials of distances": lambda: (
        GRAPH.multiply(_exp(GRAPH.subtract(X, Y)), _exp(GRAPH.subtract(Y, Z))),
        _exp(GRAPH.subtract(X, Z)),
    ),
    "log of a rescaled sum": lambda: (GRAPH.add(Z, _log(_rescaled(Y))), _log(GRAPH.total((_exp(X), _exp(Y), _exp(Z))))),
    "root": lambda: (GRAPH.multiply(GRAPH.power(X, HALF), GRAPH.power(X, HALF)), X),
    "reciprocal root": lambda: (
        GRAPH.divide(ONE, GRAPH.power(X, HALF)),
        GRAPH.divide(GRAPH.power(X, HALF), X),
    ),
    "power by exp2": lambda: (GRAPH.exp2(GRAPH.multiply(Y, GRAPH.log2(X))), GRAPH.power(X, Y)),
    "power of a sum": lambda: (
        GRAPH.power(X, GRAPH.add(Y, ONE)),
        GRAPH.multiply(GRAPH.exp2(GRAPH.multiply(Y, GRAPH.log2(X))), X),
    ),
    "tanh": lambda: (
        GRAPH.function("tanh", X),
        GRAPH.divide(
            GRAPH.subtract(ONE, _exp(GRAPH.multiply(GRAPH.number(-2), X))),
            GRAPH.add(ONE, _exp(GRAPH.multiply(GRAPH.number(-2), X))),
        ),
    ),
    "log of a quotient": lambda: (
        _log(GRAPH.divide(X, GRAPH.subtract(ONE, X))),
        _log(GRAPH.multiply(X, GRAPH.power(GRAPH.subtract(ONE, X), GRAPH.number(-1)))),
    ),
    "inverse of a sum of roots": lambda: (
        GRAPH.divide(ONE, GRAPH.add(_root(X), _root(Y))),
        GRAPH.divide(GRAPH.subtract(_root(X), _root(Y)), GRAPH.subtract(X, Y)),
    ),
    "power of a sum with a root": lambda: (
        GRAPH.divide(ONE, GRAPH.add(X, _root(Y))),
        GRAPH.power(GRAPH.add(X, _root(Y)), GRAPH.number(-1)),
    ),
    "root of a sum of roots": lambda: (
        GRAPH.divide(ONE, _root(_roots())),
        GRAPH.power(_roots(), GRAPH.number(-0.5)),
    ),
    "multiple of an inverse": lambda: (
        GRAPH.divide(ONE, GRAPH.multiply(GRAPH.number(3), _roots())),
        GRAPH.divide(GRAPH.divide(ONE, GRAPH.number(3)), _roots()),
    ),
    "erf is odd": lambda: (
        GRAPH.function("erf", GRAPH.subtract(X, Y)),
        GRAPH.negate(GRAPH.function("erf", GRAPH.subtract(Y, X))),
    ),
}
DIFFERENT: dict[str, Callable[[], tuple[int, int]]] = {
    "exp of a product": lambda: (_exp(GRAPH.multiply(X, Y)), GRAPH.multiply(_exp(X), _exp(Y))),
    "log of a sum": lambda: (_log(GRAPH.add(X, Y)), GRAPH.add(_log(X), _log(Y))),
    "root of a sum": lambda: (GRAPH.power(GRAPH.add(X, Y), HALF), GRAPH.power(X, HALF)),
    "power": lambda: (GRAPH.power(X, Y), GRAPH.power(Y, X)),
    "inverse of a sum of roots": lambda: (
        GRAPH.divide(ONE, _roots()),
        GRAPH.divide(ONE, GRAPH.add(_roots(), ONE)),
    ),
    "conjugate": lambda: (
        GRAPH.divide(ONE, GRAPH.add(X, _root(Y))),
        GRAPH.divide(ONE, GRAPH.subtract(X, _root(Y))),
    ),
    "log of a sum that is rescaled by too little": lambda: (
        GRAPH.add(Z, _log(_rescaled(X))),
        _log(GRAPH.total((_exp(X), _exp(Y), _exp(Z)))),
    ),
    "sign": lambda: (GRAPH.add(X, Y), GRAPH.subtract(X, Y)),
    "constant": lambda: (GRAPH.multiply(X, GRAPH.number(0.1)), GRAPH.multiply(X, GRAPH.number(0.1 + 2**-50))),
}


def _values(pair: tuple[int, int]) -> tuple[object, object]:
    point = Point(GRAPH, "test")
    point.evaluate(pair)
    return point.values[pair[0]], point.values[pair[1]]


@pytest.mark.parametrize("name", EQUAL)
def test_an_identity_holds(name: str) -> None:
    left, right = _values(EQUAL[name]())
    assert left == right


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_is_different_differs(name: str) -> None:
    left, right = _values(DIFFERENT[name]())
    assert left != right


def test_the_fields_are_fields() -> None:
    assert isprime(P)
    assert isprime(Q)
    assert G != 1
    assert pow(G, Q, P) == 1


def test_error_probability_grows_with_the_degree() -> None:
    low = error_probability(GRAPH, [(X, Y)], 2)
    high = error_probability(GRAPH, [(GRAPH.multiply(X, Y), Y)], 2)
    assert 0 < low < high < 2.0**-100


@pytest.mark.parametrize("value", [Fraction(1, 10), Fraction(1, 3), Fraction(-22, 7), Fraction(3, 4), Fraction(12345)])
def test_a_literal_stands_for_the_simplest_rational(value: Fraction) -> None:
    assert simplest(float(value)) == value


@pytest.mark.parametrize("value", [sys.float_info.max, -sys.float_info.max, sys.float_info.min, 5e-324])
def test_a_literal_at_the_ends_of_the_range_stands_for_a_rational_beside_it(value: float) -> None:
    assert float(simplest(value)) == value


def test_a_parameter_stays_an_expression() -> None:
    made = 1.0 / (1.0 - Parameter(GRAPH, X))
    assert made.node == GRAPH.divide(ONE, GRAPH.subtract(ONE, X))
    assert float(made) == 2.0
