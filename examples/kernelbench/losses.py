"""Losses, each the mean over elements or examples."""

from sympy import Abs, log, sqrt

from svertka.spec import Equation, Layer, Select, Sum, Tensor, axis, define, maximum, number

n, k = axis("n", "examples", batch=True), axis("k", "elements of an example", many=True)
x, t, loss = Tensor("input", n, k), Tensor("target", n, k), Tensor("output")
margin, beta, eps = number("margin"), number("beta", positive=True), number("eps", positive=True)
count = n.extent * k.extent
difference = x[n, k] - t[n, k]

mse_loss = Layer("mse_loss", (x, t), (Equation(loss, Sum(difference**2, n, k) / count),), ("output",))

piece = Select(Abs(difference) < beta, difference**2 / (2 * beta), Abs(difference) - beta / 2)
smooth_l1_loss = define(
    Layer("smooth_l1_loss", (x, t), (Equation(loss, Sum(piece, n, k) / count),), ("output",)), defaults={"beta": 1.0}
)

t = Tensor("target", k)
hinge = maximum(1 - x[n, k] * t[k], 0)
hinge_loss = Layer("hinge_loss", (x, t), (Equation(loss, Sum(hinge, n, k) / count),), ("output",))

x, t = Tensor("input", n, k, above=0), Tensor("target", n, k, above=0)
distance = t[n, k] * (log(t[n, k]) - log(x[n, k]))
kl_loss = Layer("kl_loss", (x, t), (Equation(loss, Sum(distance, n, k) / n.extent),), ("output",))

anchor, positive, negative = Tensor("anchor", n, k), Tensor("positive", n, k), Tensor("negative", n, k)
near = sqrt(Sum((anchor[n, k] - positive[n, k] + eps) ** 2, k))
far = sqrt(Sum((anchor[n, k] - negative[n, k] + eps) ** 2, k))
each = maximum(near - far + margin, 0)
triplet_margin_loss = define(
    Layer(
        "triplet_margin_loss",
        (anchor, positive, negative),
        (Equation(loss, Sum(each, n) / n.extent),),
        ("output",),
    ),
    defaults={"margin": 1.0, "eps": 1e-6},
)
