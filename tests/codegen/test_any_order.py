"""The adjoint of an adjoint, of any order, is a layer like any other: defined, generated and proven at every level."""

from __future__ import annotations

import pytest
from sympy import Expr, exp

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, Layer, Max, Sum, Tensor, adjoint, axes, define, sigmoid

n, c, k = axes("n c k")
j = c.twin("j")
x, weight = Tensor("input", n, c), Tensor("weight", k, c)
elements, products, rows = Tensor("output", n, c), Tensor("output", n, k), Tensor("output", n)
LAYERS: dict[str, tuple[tuple[Tensor, ...], Tensor, Expr]] = {
    "pointwise": ((x,), elements, x[n, c] * sigmoid(x[n, c])),
    "product": ((x, weight), products, Sum(x[n, c] * weight[k, c], c)),
    "exponentials": ((x,), elements, exp(x[n, c]) / Sum(exp(x[n, j]), j)),
    "largest": ((x,), rows, Max(x[n, c], c) ** 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_the_adjoint_of_an_adjoint_is_generated_and_proven(name: str) -> None:
    inputs, target, value = LAYERS[name]
    layer = Layer(name, inputs, (Equation(target, value),), ("output",))
    for _ in range(3):
        layer = adjoint(layer)
        definition = define(layer)
        [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
        assert not verdict.failures
        assert {outcome.level for outcome in verdict.outcomes} == LEVELS.keys()
        assert all(outcome.holds or outcome.level == "exact" for outcome in verdict.outcomes)
