"""An expression as a sum, and a term of it as a product: the structure that exp and log need of their arguments."""

from __future__ import annotations

from fractions import Fraction

from svertka.codegen.verify.symbolic.graph import ONE, ZERO, Graph

__all__ = ["Product", "linear", "product", "summands"]

Product = tuple[Fraction, dict[int, int]]


def summands(graph: Graph, node: int) -> dict[int, int]:
    """A node as a sum of whole multiples of nodes that are no sums."""
    operations, arguments = graph.operations, graph.arguments
    sums, waiting = set[int](), [node]
    while waiting:
        here = waiting.pop()
        if operations[here] in ("add", "subtract") and here not in sums:
            sums.add(here)
            waiting += arguments[here]
    factors = {node: 1}
    for here in sorted(sums, reverse=True):  # the newest first: what adds a node to a sum is newer than the node
        factor = factors.pop(here)
        for argument in arguments[here]:
            factors[argument] = factors.get(argument, 0) + factor
            factor = -factor if operations[here] == "subtract" else factor
    return {summand: factor for summand, factor in factors.items() if factor and summand != ZERO}


def linear(graph: Graph, node: int) -> list[tuple[Fraction, int]]:
    """A node as a sum of rational coefficients times nodes that are no sums; a bare number is a multiple of ONE."""
    found: dict[int, Fraction] = {}
    pending = [(Fraction(1), node)]
    while pending:
        scale, start = pending.pop()
        for term, multiple in summands(graph, start).items():
            coefficient, factors = product(graph, term)
            if list(factors.values()) == [1] and coefficient != 1:
                pending.append((scale * multiple * coefficient, next(iter(factors))))
                continue
            bare, part = (term, Fraction(multiple)) if factors else (ONE, multiple * coefficient)
            found[bare] = found.get(bare, Fraction(0)) + scale * part
    return [(coefficient, term) for term, coefficient in found.items() if coefficient]


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
