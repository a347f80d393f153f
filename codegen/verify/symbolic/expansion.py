"""Expanded polynomials: two expressions without division, roots and functions are equal if their terms are.

This comparison is exact, not probabilistic. Coefficients are whole numbers over one divisor: sums of fractions take
much longer. Input: a graph and a node. Output: a ``Polynomial``, or None.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from svertka.codegen.verify.symbolic.graph import Graph
from svertka.codegen.verify.symbolic.structure import summands

__all__ = ["Expansion", "Polynomial"]

Monomial = tuple[int, ...]
"""Variables, sorted; a square has its variable twice."""

_MOST_TERMS = 4096


class Polynomial(NamedTuple):
    """Terms over a divisor that has no factor with all of them in common, so that equal polynomials are equal here."""

    terms: dict[Monomial, int]
    divisor: int = 1


class Expansion:
    """Expands the nodes of a graph, each once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[int, Polynomial | None] = {}

    def same(self, left: int, right: int) -> bool | None:
        """Whether two expressions have the same terms; None if one is no polynomial, or has too many terms.

        Sums of the same nodes need no expansion, and most sums of a kernel and its formula are that.
        """
        if left == right or summands(self.graph, left) == summands(self.graph, right):
            return True
        terms = self.of(left), self.of(right)
        return None if terms[0] is None or terms[1] is None else terms[0] == terms[1]

    def of(self, node: int) -> Polynomial | None:
        """The polynomial; None if the expression is none, or has too many terms."""
        if node not in self._known:
            multiples = summands(self.graph, node)
            if set(multiples) != {node}:  # not one sum after another: sums that are added up would be copied each time
                parts = [self.of(summand) for summand in multiples]
                known = [part for part in parts if part is not None]
                whole = len(known) == len(parts)
                self._known[node] = _limited(_sum(known, list(multiples.values()))) if whole else None
            for argument in self._unknown_arguments(node) if node not in self._known else ():
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
            return _made({(): arguments[0].numerator}, arguments[0].denominator)
        if operation == "variable":
            return Polynomial({(node,): 1})
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


def _made(terms: dict[Monomial, int], divisor: int) -> Polynomial:
    """A polynomial in lowest terms; the divisor is positive."""
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    common = math.gcd(divisor, *kept.values())
    if common > 1:
        kept = {monomial: coefficient // common for monomial, coefficient in kept.items()}
    return Polynomial(kept, divisor // common)


def _limited(polynomial: Polynomial) -> Polynomial | None:
    return polynomial if len(polynomial.terms) <= _MOST_TERMS else None


def _sum(parts: list[Polynomial], signs: list[int]) -> Polynomial:
    total: dict[Monomial, int] = {}
    divisor = math.lcm(*(part.divisor for part in parts))
    for part, sign in zip(parts, signs, strict=True):
        factor = sign * (divisor // part.divisor)
        for monomial, coefficient in part.terms.items():
            total[monomial] = total.get(monomial, 0) + factor * coefficient
    return _made(total, divisor)


def _product(left: Polynomial, right: Polynomial) -> Polynomial | None:
    if len(left.terms) * len(right.terms) > _MOST_TERMS:
        return None
    total: dict[Monomial, int] = {}
    for one, a in left.terms.items():
        for other, b in right.terms.items():
            monomial = tuple(sorted(one + other))
            total[monomial] = total.get(monomial, 0) + a * b
    return _made(total, left.divisor * right.divisor)


def _constant(polynomial: Polynomial) -> int | None:
    """The number above the divisor, where the polynomial is a number and not 0."""
    return polynomial.terms[()] if set(polynomial.terms) == {()} else None


def _quotient(left: Polynomial, right: Polynomial) -> Polynomial | None:
    """Division by a number."""
    number = _constant(right)
    if number is None:
        return None
    factor = right.divisor if number > 0 else -right.divisor
    return _made({monomial: factor * c for monomial, c in left.terms.items()}, left.divisor * abs(number))


def _power(base: Polynomial, exponent: Polynomial) -> Polynomial | None:
    """Small powers with whole exponents."""
    whole = _constant(exponent)
    if whole is None or exponent.divisor != 1 or not 0 < whole <= 4:
        return None
    result: Polynomial | None = Polynomial({(): 1})
    for _ in range(whole):
        result = None if result is None else _product(result, base)
    return result
