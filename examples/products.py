"""Products: of two matrices in every example of a batch, and of a matrix's lower triangle."""

from svertka.spec import Equation, Layer, Sum, Tensor, axis

b, m, k, n = axis("b", "matrices", batch=True), axis("m", "rows"), axis("k", "inner"), axis("n", "columns")
left, right, output = Tensor("input", b, m, k), Tensor("mat2", b, k, n), Tensor("output", b, m, n)

bmm = Layer("bmm", (left, right), (Equation(output, Sum(left[b, m, k] * right[b, k, n], k)),), ("output",))
lower = Sum(left[b, m, k] * right[b, k, n], k, where=k <= m)
triangular_bmm = Layer("triangular_bmm", (left, right), (Equation(output, lower),), ("output",))
