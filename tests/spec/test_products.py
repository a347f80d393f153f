"""Products in exact arithmetic: their values, and their derivatives in both directions where factors are 0."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest

from svertka.spec import (
    FORMATS,
    Array,
    Equation,
    Layer,
    Prod,
    Rational,
    RunningError,
    Select,
    Sum,
    Tensor,
    adjoint,
    axes,
    evaluate,
)
from svertka.spec.evaluate import shape_of
from svertka.spec.notation import Reduction
from svertka.spec.tangent import tangent

n, i, s, q = axes("n i s q")
j, k = i.twin("j"), i.twin("k")
x, decay = Tensor("x", n, i), Tensor("decay", n, i)
SIZES = {"N": 2, "I": 5, "S": 3, "Q": 3}
CASES: dict[str, tuple[tuple[Tensor, ...], Tensor, Any]] = {
    "whole": ((x,), Tensor("y", n), Prod(x[n, i], i)),
    "running": ((x,), Tensor("y", n, i), Prod(x[n, j] - 1, j, where=j <= i)),
    "behind": ((x,), Tensor("y", n, i), Prod(x[n, j] ** 2, j, where=j > i + 1)),
    "band": ((x,), Tensor("y", n, i), Prod(x[n, j], j, where=(j <= i) & (j > i - 3))),
    "windows": ((x,), Tensor("y", n, q), Prod(x[n, 2 * q + s - 1], s)),
    "selected": ((x,), Tensor("y", n, i), Prod(Select(2 * x[n, j] > 1, x[n, j], 1), j, where=j <= i)),
    "nested": ((x,), Tensor("y"), Prod(Prod(x[n, i], i), n)),
    "recurrence": (
        (x, decay),
        Tensor("y", n, i),
        Sum(x[n, j] * Prod(decay[n, k], k, where=(j < k) & (k <= i)), j, where=j <= i),
    ),
}


def drawn(tensor: Tensor, draw: Random) -> Array:
    """Small whole numbers, many of them 0."""
    return Array.filled(shape_of(tensor, SIZES), lambda _: Fraction(draw.choice((0, 0, 1, 2, -1, -3))))


def paired(left: Array, right: Array) -> Fraction:
    """The sum of products of all elements."""
    return sum((a * b for a, b in zip(left.values, right.values, strict=True)), Fraction(0))


def layer_of(name: str) -> Layer:
    inputs, output, value = CASES[name]
    return Layer(name, inputs, (Equation(output, value),), (output.name,))


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_and_the_tangent_are_derivatives(name: str) -> None:
    """The tangent is a quotient of differences, up to the step's square; both directions agree to the last digit."""
    layer, draw = layer_of(name), Random(name)
    values = {tensor.name: drawn(tensor, draw) for tensor in layer.inputs}
    moved = {tensor.name: drawn(tensor, draw) for tensor in layer.inputs}
    weight = drawn(layer.equations[0].target, draw)
    step = Fraction(1, 10**30)
    near = {
        name: Array(v.shape, [a + step * b for a, b in zip(v.values, moved[name].values, strict=True)])
        for name, v in values.items()
    }
    before, after = (evaluate(layer, given, SIZES, Rational())["y"] for given in (values, near))
    slope = [(b - a) / step for a, b in zip(before.values, after.values, strict=True)]
    along = evaluate(tangent(layer), {**values, **{f"tangent_{n}": v for n, v in moved.items()}}, SIZES, Rational())
    assert all(abs(a - b) < Fraction(1, 10**20) for a, b in zip(slope, along["tangent_y"].values, strict=True))
    back = evaluate(adjoint(layer), {**values, "grad_y": weight}, SIZES, Rational())
    assert paired(weight, along["tangent_y"]) == sum(paired(back[f"grad_{n}"], v) for n, v in moved.items())


def test_a_product_of_nothing_is_one() -> None:
    layer = Layer("behind", (x,), (Equation(Tensor("y", n, i), Prod(x[n, j], j, where=j > i)),), ("y",))
    found = evaluate(layer, {"x": Array((1, 3), [Fraction(2), Fraction(3), Fraction(5)])}, {}, Rational())
    assert found["y"].values == [15, 5, 1]


def test_a_product_has_one_index() -> None:
    with pytest.raises(ValueError, match=r"a product has one index; nest them, Prod\(Prod\(\.\.\., i\), n\)"):
        Prod(x[n, i], n, i)
    assert isinstance(Prod(x[n, i], i), Reduction)


# Rounding ------------------------------------------------------------------------------------------------------------

FLOAT32 = RunningError(FORMATS["float32"])
MAGNITUDES = {"ordinary": (-2, 2), "mixed": (-30, 30), "tiny": (-148, -60), "huge": (20, 60)}  # exponents of 2


@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_float32_stays_within_the_bound_in_any_order(magnitude: str) -> None:
    """Products as random trees; the bound is infinite where some part may overflow, and only there."""
    draw, told = Random(magnitude), 0
    for _ in range(200):
        exponents = [draw.randint(*MAGNITUDES[magnitude]) for _ in range(draw.randint(1, 40))]
        values = [float(np.float32(math.ldexp(draw.gauss(0, 1), exponent))) for exponent in exponents]
        bound = FLOAT32.product([FLOAT32.exact(value) for value in values])
        largest = math.prod(max(abs(Fraction(value)), Fraction(1)) for value in values)
        assert (bound.error < math.inf) == (largest < 2**128) or 2**127 < largest < 2**129
        if bound.error == math.inf:
            continue
        rest = [np.float32(value) for value in values]
        with np.errstate(all="ignore"):
            while len(rest) > 1:
                one, other = (rest.pop(draw.randrange(len(rest))) for _ in range(2))
                rest.append(np.float32(one * other))
        exact = math.prod(map(Fraction, values), start=Fraction(1))
        assert abs(Fraction(float(rest[0])) - exact) <= Fraction(bound.error)
        told += 1
    assert told
