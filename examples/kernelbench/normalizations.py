"""Divisions by a norm: of the elements along one dimension, or of all."""

from sympy import Abs, sqrt

from svertka.spec import Equation, Layer, Sum, Tensor, axis, define, number

a, k, b = (
    axis("a", "elements before dim", many=True),
    axis("k", "elements"),
    axis("b", "elements behind dim", many=True),
)
n, i = axis("n", "examples", batch=True), axis("i", "elements of an example", many=True)
j, eps = k.twin("j"), number("eps", positive=True)
x, y = Tensor("input", a, k, b), Tensor("output", a, k, b)

mean_square = Sum(x[a, j, b] ** 2, j) / k.extent
rms_norm = define(
    Layer("rms_norm", (x,), (Equation(y, x[a, k, b] / sqrt(mean_square + eps)),), ("output",)), defaults={"eps": 1e-5}
)

mean_distance = Sum(Abs(x[a, j, b]), j) / k.extent
l1_norm = Layer("l1_norm", (x,), (Equation(y, x[a, k, b] / mean_distance),), ("output",))

length = sqrt(Sum(x[a, j, b] ** 2, j))
l2_norm = Layer("l2_norm", (x,), (Equation(y, x[a, k, b] / length),), ("output",))

x, y, square = Tensor("input", n, i), Tensor("output", n, i), Tensor("square")
frobenius_norm = Layer(
    "frobenius_norm",
    (x,),
    (Equation(square, Sum(x[n, i] ** 2, n, i)), Equation(y, x[n, i] / sqrt(square[()]))),
    ("output",),
)
