"""Normalizations within an example: LayerNorm, RMSNorm and GroupNorm."""

from sympy import sqrt

from svertka.spec import Equation, Layer, Sum, Tensor, axis, define, number

eps = number("eps", positive=True)

# Of the last dimension.
m, c = axis("m", "rows", many=True, batch=True), axis("c", "channels")
x, y = Tensor("input", m, c), Tensor("output", m, c)
weight, bias = Tensor("weight", c, default=1), Tensor("bias", c, default=0)
mean, variance, square = Tensor("mean", m), Tensor("variance", m), Tensor("square", m)

layer_norm = define(
    Layer(
        "layer_norm",
        (x, weight, bias),
        (
            Equation(mean, Sum(x[m, c], c) / c.extent),
            Equation(variance, Sum((x[m, c] - mean[m]) ** 2, c) / c.extent),
            Equation(y, (x[m, c] - mean[m]) / sqrt(variance[m] + eps) * weight[c] + bias[c]),
        ),
        ("output",),
    ),
    defaults={"eps": 1e-5},
    parameters=("weight", "bias"),
)
rms_norm = define(
    Layer(
        "rms_norm",
        (x, weight),
        (
            Equation(square, Sum(x[m, c] ** 2, c) / c.extent),
            Equation(y, x[m, c] / sqrt(square[m] + eps) * weight[c]),
        ),
        ("output",),
    ),
    defaults={"eps": 1e-6},
    parameters=("weight",),
    module="RMSNorm",
)

# Of a group of channels with all that lies behind them.
n, g, k = axis("n", "examples", batch=True), axis("g", "groups"), axis("k", "channels of a group")
s = axis("s", "elements of a channel", many=True)
x, y = Tensor("input", n, (g, k), s), Tensor("output", n, (g, k), s)
weight, bias = Tensor("weight", (g, k), default=1), Tensor("bias", (g, k), default=0)
mean, variance = Tensor("mean", n, g), Tensor("variance", n, g)
count = k.extent * s.extent

group_norm = define(
    Layer(
        "group_norm",
        (x, weight, bias),
        (
            Equation(mean, Sum(x[n, g, k, s], k, s) / count),
            Equation(variance, Sum((x[n, g, k, s] - mean[n, g]) ** 2, k, s) / count),
            Equation(y, (x[n, g, k, s] - mean[n, g]) / sqrt(variance[n, g] + eps) * weight[g, k] + bias[g, k]),
        ),
        ("output",),
    ),
    defaults={"eps": 1e-5},
    arguments={"G": "num_groups"},
    parameters=("weight", "bias"),
)
