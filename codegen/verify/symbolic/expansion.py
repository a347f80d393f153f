"""Expanded polynomials: two expressions without division, roots and functions are equal if their terms are.

This comparison is exact, not probabilistic. Input: a graph and a node. Output: coefficients by monomial, or None.
"""

from __future__ import annotations

from fractions import Fraction

from svertka.codegen.verify.symbolic.graph import Graph

__all__ = ["Expansion", "Polynomial"]

Monomial = tuple[int, ...]
"""Variables, sorted; a square has its variable twice."""
Polynomial = dict[Monomial, Fraction]

_MOST_TERMS = 4096


class Expansion:
    """Expands the nodes of a graph, each once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[int, Polynomial | None] = {}

    def of(self, node: int) -> Polynomial | None:
        """The polynomial; None if the expression is none, or has too many terms."""
        if node not in self._known:
            for argument in self._unknown_arguments(node):
                self._known[argument] = self._expanded(argument)
        return self._known[node]

    def _unknown_arguments(self, node: int) -> list[int]:
        """The node and the nodes it depends on, in creation order; without recursion, because sums may be deep."""
        found, waiting = {node}, [node]
        while waiting:
            here = waiting.pop()
            if self.graph.operations[here] in ("add", "subtract", "multiply", "divide", "power"):
                for argument in self.graph.arguments[here]:
                    if argument not in found and argument not in self._known:
                        found.add(argument)
                        waiting.append(argument)
        return sorted(found)

    def _expanded(self, node: int) -> Polynomial | None:
        operation, arguments = self.graph.operations[node], self.graph.arguments[node]
        if operation == "constant":
            return {(): arguments[0]} if arguments[0] else {}
        if operation == "variable":
            return {(node,): Fraction(1)}
        if operation not in ("add", "subtract", "multiply", "divide", "power"):
            return None
        parts = [self._known[argument] for argument in arguments]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if operation in ("add", "subtract"):
            signs = [1, *([-1 if operation == "subtract" else 1] * (len(known) - 1))]
            return _limited(_sum(known, signs))
        if operation == "multiply":
            return _product(*known)
        return _quotient(*known) if operation == "divide" else _power(*known)


def _limited(polynomial: Polynomial) -> Polynomial | None:
    return polynomial if len(polynomial) <= _MOST_TERMS else None


def _sum(parts: list[Polynomial], signs: list[int]) -> Polynomial:
    total: Polynomial = {}
    for part, sign in zip(parts, signs, strict=True):
        for monomial, coefficient in part.items():
            total[monomial] = total.get(monomial, Fraction(0)) + sign * coefficient
    return {monomial: coefficient for monomial, coefficient in total.items() if coefficient}


def _product(left: Polynomial, right: Polynomial) -> Polynomial | None:
    if len(left) * len(right) > _MOST_TERMS:
        return None
    total: Polynomial = {}
    for one, a in left.items():
        for other, b in right.items():
            monomial = tuple(sorted(one + other))
            total[monomial] = total.get(monomial, Fraction(0)) + a * b
    return {monomial: coefficient for monomial, coefficient in total.items() if coefficient}


def _constant(polynomial: Polynomial) -> Fraction | None:
    return polynomial[()] if set(polynomial) == {()} else None


def _quotient(left: Polynomial, right: Polynomial) -> Polynomial | None:
    """Division by a number."""
    divisor = _constant(right)
    return None if divisor is None else {monomial: c / divisor for monomial, c in left.items()}


def _power(base: Polynomial, exponent: Polynomial) -> Polynomial | None:
    """Small powers with whole exponents."""
    whole = _constant(exponent)
    if whole is None or whole.denominator != 1 or not 0 < whole <= 4:
        return None
    result: Polynomial | None = {(): Fraction(1)}
    for _ in range(int(whole)):
        result = None if result is None else _product(result, base)
    return result
