"""Pooling: the generalised mean over all positions of a channel (Radenovic, Tolias and Chum, arXiv:1711.02512)."""

from svertka.spec import Equation, Layer, Sum, Tensor, axis, define, maximum, number

n, c = axis("n", "examples", batch=True), axis("c", "channels")
s = axis("s", "positions", many=True)
x, mean, y = Tensor("input", n, c, s), Tensor("mean", n, c), Tensor("output", n, c)
p, eps = number("p", positive=True), number("eps", positive=True)

generalized_mean = define(
    Layer(
        "generalized_mean",
        (x,),
        (
            Equation(mean, Sum(maximum(x[n, c, s], eps) ** p, s) / s.extent),
            Equation(y, mean[n, c] ** (1 / p)),
        ),
        ("output",),
    ),
    defaults={"p": 3.0, "eps": 1e-6},
    module="GeneralizedMean",
)
