"""Losses: Huber's, the mean over all elements."""

from sympy import Abs

from svertka.spec import Equation, Layer, Select, Sum, Tensor, axis, define, number

i = axis("i", "elements", many=True)
x, t = Tensor("input", i), Tensor("target", i)
loss, output = Tensor("loss", i), Tensor("output")
delta = number("delta", positive=True)
distance = Abs(x[i] - t[i])

huber_loss = define(
    Layer(
        "huber_loss",
        (x, t),
        (
            Equation(loss, Select(distance <= delta, (x[i] - t[i]) ** 2 / 2, delta * (distance - delta / 2))),
            Equation(output, Sum(loss[i], i) / i.extent),
        ),
        ("output",),
    ),
    defaults={"delta": 1.0},
)
