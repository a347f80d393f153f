"""Formulas that are right are accepted: they pass every level of validation, and the others are told why not."""

from __future__ import annotations

import pytest
from sympy import Abs, Expr, Rational, log, sign, sqrt

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, Layer, Select, Sum, Tensor, axes, axis, define, maximum, number
from svertka.spec.definition import Definition

n, c, k, m = axes("n c k m")
i = axis("i", "elements", many=True)
x, y = Tensor("input", i), Tensor("output", i)
a, b = Tensor("input", n, c), Tensor("output", n)
positive, target = Tensor("input", i, above=0), Tensor("target", n, c, above=0)
probability = Tensor("input", n, c, above=0, below=1)


def layer(name: str, value: Expr, output: Tensor, *inputs: Tensor) -> Layer:
    """A layer of one equation."""
    return Layer(name, inputs, (Equation(output, value),), (output.name,))


def failures(formula: Layer | Definition) -> tuple[str, ...]:
    """What the levels find wrong in a formula's kernels; every level must have judged."""
    definition = define(formula) if isinstance(formula, Layer) else formula
    verdicts = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert {outcome.level for verdict in verdicts for outcome in verdict.outcomes} == LEVELS.keys()
    return tuple(text for verdict in verdicts for text in verdict.failures)


def all_accepted(table: dict[str, Layer]) -> pytest.MarkDecorator:
    """One test for each formula of a table."""
    return pytest.mark.parametrize("name", table)


ABSOLUTE = {
    "absolute": layer("absolute", Abs(x[i]), y, x),
    "soft_sign": layer("soft_sign", x[i] / (1 + Abs(x[i])), y, x),
    "sum_norm": layer("sum_norm", Sum(Abs(a[n, c]), c), b, a),
    "shrunk": layer("shrunk", sign(x[i]) * maximum(Abs(x[i]) - number("by"), 0), y, x),
}


@all_accepted(ABSOLUTE)
def test_an_absolute_value_has_the_gradient_0_at_0(name: str) -> None:
    assert not failures(ABSOLUTE[name])


BOUNDED = {
    "logarithm": layer("logarithm", log(positive[i]), y, positive),
    "root": layer("root", sqrt(positive[i]), y, positive),
    "inverse_root": layer("inverse_root", 1 / sqrt(positive[i]), y, positive),
    "powered": layer("powered", positive[i] ** number("alpha"), y, positive),
    "divergence": layer("divergence", Sum(target[n, c] * (log(target[n, c]) - a[n, c]), c), b, a, target),
    "binary": layer(
        "binary",
        -Sum(target[n, c] * log(probability[n, c]) + (1 - target[n, c]) * log(1 - probability[n, c]), c),
        b,
        probability,
        target,
    ),
    "logit": layer("logit", log(probability[n, c] / (1 - probability[n, c])), Tensor("output", n, c), probability),
    "root_distance": layer(
        "root_distance", sqrt(Sum((sqrt(probability[n, c]) - sqrt(target[n, c])) ** 2, c)), b, probability, target
    ),
}


@all_accepted(BOUNDED)
def test_a_tensor_says_what_elements_it_has(name: str) -> None:
    assert not failures(BOUNDED[name])


UNBOUNDED = {
    "reciprocal": layer("reciprocal", 1 / x[i], y, x),
    "inverse_sine": layer("inverse_sine", log(x[i] + sqrt(x[i] ** 2 + 1)), y, x),
    "selected": layer("selected", Select(x[i] > 0, log(x[i]), x[i]), y, x),
}


@all_accepted(UNBOUNDED)
def test_a_pole_at_0_and_an_argument_that_is_positive_need_no_bound(name: str) -> None:
    assert not failures(UNBOUNDED[name])


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (layer("logarithm", log(x[i]), y, x), ("the logarithm of input[", 'Tensor("input", ..., above=0)')),
        (layer("powered", x[i] ** Rational(3, 2), y, x), ("a root of input[", 'Tensor("input", ..., above=0)')),
        (
            layer("distance", Sum(sqrt(a[n, c] - target[n, c]), c), b, a, target),
            ('Tensor("input", ..., above=0), Tensor("target", ..., above=0)',),
        ),
    ],
)
def test_a_formula_without_value_says_so(formula: Layer, words: tuple[str, ...]) -> None:
    told = [text for text in failures(formula) if text.startswith("adjoint: ")]
    assert len(told) == 1
    for word in ("has no value or no derivative", "above= and below=", *words):
        assert word in told[0]


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"above": 1, "below": 0}, "above less than below"),
        ({"above": float("inf")}, "must be finite"),
        ({"above": 0, "kind": "integer"}, "are for real tensors"),
    ],
)
def test_bounds_that_leave_nothing_are_refused(bounds: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Tensor("input", i, **bounds)
