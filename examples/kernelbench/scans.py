"""Running sums and products along one dimension, as sums over the elements up to each place."""

from sympy import Ne, exp, log

from svertka.spec import Equation, Layer, Select, Sum, Tensor, axis

a, k, b = (
    axis("a", "elements before dim", many=True),
    axis("k", "elements"),
    axis("b", "elements behind dim", many=True),
)
j = k.twin("j")
x, y, mask = Tensor("input", a, k, b), Tensor("output", a, k, b), Tensor("mask", a, k, b, kind="integer")

cumsum = Layer("cumsum", (x,), (Equation(y, Sum(x[a, j, b], j, where=j <= k)),), ("output",))
reverse_cumsum = Layer("reverse_cumsum", (x,), (Equation(y, Sum(x[a, j, b], j, where=j >= k)),), ("output",))
exclusive_cumsum = Layer("exclusive_cumsum", (x,), (Equation(y, Sum(x[a, j, b], j, where=j < k)),), ("output",))

taken = Select(Ne(mask[a, j, b], 0), x[a, j, b], 0)
masked_cumsum = Layer("masked_cumsum", (x, mask), (Equation(y, Sum(taken, j, where=j <= k)),), ("output",))

x = Tensor("input", a, k, b, above=0)
cumprod = Layer("cumprod", (x,), (Equation(y, exp(Sum(log(x[a, j, b]), j, where=j <= k))),), ("output",))
