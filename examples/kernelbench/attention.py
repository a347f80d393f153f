"""Attention: for every query the mean of the values, weighted by the softmax of its products with the keys."""

from sympy import exp, sqrt

from svertka.spec import Equation, Layer, Sum, Tensor, axis

b = axis("b", "heads", many=True, batch=True)
q, k, e, f = axis("q", "queries"), axis("k", "keys"), axis("e", "elements of a key"), axis("f", "elements of a value")
j = k.twin("j")
query, key, value = Tensor("query", b, q, e), Tensor("key", b, k, e), Tensor("value", b, k, f)
score, weight, output = Tensor("score", b, q, k), Tensor("weight", b, q, k), Tensor("output", b, q, f)

attention = Layer(
    "attention",
    (query, key, value),
    (
        Equation(score, Sum(query[b, q, e] * key[b, k, e], e) / sqrt(e.extent)),
        Equation(weight, exp(score[b, q, k]) / Sum(exp(score[b, q, j]), j)),
        Equation(output, Sum(weight[b, q, k] * value[b, k, f], k)),
    ),
    ("output",),
)
