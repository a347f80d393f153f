"""Activations beside the rectified linear unit: every element is mapped by itself.

At infinities and at ties values and gradients are torch's: a gradient that a clamp makes 0 hides an infinite factor.
"""

from __future__ import annotations

from typing import Any

from sympy import Abs, Eq, Expr, Gt, Le, Or, erf, exp, pi, sqrt, tanh

from svertka.spec.definition import (
    Argument,
    Choice,
    Definition,
    Flag,
    ModuleFace,
    Real,
    Rule,
    TensorArgument,
    Variant,
)
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Select, Tensor, axis, maximum, minimum, number, sigmoid, softplus

__all__ = ["DEFINITIONS"]

i = axis("i", "elements", many=True)
x, y = Tensor("input", i), Tensor("output", i)
element = x[i]
negative_slope, alpha, beta, threshold = map(number, ("negative_slope", "alpha", "beta", "threshold"))
min_val, max_val = number("min_val"), number("max_val")
INPUT, IN_PLACE = TensorArgument(name="input"), Flag(name="inplace", default=False, in_place=True)

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934
"""For these, mean 0 and variance 1 are a fixed point of a layer of many units (Klambauer et al., arXiv:1706.02515)."""


def _formula(name: str, value: Expr) -> Layer:
    return Layer(name, (x,), (Equation(y, value),), ("output",))


def _elu(above: Any, below: Any) -> Expr:
    return Select(element <= 0, below * (exp(element) - 1), above * element)


def _clamped(low: Any, high: Any, value: Expr = element) -> Expr:
    return minimum(maximum(value, low), high)


def _gelu_by_tanh() -> Expr:
    return element * (1 + tanh(sqrt(2 / pi) * (element + 0.044715 * element**3))) / 2


def _activation(
    name: str,
    module: str,
    value: Expr,
    title: str,
    source: str,
    *arguments: Argument,
    in_place: bool = True,
    rules: tuple[Rule, ...] = (),
    autocast: str = "",
) -> Definition:
    """An activation with one formula."""
    return Definition(
        name=name,
        title=title,
        source=source,
        variants=(Variant(_formula(name, value)),),
        function=name,
        arguments=(INPUT, *arguments, *(IN_PLACE,) * in_place),
        rules=rules,
        autocast=autocast,
        modules=(ModuleFace(module, base=f"torch.nn.{module}"),),
    )


def _real(name: str, default: float) -> Real:
    return Real(name=name, default=default, symbol=name)


GELU = Definition(
    name="gelu",
    title="Gaussian error linear unit: the element times the normal distribution's share below it.",
    source="Hendrycks and Gimpel, arXiv:1606.08415",
    variants=(
        Variant(_formula("gelu_none", element * (1 + erf(element / sqrt(2))) / 2), {"approximate": "none"}),
        Variant(_formula("gelu_tanh", _gelu_by_tanh()), {"approximate": "tanh"}),
    ),
    function="gelu",
    arguments=(INPUT, Choice(name="approximate", default="none", choices=("none", "tanh"))),
    modules=(ModuleFace("GELU", base="torch.nn.GELU"),),
)

n, w, k = axis("n", "examples", batch=True), axis("w", "weights"), axis("k", "channels of a weight")
m = axis("m", "elements of a channel", many=True)
maps, weight, mapped = Tensor("input", n, (w, k), m), Tensor("weight", w), Tensor("output", n, (w, k), m)
PRELU = Definition(
    name="prelu",
    title="Leaky rectified linear unit whose slope is learnt: one for all channels, or one for each.",
    source="He et al., arXiv:1502.01852",
    variants=(
        Variant(
            Layer(
                "prelu",
                (maps, weight),
                (Equation(mapped, Select(maps[n, w, k, m] > 0, maps[n, w, k, m], weight[w] * maps[n, w, k, m])),),
                ("output",),
            )
        ),
    ),
    function="prelu",
    arguments=(TensorArgument(name="input", unbatched=True), TensorArgument(name="weight", unbatched=True)),
    rules=(
        Rule(
            Or(Eq(w.extent, 1), Eq(k.extent, 1)),
            "weight",
            "of one element, or of one for each channel",
            "match weight and the channels of input, or give one weight",
        ),
    ),
    first=(
        "if isinstance(input, Tensor) and input.dim() == 0 and isinstance(weight, Tensor) and weight.numel() == 1:",
        "    return prelu(input.unsqueeze(0), weight).squeeze(0)",
    ),
    modules=(ModuleFace("PReLU", base="torch.nn.PReLU"),),
    autocast="lowered",
)

DEFINITIONS = (
    _activation(
        "leaky_relu",
        "LeakyReLU",
        Select(element > 0, element, negative_slope * element),
        "Leaky rectified linear unit: negative elements times a slope.",
        "Maas, Hannun and Ng, 2013",
        _real("negative_slope", 0.01),
    ),
    _activation(
        "relu6",
        "ReLU6",
        _clamped(0, 6),
        "Rectified linear unit, at most 6.",
        "Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010",
    ),
    _activation(
        "hardtanh",
        "Hardtanh",
        _clamped(min_val, max_val),
        "The element, at least min_val and at most max_val.",
        "torch.nn.functional.hardtanh",
        _real("min_val", -1.0),
        _real("max_val", 1.0),
        rules=(Rule(Le(min_val, max_val), "min_val", "at most max_val", "lower min_val or raise max_val"),),
    ),
    _activation(
        "elu",
        "ELU",
        _elu(1, alpha),
        "Exponential linear unit: negative elements approach -alpha.",
        "Clevert, Unterthiner and Hochreiter, arXiv:1511.07289",
        _real("alpha", 1.0),
    ),
    _activation(
        "selu",
        "SELU",
        _elu(SELU_SCALE, SELU_SCALE * SELU_ALPHA),
        "Scaled exponential linear unit.",
        "Klambauer et al., arXiv:1706.02515",
    ),
    GELU,
    _activation(
        "silu",
        "SiLU",
        element * sigmoid(element),
        "Sigmoid linear unit, also called swish: the element times its sigmoid.",
        "Hendrycks and Gimpel, arXiv:1606.08415",
    ),
    _activation(
        "mish",
        "Mish",
        element * tanh(softplus(element)),
        "Mish: the element times the hyperbolic tangent of its softplus.",
        "Misra, arXiv:1908.08681",
    ),
    _activation(
        "hardswish",
        "Hardswish",
        element * _clamped(0, 6, element + 3) / 6,
        "The element times its hard sigmoid.",
        "Howard et al., arXiv:1905.02244",
    ),
    _activation(
        "hardsigmoid",
        "Hardsigmoid",
        _clamped(0, 6, element + 3) / 6,
        "Sigmoid of three straight pieces.",
        "Howard et al., arXiv:1905.02244",
    ),
    _activation(
        "sigmoid",
        "Sigmoid",
        sigmoid(element),
        "Logistic sigmoid: 1 / (1 + exp(-x)).",
        "torch.nn.functional.sigmoid",
        in_place=False,
    ),
    _activation("tanh", "Tanh", tanh(element), "Hyperbolic tangent.", "torch.nn.functional.tanh", in_place=False),
    _activation(
        "softplus",
        "Softplus",
        Select(Gt(element * beta, threshold), element, softplus(element * beta) / beta),
        "log(1 + exp(beta x)) / beta; the element itself where beta x is above a threshold.",
        "Dugas et al., Incorporating second-order functional knowledge for better option pricing, 2001",
        _real("beta", 1.0),
        _real("threshold", 20.0),
        in_place=False,
        autocast="full",
    ),
    _activation(
        "softsign",
        "Softsign",
        element / (1 + Abs(element)),
        "The element divided by 1 plus its absolute value.",
        "Turian, Bergstra and Bengio, Quadratic features and deep architectures for chunking, 2009",
        in_place=False,
    ),
    PRELU,
)
