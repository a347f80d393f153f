"""The probability that two different expressions are accepted as equal: Schwartz and Zippel.

A value is a quotient of two polynomials in the variables and in the random functions' values. If the difference of two
expressions is not zero, its numerator, of degree d, is zero at a point drawn from a field (or a group) of q elements
with probability at most d / q. Points are independent.

An exponential of a sum counts as the product of its terms' exponentials, each with the degree of its exponent; its
value lies in a group of Q elements. Q is the smaller field, so Q is used everywhere. Hashes are assumed to be random.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from svertka.codegen.verify.symbolic.graph import ONE, Graph
from svertka.codegen.verify.symbolic.point import Q
from svertka.codegen.verify.symbolic.structure import linear

__all__ = ["error_probability"]

Degrees = tuple[float, float]


def error_probability(graph: Graph, pairs: Iterable[tuple[int, int]], points: int) -> float:
    """Upper bound of the probability that some pair of different expressions agreed at all of several points."""
    compared = list(pairs)
    known: dict[int, Degrees] = {}
    for node in graph.needed([ONE, *(node for pair in compared for node in pair)]):
        known[node] = _degrees(graph, node, known)
    total = 0.0
    for left, right in compared:
        (above, below), (other_above, other_below) = known[left], known[right]
        total += min(1.0, max(above + other_below, other_above + below) / Q) ** points
    return min(1.0, total)


def _degrees(graph: Graph, node: int, known: Mapping[int, Degrees]) -> Degrees:
    """Degrees of numerator and denominator."""
    operation, arguments = graph.operations[node], graph.arguments[node]
    if operation in ("constant", "special"):
        return 0.0, 0.0
    if operation == "variable":
        return 1.0, 0.0
    if operation in ("add", "subtract"):
        below = sum(known[a][1] for a in arguments)
        return max(known[a][0] + below - known[a][1] for a in arguments), below
    if operation == "multiply":
        return known[arguments[0]][0] + known[arguments[1]][0], known[arguments[0]][1] + known[arguments[1]][1]
    if operation == "divide":
        return known[arguments[0]][0] + known[arguments[1]][1], known[arguments[0]][1] + known[arguments[1]][0]
    if operation in ("exp", "power"):
        size = sum(math.ceil(abs(c)) * (1 + sum(known[term])) for c, term in linear(graph, arguments[-1]))
        size *= 1 + sum(known[arguments[0]]) if operation == "power" else 1
        return size, size
    size = 1 + sum(known[arguments[0]])
    return size, size
