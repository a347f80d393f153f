"""Sizes at which formulas are judged: there are some for every formula, and calls are given all of them."""

from __future__ import annotations

from math import prod

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.cases import cases
from svertka.codegen.verify.fitting import LARGEST
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, Layer, Tensor, axes, axis, define, integer


def test_a_tensor_of_many_axes_has_small_sizes() -> None:
    """Eight extents that all differ make more elements than a tensor may have, whatever they are."""
    every = axes("a b c d e f g h")
    x, y = Tensor("input", *every), Tensor("output", *every)
    definition = define(Layer("doubled", (x,), (Equation(y, 2 * x[every]),), ("output",)))
    found = list(cases(definition, definition.variants[0]))
    assert len(found) == 3
    for case in found:
        extents = [case.sizes[index.extent.name] for index in every]
        assert min(extents) > 1
        assert prod(extents) <= LARGEST
        assert len({*extents}) > 1


def test_a_parameter_of_an_extent_alone_is_given_to_the_function() -> None:
    n, w, q = axis("n"), axis("w"), axis("q")
    x, y, more = Tensor("input", n, w), Tensor("output", n, q), integer("more")
    layer = Layer("lengthened", (x,), (Equation(y, x[n, q]),), ("output",))
    definition = define(layer, defaults={"more": 0}, extents={"Q": w.extent + more})
    assert any(case.sizes["more"] for case in cases(definition, definition.variants[0]))
    [verdict] = validate_package(
        generate_package([definition]).sources, [definition], levels=("interface",), processes=1
    )
    assert not verdict.failures
    assert verdict.of("interface")[0].cases > 0
