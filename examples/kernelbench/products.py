"""Products of matrices; an axis of rows that stands for many dimensions serves matrices of any number of them."""

from svertka.spec import Equation, Layer, Select, Sum, Tensor, axis, number

b, m = axis("b", "matrices", batch=True), axis("m", "rows")
k, n = axis("k", "inner"), axis("n", "columns")
rows = axis("r", "rows", many=True)
scale = number("scale")

left, right, output = Tensor("input", rows, k), Tensor("mat2", k, n), Tensor("output", rows, n)
product = Layer("product", (left, right), (Equation(output, Sum(left[rows, k] * right[k, n], k)),), ("output",))

left, right, output = Tensor("input", b, m, k), Tensor("mat2", b, k, n), Tensor("output", b, m, n)
products = Layer("products", (left, right), (Equation(output, Sum(left[b, m, k] * right[b, k, n], k)),), ("output",))

left, right, output = Tensor("input", k, m), Tensor("mat2", k, n), Tensor("output", m, n)
first_transposed = Layer(
    "first_transposed", (left, right), (Equation(output, Sum(left[k, m] * right[k, n], k)),), ("output",)
)

right = Tensor("mat2", n, k)
both_transposed = Layer(
    "both_transposed", (left, right), (Equation(output, Sum(left[k, m] * right[n, k], k)),), ("output",)
)

left, right = Tensor("input", m, k), Tensor("mat2", k, n)
element = Sum(left[m, k] * right[k, n], k)
upper_product = Layer("upper_product", (left, right), (Equation(output, Select(m <= n, element, 0)),), ("output",))
lower_product = Layer("lower_product", (left, right), (Equation(output, Select(m >= n, element, 0)),), ("output",))

left, output = Tensor("input", rows), Tensor("output", rows)
scaled = Layer("scaled", (left,), (Equation(output, scale * left[rows]),), ("output",))

diagonal, right, output = Tensor("diagonal", m), Tensor("mat2", m, n), Tensor("output", m, n)
diagonal_product = Layer(
    "diagonal_product", (diagonal, right), (Equation(output, diagonal[m] * right[m, n]),), ("output",)
)
