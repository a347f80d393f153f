"""The gradient of a definition as a definition."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from svertka.spec import Array, Equation, Layer, Rational, Tensor, adjoint, axis, define, evaluate
from svertka.spec.definition import Flag, TensorArgument
from svertka.spec.gradient import gradient_definition, with_gradients
from svertka.spec.layers import DEFINITIONS


def test_only_what_is_differentiated_twice_has_one() -> None:
    once = replace(DEFINITIONS["relu"], orders=1)
    assert with_gradients([once]) == [once]
    relu, derived = with_gradients([DEFINITIONS["relu"]])
    assert (relu.name, derived.name, derived.orders) == ("relu", "relu_gradient", 1)


def test_formulas_are_derived_once() -> None:
    relu = DEFINITIONS["relu"]
    first, again = gradient_definition(relu), gradient_definition(replace(relu, title="The same formulas."))
    assert again.title == "Gradient. The same formulas."
    assert all(a.layer is b.layer for a, b in zip(first.variants, again.variants, strict=True))


def test_another_name_has_another_gradient() -> None:
    relu = DEFINITIONS["relu"]
    renamed = replace(relu, name="rectifier")
    names = [gradient_definition(definition).variants[0].layer.name for definition in (relu, renamed)]
    assert names[0] == "relu_gradient"
    assert names[1].startswith("rectifier_gradient")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_gradients_of_results_come_first_and_nothing_is_replaced(name: str) -> None:
    derived = gradient_definition(DEFINITIONS[name])
    assert len(derived.variants) == len(DEFINITIONS[name].variants)
    for variant, own in zip(derived.variants, DEFINITIONS[name].variants, strict=True):
        assert variant.when == own.when
        assert variant.layer.inputs[0].name == "grad_output"
        assert set(variant.layer.outputs) <= set(derived.result)
    arguments = derived.arguments
    assert not any(isinstance(a, TensorArgument) and a.updated_by for a in arguments)
    assert not any(isinstance(a, Flag) and a.in_place for a in arguments)


def test_the_adjoint_of_the_adjoint_of_a_square() -> None:
    """Cross-channel norm has a second derivative: its second adjoint against exact differences of the first."""
    layer = gradient_definition(DEFINITIONS["cross_channel_normalization"]).variants[0].layer
    sizes = {"J": 3, "k": 2, "alpha": Fraction(1, 2), "beta": 1}
    shape = (1, 3, 1)
    x, g, v = ([Fraction(n) for n in numbers] for numbers in ((1, -2, 3), (2, 1, -1), (1, 3, -2)))

    def first(values: list[Fraction]) -> Fraction:
        arrays = {"input": Array(shape, values), "grad_output": Array(shape, g)}
        found = evaluate(layer, arrays, sizes, Rational())["grad_input"].values
        return sum((a * b for a, b in zip(found, v, strict=True)), Fraction(0))

    arrays = {"input": Array(shape, x), "grad_output": Array(shape, g), "grad2_grad_input": Array(shape, v)}
    second = evaluate(adjoint(layer), arrays, sizes, Rational())["grad2_input"].values
    for place, expected in enumerate(second):
        errors = []
        for step in (Fraction(1, 100), Fraction(1, 200)):
            moved = [[*x[:place], x[place] + sign * step, *x[place + 1 :]] for sign in (1, -1)]
            errors.append((first(moved[0]) - first(moved[1])) / (2 * step) - expected)
        assert errors[1] != 0
        assert 3.8 < errors[0] / errors[1] < 4.2  # exact except for the differences' own error, which falls fourfold


@pytest.mark.parametrize("orders", [0, 3, 1.5])
def test_other_orders_are_refused(orders: int) -> None:
    i = axis("i", many=True)
    x, y = Tensor("input", i), Tensor("output", i)
    layer = Layer("same", (x,), (Equation(y, x[i]),), ("output",))
    assert define(layer, orders=2).orders == 2
    with pytest.raises(ValueError, match=r"define\(same\): orders=.* must be 1 or 2"):
        define(layer, orders=orders)
