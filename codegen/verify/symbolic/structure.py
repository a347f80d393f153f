"""An expression as a sum, and a term of it as a product: the structure that exp and log need of their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from svertka.codegen.verify.symbolic.graph import ONE, Graph

__all__ = ["Product", "linear", "product"]

Product = tuple[Fraction, dict[int, int]]


def linear(graph: Graph, node: int) -> list[tuple[Fraction, int]]:
    """A node as a sum of rational coefficients times nodes that are no sums; a bare number is a multiple of ONE."""
    found: dict[int, Fraction] = {}
    for coefficient, term in _terms(graph, node, Fraction(1)):
        found[term] = found.get(term, Fraction(0)) + coefficient
    return [(coefficient, term) for term, coefficient in found.items() if coefficient]


def _terms(graph: Graph, start: int, factor: Fraction) -> Iterator[tuple[Fraction, int]]:
    pending = [(factor, start)]
    while pending:
        scale, node = pending.pop()
        operation, arguments = graph.operations[node], graph.arguments[node]
        if operation == "add":
            pending += [(scale, argument) for argument in arguments]
            continue
        if operation == "subtract":
            pending += [(scale, arguments[0]), (-scale, arguments[1])]
            continue
        coefficient, factors = product(graph, node)
        if list(factors.values()) == [1] and coefficient != 1:
            pending.append((scale * coefficient, next(iter(factors))))
        elif not factors:
            yield scale * coefficient, ONE
        else:
            yield scale, node


def product(graph: Graph, start: int) -> Product:
    """A node as a rational times whole powers of nodes that are no products."""
    coefficient, factors = Fraction(1), dict[int, int]()
    pending = [(start, 1)]
    while pending:
        node, power = pending.pop()
        operation, arguments = graph.operations[node], graph.arguments[node]
        value = graph.rational(node)
        if value is not None and (value or power > 0):
            coefficient *= value**power
        elif operation == "multiply":
            pending += [(arguments[0], power), (arguments[1], power)]
        elif operation == "divide":
            pending += [(arguments[0], power), (arguments[1], -power)]
        elif operation == "subtract" and graph.rational(arguments[0]) == 0:
            coefficient = -coefficient if power % 2 else coefficient
            pending.append((arguments[1], power))
        elif operation == "power" and (whole := graph.rational(arguments[1])) and whole.denominator == 1:
            pending.append((arguments[0], power * whole.numerator))
        else:
            factors[node] = factors.get(node, 0) + power
    return coefficient, {node: power for node, power in factors.items() if power}
