"""Activations: leaky ReLU, GELU in both forms, SiLU and Mish."""

from sympy import erf, pi, sqrt, tanh

from svertka.spec import Equation, Layer, Select, Tensor, axis, define, number, sigmoid, softplus

i = axis("i", "elements", many=True)
x, y = Tensor("input", i), Tensor("output", i)
negative_slope = number("negative_slope")


def activation(name, value):
    """A layer that maps every element by itself."""
    return Layer(name, (x,), (Equation(y, value),), ("output",))


leaky_relu = define(
    activation("leaky_relu", Select(x[i] > 0, x[i], negative_slope * x[i])),
    defaults={"negative_slope": 0.01},
    module="LeakyReLU",
)
gelu = define(activation("gelu", x[i] * (1 + erf(x[i] / sqrt(2))) / 2), module="GELU")
gelu_tanh = define(
    activation("gelu_tanh", x[i] * (1 + tanh(sqrt(2 / pi) * (x[i] + 0.044715 * x[i] ** 3))) / 2), module="GELUTanh"
)
silu = define(activation("silu", x[i] * sigmoid(x[i])), module="SiLU")
mish = activation("mish", x[i] * tanh(softplus(x[i])))
