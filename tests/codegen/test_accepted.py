"""Formulas that are right are accepted: they pass every level of validation, and the others are told why not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from sympy import Abs, Eq, Expr, Ne, Rational, erf, exp, log, sign, sin, sqrt

from svertka.codegen.book.small import small_call
from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import (
    ArgMax,
    Equation,
    FloorDiv,
    Index,
    Layer,
    Max,
    Select,
    Sum,
    Tensor,
    axes,
    axis,
    define,
    integer,
    maximum,
    minimum,
    number,
)
from svertka.spec.definition import Definition, Rule
from svertka.spec.notation import Divides

from ..examples.conftest import packaged

n, c, k, m, o, g, w, q, s, t, v, e = axes("n c k m o g w q s t v e")
d, j = c.twin("d"), n.twin("j")
label = Tensor("label", n, kind="integer")
rows = Tensor("output", n, c)
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


@pytest.mark.thinned(4)
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


def test_the_numbers_of_a_page_lie_within_bounds() -> None:
    arrays = small_call(define(BOUNDED["binary"])).arrays
    assert all(0 < number < 1 for number in arrays["input"].values)
    assert all(number > 0 for number in arrays["target"].values)
    assert len(set(arrays["input"].values)) > 1


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


low, high, block = number("low"), number("high"), integer("block", positive=True)
N, C, K = (index.extent for index in (n, c, k))
weight, third = Tensor("weight", k, c), Tensor("third", o, g)
linear = layer("linear", Sum(a[n, c] * weight[k, c], c), Tensor("output", n, k), a, weight)
first, second = Tensor("input", m, k), Tensor("second", k, o)
chain = layer(
    "chain",
    Sum(Sum(first[m, k] * second[k, o], k) * third[o, g], o),
    Tensor("output", m, g),
    first,
    second,
    third,
)
blocked = layer("blocked", Sum(Select(Eq(FloorDiv(c, block), t), a[n, c], 0), c), Tensor("output", n, t), a)
total = layer("total", Sum(a[n, c], c), b, a)
clipped = layer("clipped", minimum(maximum(x[i], low), high), y, x)
RULED: dict[str, Definition] = {
    "equal extents": define(linear, rules=[Rule(Eq(C, K), "weight", "square", "make it square")]),
    "all extents equal": define(
        chain,
        rules=[
            Rule(Eq(*pair), "input", "square", "make it square")
            for pair in ((m.extent, K), (K, o.extent), (o.extent, g.extent))
        ],
    ),
    "a divisor": define(
        blocked,
        extents={"T": FloorDiv(C, block)},
        rules=[Rule(Divides(block, C), "block", "a divisor of the features", "pad")],
    ),
    "a product": define(total, rules=[Rule(Eq(N * C, 437), "input", "of 437 elements", "give so many")]),
    "ordered numbers": define(clipped, rules=[Rule(low < high, "low", "less than high", "exchange them")]),
}


@pytest.mark.thinned(9)
@pytest.mark.parametrize("name", RULED)
def test_rules_that_few_sizes_meet(name: str) -> None:
    assert not failures(RULED[name])


def test_a_rule_that_no_size_meets_is_named_once() -> None:
    told = failures(define(total, rules=[Rule(N < 1, "input", "empty", "give nothing")]))
    assert len(told) == 1
    assert "input empty, N < 1" in told[0]


def test_a_rule_on_what_the_formula_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names 'other', which is no extent or parameter.*; name C or N"):
        define(total, rules=[Rule(N < integer("other"), "input", "shorter", "cut it")])  # noqa: SIM300


PAIRS = Sum((a[n, c] - a[j, c]) ** 2, c)
"""Squared distances of rows to one another."""
GUARDED = {
    "cumulative": layer("cumulative", Sum(a[n, d], d, where=d <= c), rows, a),
    "cumulative_mean": layer("cumulative_mean", Sum(a[n, d], d, where=d <= c) / Sum(1, d, where=d <= c), rows, a),
    "causal": layer("causal", exp(a[n, c]) / Sum(exp(a[n, d]), d, where=(d <= c) & (c - d < 3)), rows, a),
    "largest_other": layer("largest_other", a[n, c] - Max(a[n, d], d, where=Ne(c, d)), rows, a),
    "largest_before": layer("largest_before", Max(Max(a[n, c] * a[n, d], d, where=d < c), c, where=c > 0), b, a),
    "margin": layer(
        "margin",
        Sum(Sum(maximum(1 - a[n, label[n]] + a[n, d], 0), d, where=Ne(d, label[n])), n) / n.extent,
        Tensor("output"),
        a,
        label,
    ),
    "contrast": layer("contrast", log(Sum(exp(Sum(a[n, c] * a[j, c], c)), j, where=Ne(n, j))), b, a),
    "hardest": layer(
        "hardest",
        Max(PAIRS, j, where=Eq(label[n], label[j])) + Max(-PAIRS, j, where=Ne(label[n], label[j])),
        b,
        a,
        label,
    ),
}


@pytest.mark.thinned(9)
@all_accepted(GUARDED)
def test_a_guard_may_compare_an_index_with_its_twin(name: str) -> None:
    assert not failures(GUARDED[name])


left, right, offset = Tensor("input", m, k), Tensor("weight", k, o), Tensor("bias", o)
product = Sum(left[m, k] * right[k, o], k) + offset[o]
factor = number("factor")
SELECTED = {
    "masked": layer(
        "masked",
        log(Sum(exp(Select(Ne(Tensor("mask", n, c, kind="integer")[n, c], 0), a[n, c], -(10**9))), c)),
        b,
        a,
        Tensor("mask", n, c, kind="integer"),
    ),
    "bent": layer("bent", Sum(exp(Select(a[n, c] > 0, a[n, c], factor * a[n, c])), c), b, a),
    "kernel": layer("kernel", Sum(exp(-((a[n, c] - target[n, c]) ** 2) / (2 * factor**2)), c), b, a, target),
    "bent_share": layer(
        "bent_share",
        exp(Select(a[n, c] > 1, a[n, c], Select(a[n, c] < -1, -a[n, c], 0)))
        / Sum(exp(Select(a[n, d] > 1, a[n, d], Select(a[n, d] < -1, -a[n, d], 0))), d),
        rows,
        a,
    ),
    "sine": layer("sine", factor * product * sin(factor * product), Tensor("output", m, o), left, right, offset),
    "gelu": layer(
        "gelu_of_product", product * (1 + erf(product / sqrt(2))) / 2, Tensor("output", m, o), left, right, offset
    ),
}


@pytest.mark.thinned(9)
@all_accepted(SELECTED)
def test_selections_in_exponents_and_functions_of_a_product(name: str) -> None:
    assert not failures(SELECTED[name])


image, kernel = Tensor("input", n, (g, c), w), Tensor("weight", (g, k), c, s)
bias, response = Tensor("bias", (g, k), default=0), Tensor("response", n, (g, k), q)


@pytest.mark.slow
def test_a_mean_of_a_grouped_convolution_without_bias() -> None:
    """The schedule of the mean may not ask for the strides of a tensor that is absent."""
    value = Sum(image[n, g, c, q + s] * kernel[g, k, c, s], c, s) + bias[g, k]
    mean = Sum(response[n, g, k, q], q) / q.extent
    pooled = Layer(
        "pooled",
        (image, kernel, bias),
        (Equation(response, value), Equation(Tensor("output", n, (g, k)), mean)),
        ("output",),
    )
    assert not failures(define(pooled, extents={"Q": w.extent - s.extent + 1}))


volume = Tensor("input", n, c, w)
NESTED = {
    "sum_of_largest": layer("sum_of_largest", log(Sum(exp(Max(volume[n, c, w], w)), c)), b, volume),
    "share_of_largest": layer(
        "share_of_largest", exp(Max(volume[n, c, w], w)) / Sum(exp(Max(volume[n, d, w], w)), d), rows, volume
    ),
    "largest_product": layer(
        "largest_product", log(Sum(exp(Max(product, m)), o)), Tensor("output"), left, right, offset
    ),
    "largest_sums": layer("largest_sums", Sum(exp(Max(a[n, d], d, where=d >= c)), c), b, a),
}


@pytest.mark.thinned(4)
@all_accepted(NESTED)
def test_maxima_inside_exponents(name: str) -> None:
    """An infinity in a maximum makes an exponent infinite, and that says nothing about a kernel."""
    assert not failures(NESTED[name])


places = Tensor("output", n, kind="integer")
WITHOUT_GRADIENT = {
    "largest": layer("largest", ArgMax(a[n, c], c), places, a),
    "step": layer("step", Select(a[n, c] > 0, 1, 0), rows, a),
}


@all_accepted(WITHOUT_GRADIENT)
def test_a_result_without_gradient(name: str) -> None:
    assert not failures(WITHOUT_GRADIENT[name])


def test_positions_in_torch(tmp_path: Path) -> None:
    """They need no gradient, have no tangent, and are functions like others; of NaN the last is the largest."""
    definition = define(WITHOUT_GRADIENT["largest"])
    with packaged(tmp_path / "positions", [definition]) as package:
        largest = package.functional.largest
        values = torch.tensor([[1.0, 3.0, 3.0], [math.nan, 0.0, math.nan]], requires_grad=True)
        found = largest(values)
        assert found.tolist() == [1, 2]
        assert not found.requires_grad
        assert torch.vmap(largest)(values[None]).tolist() == [[1, 2]]
        ones = torch.ones_like(values)
        result, tangent = torch.func.jvp(largest, (values.detach(),), (ones,))
        assert result.tolist() == [1, 2]
        assert not tangent.any()
        (values.sum() + largest(values).sum()).backward()
        assert torch.equal(values.grad, ones)
    with pytest.raises(ValueError, match="its results are integers and have no gradient"):
        define(WITHOUT_GRADIENT["largest"], orders=2)


@pytest.mark.slow
def test_attention_as_one_nested_formula() -> None:
    """Its gradients are products with shares that underflow: each rounds by a smallest number, times what follows."""
    query, key, value = Tensor("query", t, e), Tensor("key", n, e), Tensor("value", n, v)

    def score(place: Index) -> Expr:
        return Sum(query[t, e] * key[place, e], e)

    shares = exp(score(n)) / Sum(exp(score(j)), j)
    attention = layer("attention", Sum(shares * value[n, v], n), Tensor("output", t, v), query, key, value)
    assert not failures(attention)
