"""Which tensors the forward saves, which results replace saved inputs, and which maps are stored for contractions."""

from __future__ import annotations

import pytest
from sympy import Integer, Le

from svertka.codegen.lowering.built import built
from svertka.codegen.passes.inline import is_selection
from svertka.codegen.passes.saved_conditions import answers_of
from svertka.spec import Equation, Layer, Select, Tensor, adjoint, axis, maximum, normal_form
from svertka.spec.layers import DEFINITIONS

i = axis("i")
x, g = Tensor("x", i), Tensor("g", i)
k = Tensor("k", i, kind="integer")


def saved(name: str) -> list[tuple[str, ...]]:
    module = built(DEFINITIONS[name])
    return [module.saved[variant.layer.name] for variant in DEFINITIONS[name].variants]


def test_a_result_is_asked_where_that_saves_keeping_what_it_was_made_of() -> None:
    assert saved("convolution_2d_relu") == [("output",)]
    assert saved("convolution_2d") == [()]


def test_nothing_is_asked_where_the_argument_is_computed_anyway() -> None:
    """Batch norm saves statistics, and recomputes from them and its input the sign of an element."""
    assert saved("batch_normalization_relu") == saved("batch_normalization")


def answers(*values: object) -> dict[str, str]:
    """For a layer whose results are the values, in order."""
    results = [Tensor(f"y{place}", i) for place in range(len(values))]
    equations = [Equation(y, value) for y, value in zip(results, values, strict=True)]
    layer = Layer("made", (x, g, k), tuple(equations), tuple(y.name for y in results))
    derived = adjoint(layer, wrt=["x", "g"], outputs=layer.outputs)
    return answers_of(normal_form(derived), normal_form(layer), layer.outputs)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([maximum(x[i], 0)], {"x": "y0"}),
        ([maximum(x[i], -3), x[i]], {"x": "y0"}),  # a copy's gradient needs nothing
        ([maximum(x[i], 0), g[i] ** 2], {"x": "y0"}),
        ([maximum(x[i], 0), x[i] ** 2], {}),  # the other result's gradient reads the input itself
        ([maximum(x[i], 0), maximum(x[i], 1)], {}),  # neither result replaces the other's input
        ([maximum(x[i], g[i])], {}),
        ([maximum(2 * x[i], 0)], {}),
        ([maximum(x[i.extent - 1 - i], 0)], {}),  # the result at a place tells of the input at another
        ([maximum(k[i], 0)], {}),  # a whole number is of another type than the result
        ([2 * maximum(x[i], 0)], {}),
    ],
)
def test_a_maximum_of_an_input_answers_for_it(values: list[object], found: dict[str, str]) -> None:
    assert answers(*values) == found


def test_a_result_answers_for_no_element_at_another_place() -> None:
    """Of a square the other way round, the result at a place is made of another element."""
    j = i.twin("j")
    square, result = Tensor("square", i, j), Tensor("result", i, j)
    for read, found in ((square[i, j], {"square": "result"}), (square[j, i], {})):
        layer = Layer("made", (square,), (Equation(result, maximum(read, 0)),), ("result",))
        derived = normal_form(adjoint(layer))
        assert answers_of(derived, normal_form(layer), layer.outputs) == found


def test_contractions_read_stored_operands_and_fetch_them_as_boxes() -> None:
    _, _, backward = built(DEFINITIONS["convolution_2d_relu"]).programs[0]
    kernels = [launch.kernel for launch in backward.launches]
    assert kernels[0].pattern == "pointwise"
    products = [kernel for kernel in kernels if kernel.pattern == "contraction"]
    assert len(products) == 2
    assert all(kernel.boxes is not None and all(o.stored for o in kernel.operands) for kernel in products)


NEGATIVE = Le(x[i], 0)


@pytest.mark.parametrize(
    ("value", "selects"),
    [
        (g[i] * Select(NEGATIVE, 0, 1), True),
        (g[i] * Select(NEGATIVE, 1, 0) * Select(Le(g[i], 0), 0, -1), True),
        (g[i] * Select(NEGATIVE, 0, 2), False),  # a product, which may round
        (2 * g[i] * Select(NEGATIVE, 0, 1), False),
        (g[i] * x[i] * Select(NEGATIVE, 0, 1), False),
        (g[i] + Select(NEGATIVE, 0, 1), False),
        (g[i], False),  # a copy is folded into its reader
        (Integer(1) * Select(NEGATIVE, 0, 1), False),
    ],
)
def test_what_selects_without_rounding(value: object, selects: bool) -> None:
    assert is_selection(value) is selects  # type: ignore[arg-type]
