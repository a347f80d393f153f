"""The effect of autocast on a formula follows from the formula's operations alone."""

from __future__ import annotations

import pytest
from sympy import Expr, exp, log, sqrt, tanh

from svertka.codegen.torch_api.autocast import Precision, precision, shaped_alike
from svertka.spec import Equation, Layer, Max, Sum, Tensor, axes, maximum, number

a, b, c, k, j = axes("a b c k j")
x, y, z, bias = Tensor("x", a, b), Tensor("y", b, c), Tensor("z", a, b), Tensor("bias", b)
square, row, product, everything = Tensor("o", a, b), Tensor("o", a), Tensor("o", a, c), Tensor("o")
beta = number("beta")

FORMULAS: dict[str, tuple[Tensor, Expr, Precision]] = {
    "product": (product, Sum(x[a, b] * y[b, c], b), Precision.LOWERED),
    "product of a map": (product, Sum(maximum(x[a, b], 0) * y[b, c], b), Precision.LOWERED),
    "product, then exponentials": (product, exp(Sum(x[a, b] * y[b, c], b)), Precision.LOWERED),
    "product with what is computed from indices": (product, Sum(x[a, b] / (1 + b + c), b), Precision.KEPT),
    "square": (row, Sum(x[a, b] ** 2, b), Precision.KEPT),
    "root of a sum": (row, sqrt(Sum(x[a, b] ** 2, b)), Precision.KEPT),
    "power of a sum": (row, Sum(x[a, b] ** 2, b) ** beta, Precision.FULL),
    "exponentials summed": (row, log(Sum(exp(x[a, b]), b)), Precision.FULL),
    "exponential of a map": (square, x[a, b] * exp(x[a, b]), Precision.KEPT),
    "maximum": (row, Max(x[a, b], b), Precision.KEPT),
    "sum of everything": (everything, Sum(tanh(x[a, b]), a, b), Precision.FULL),
    "power of a parameter": (row, Sum(x[a, b] * 2**beta, b), Precision.KEPT),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_precision(name: str) -> None:
    target, value, expected = FORMULAS[name]
    given = tuple(t for t in (x, y) if t.name in str(value))
    assert precision([Layer("formula", given, (Equation(target, value),), ("o",))]) == expected


def test_one_variant_decides_for_all() -> None:
    """A function has one rule for all its formulas."""
    layers = [
        Layer(name, (x, y), (Equation(*FORMULAS[name][:2]),), ("o",))
        for name in ("square", "power of a sum", "product")
    ]
    assert [precision(layers[:count]) for count in (1, 2, 3)] == [Precision.KEPT, Precision.FULL, Precision.LOWERED]


def test_through_several_equations() -> None:
    """A product of computed intermediates."""
    weighted, other = Tensor("weighted", a, b), Tensor("other", b, c)
    layer = Layer(
        "formula",
        (x, bias),
        (
            Equation(weighted, x[a, b] * bias[b]),
            Equation(other, 1 / (1 + b + c)),
            Equation(product, Sum(weighted[a, b] * other[b, c], b)),
        ),
        ("o",),
    )
    assert precision([layer]) == Precision.KEPT  # one side depends on no input
    both = Layer(
        "formula",
        (x, bias, y),
        (
            Equation(weighted, x[a, b] * bias[b]),
            Equation(other, y[b, c] + 1),
            Equation(product, Sum(weighted[a, b] * other[b, c], b)),
        ),
        ("o",),
    )
    assert precision([both]) == Precision.LOWERED


def test_shaped_alike() -> None:
    layer = Layer("formula", (x, bias, z), (Equation(square, x[a, b] * bias[b] + z[a, b]),), ("o",))
    assert [tensor.name for tensor in shaped_alike(layer)] == ["x", "z"]
