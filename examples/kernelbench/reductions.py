"""Reductions over one dimension: sum, mean, largest and smallest element and their positions."""

from svertka.spec import ArgMax, Equation, Layer, Max, Sum, Tensor, axis

a, k, b = (
    axis("a", "elements before dim", many=True),
    axis("k", "elements"),
    axis("b", "elements behind dim", many=True),
)
x, y, place = Tensor("input", a, k, b), Tensor("output", a, b), Tensor("output", a, b, kind="integer")

total = Layer("total", (x,), (Equation(y, Sum(x[a, k, b], k)),), ("output",))
mean = Layer("mean", (x,), (Equation(y, Sum(x[a, k, b], k) / k.extent),), ("output",))
largest = Layer("largest", (x,), (Equation(y, Max(x[a, k, b], k)),), ("output",))
smallest = Layer("smallest", (x,), (Equation(y, -Max(-x[a, k, b], k)),), ("output",))
place_of_largest = Layer("place_of_largest", (x,), (Equation(place, ArgMax(x[a, k, b], k)),), ("output",))
place_of_smallest = Layer("place_of_smallest", (x,), (Equation(place, ArgMax(-x[a, k, b], k)),), ("output",))
