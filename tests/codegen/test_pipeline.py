"""What each pass promises holds of every formula, its gradient and its gradient's gradient."""

from __future__ import annotations

from functools import cache

import pytest
from sympy import Eq, exp

from svertka.codegen.passes.pipeline import PASSES, through
from svertka.spec import Equation, Layer, Max, Prod, Sum, Tensor, adjoint, axis
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS

n, c = axis("n", batch=True), axis("c")
j, k, m = c.twin("j"), c.twin("k"), n.twin("m")
x, y = Tensor("x", n, c), Tensor("y", n, c)


@cache
def layers() -> dict[str, Layer]:
    """Every formula and its adjoint, of the library's definitions and their gradients."""
    found: dict[str, Layer] = {}
    for definition in with_gradients(list(DEFINITIONS.values())):
        for variant in definition.variants:
            layer = variant.layer
            found[layer.name] = layer
            wrt, results = definition.differentiable(layer), definition.real_results(layer)
            found[f"gradient of {layer.name}"] = adjoint(layer, wrt=wrt, outputs=results)
    return found


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", layers())
def test_every_pass_keeps_its_promise(name: str) -> None:
    layer = layers()[name]
    for one in PASSES:
        layer = one.rewrite(layer)
        assert not list(one.violations(layer)), one.invariant
        assert one.rewrite(layer) == layer, f"{one.name} is not done"


def made(*equations: Equation) -> Layer:
    return Layer("made", (x, y), equations, (equations[-1].target.name,))


TOTAL, OUT, MEAN = Tensor("total", n), Tensor("out", n, c), Tensor("mean")
BROKEN = {
    "normal form": made(Equation(OUT, x[n, c] / Sum(x[n, j], j))),
    "outer conditions": made(Equation(Tensor("square", n, m), Sum(x[n, c] * y[m, c], c, where=m <= n))),
    "inline maps": made(Equation(Tensor("map", n, c), 2 * x[n, c]), Equation(OUT, Tensor("map", n, c)[n, c] + 1)),
    "nest scans": made(Equation(Tensor("out", c), Sum(x[n, j], n, j, where=j <= c))),
    "drop vanishing sums": made(
        Equation(TOTAL, Sum(x[n, c], c)), Equation(Tensor("none", n), Sum(x[n, j] - TOTAL[n] / c.extent, j))
    ),
    "stabilize": made(Equation(TOTAL, Sum(exp(x[n, c]), c)), Equation(OUT, exp(x[n, c]) / TOTAL[n])),
    "recurrences": made(
        Equation(Tensor("between", n, c, j), Prod(x[n, k], k, where=(j < k) & (k <= c))),
        Equation(OUT, Sum(x[n, j] * Tensor("between", n, c, j)[n, c, j], j, where=j <= c)),
    ),
    "split": made(Equation(MEAN, Sum(x[n, c], n, c))),
    "single terms": made(Equation(TOTAL, Sum(x[n, c], c, where=Eq(c, 3)))),
    "row factors": made(  # the terms of a mean have the sum of its weights in common, which the same walk finds
        Equation(Tensor("near", n, m), Sum(x[n, j] * y[m, j], j)),
        Equation(Tensor("top", n), Max(Tensor("near", n, m)[n, m], m)),
        Equation(TOTAL, Sum(exp(Tensor("near", n, m)[n, m] - Tensor("top", n)[n]), m)),
        Equation(OUT, Sum(exp(Tensor("near", n, m)[n, m] - Tensor("top", n)[n]) * y[m, c] / TOTAL[n], m)),
    ),
}


@pytest.mark.parametrize("one", PASSES, ids=lambda one: one.name)
def test_a_broken_promise_is_seen(one: object) -> None:
    assert list(one.violations(BROKEN[one.name]))  # type: ignore[attr-defined]


def test_passes_run_from_any_to_any_behind_it() -> None:
    layer = layers()["softmax"]
    half = through(layer, "inline maps")
    assert through(half, "split", first="drop vanishing sums") == through(layer, "split")
