"""The value of every expression of a graph at one random point of a prime field.

There are two prime fields, of P and of Q elements, and Q divides P - 1. An expression has a value in the first; as an
exponent it has one in the second. exp(a) is G ** a, G of order Q, so that exp(a) exp(b) = exp(a + b) holds. A
variable's two values are drawn independently: x and exp(x) are algebraically independent, too.

The inverse of exp follows from the structure of expressions. exp(c log s + ...) is s ** c ...; log of a sum of
exponentials is the common factor's exponent plus a function of the rest, so that log(sum exp(x - m)) + m = log(sum
exp(x)).

Every other function (a logarithm, a power with a symbol as exponent, erf, sin, cos) is a random function of its
argument's value: a hash. Roots stay roots (``surds``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction

from svertka.codegen.verify.symbolic.graph import ONE, Graph
from svertka.codegen.verify.symbolic.structure import linear, product
from svertka.codegen.verify.symbolic.surds import Field, Value

__all__ = ["P", "Point", "Q"]

Q = 2**61 - 1
P = 52 * Q + 1
G = pow(3, 52, P)  # of order Q, as Q is a prime and this is not 1

Exponent = Sequence[tuple[Fraction, int]]
_Exponentials = tuple[Value, Value, int]


class Point:
    """A random point, and the values of a graph's nodes there.

    Attributes:
        values: of the nodes that were asked for, by number.
        exponents: their values as exponents.
    """

    def __init__(self, graph: Graph, seed: str) -> None:
        self.graph = graph
        self.seed = seed
        self.field = Field(P, lambda word, value: self._drawn(P, word, value))
        self.values: dict[int, Value] = {ONE: 1}
        self.exponents: dict[int, int] = {ONE: 1}
        self._of_terms: dict[int, list[_Exponentials]] = {}

    def evaluate(self, nodes: Sequence[int]) -> None:
        """Evaluate everything on which some nodes depend, in creation order.

        Raises:
            ZeroDivisionError: the point lies on a pole; use another point.
        """
        for node in self.graph.needed(nodes):
            if node not in self.values:
                self.values[node] = self._value(node)
                self.exponents[node] = self._exponent(node)

    def _drawn(self, modulus: int, *parts: object) -> int:
        digest = hashlib.blake2b(repr((self.seed, *parts)).encode(), digest_size=24).digest()
        return 1 + int.from_bytes(digest, "big") % (modulus - 1)

    # Values --------------------------------------------------------------------------------------------------------

    def _value(self, node: int) -> Value:
        operation, arguments, field = self.graph.operations[node], self.graph.arguments[node], self.field
        if operation == "constant":
            return int(arguments[0].numerator * pow(arguments[0].denominator, -1, P) % P)
        if operation in ("variable", "special"):
            return self._drawn(P, operation, arguments[0])
        if operation == "exp":
            return self._exponential(linear(self.graph, arguments[0]))
        if operation == "log":
            return self._logarithm(arguments[0])[0]
        parts = [self.values[argument] for argument in arguments]
        if operation == "add":
            total = parts[0]
            for part in parts[1:]:
                total = field.add(total, part)
            return total
        if operation == "subtract":
            return field.add(parts[0], field.negate(parts[1]))
        if operation == "multiply":
            return field.multiply(*parts)
        if operation == "divide":
            return field.multiply(parts[0], self.field.inverse(parts[1]))
        if operation == "power":
            return self._power(parts[0], linear(self.graph, arguments[1]))
        return self._function(operation, arguments[0])

    def _function(self, name: str, argument: int) -> Value:
        if name == "tanh":
            double = self._exponential([(2 * c, term) for c, term in linear(self.graph, argument)])
            return self.field.multiply(self.field.add(double, P - 1), self.field.inverse(self.field.add(double, 1)))
        value = self.values[argument]
        opposite = self.field.negate(value)
        turned = repr(opposite) < repr(value)  # erf and sin are odd, cos is even
        found = self._drawn(P, name, opposite if turned else value)
        return P - found if turned and name != "cos" else found

    def _power(self, base: Value, exponent: Exponent) -> Value:
        """Numbers in the exponent give whole powers and roots, every symbol there a random function of the base."""
        result: Value = 1
        for coefficient, term in exponent:
            root = base if term == ONE else self._drawn(P, "power", base, self.exponents[term])
            result = self.field.multiply(result, self._rational_power(root, coefficient))
        return result

    def _rational_power(self, base: Value, exponent: Fraction) -> Value:
        below = math.floor(exponent)
        return self.field.multiply(self.field.whole_power(base, below), self.field.root(base, exponent - below))

    def _exponential(self, argument: Exponent) -> Value:
        result: Value = 1
        for coefficient, term in argument:
            scale, factors = product(self.graph, term)
            logs = [f for f, power in factors.items() if power == 1 and self.graph.operations[f] == "log"]
            if not logs:
                step: Value = pow(G, self._modulo(coefficient) * self.exponents[term] % Q, P)
            else:
                base = self.values[self.graph.arguments[logs[0]][0]]
                step = self._power(base, self._cofactor(coefficient * scale, factors, logs[0]))
            result = self.field.multiply(result, step)
        return result

    def _cofactor(self, scale: Fraction, factors: dict[int, int], log: int) -> Exponent:
        """The factor of a logarithm, as an exponent."""
        rest = [(node, power) for node, power in factors.items() if node != log]
        if not rest:
            return [(scale, ONE)]
        made = ONE
        for node, power in rest:
            for _ in range(abs(power)):
                made = self.graph.multiply(made, node) if power > 0 else self.graph.divide(made, node)
        self.evaluate([made])
        return [(scale * c, term) for c, term in linear(self.graph, made)]

    # Logarithms ----------------------------------------------------------------------------------------------------

    def _logarithm(self, argument: int) -> tuple[Value, int]:
        """Value and exponent of a logarithm."""
        coefficient, factors = product(self.graph, argument)
        scale = coefficient.numerator * pow(coefficient.denominator, -1, P) % P
        value: Value = self._drawn(P, "log", scale) if coefficient != 1 else 0
        exponent = self._drawn(Q, "log", scale) if coefficient != 1 else 0
        for factor, power in factors.items():
            if self.graph.operations[factor] == "exp":
                inner = self.graph.arguments[factor][0]
                own, own_exponent = self.values[inner], self.exponents[inner]
            else:
                own, own_exponent = self._logarithm_of_sum(factor)
            value = self.field.add(value, self.field.multiply(power % P, own))
            exponent = (exponent + power * own_exponent) % Q
        return value, exponent

    def _logarithm_of_sum(self, node: int) -> tuple[Value, int]:
        """Try each term's exponentials as the common factor; the choice depends only on the remaining sum."""
        best: tuple[str, Value, Value, int] | None = None
        for factor, value, exponent in self._exponentials_of_terms(node):
            rest = self.field.multiply(self.values[node], self.field.inverse(factor))
            if best is None or repr(rest) < best[0]:
                best = (repr(rest), rest, value, exponent)
        if best is None:
            raise ZeroDivisionError
        drawn = self._drawn(P, "log", best[1]), self._drawn(Q, "log", best[1])
        return self.field.add(best[2], drawn[0]), (best[3] + drawn[1]) % Q

    def _exponentials_of_terms(self, node: int) -> list[_Exponentials]:
        """Those of every term of a sum; terms of a sum that is a factor of a term are terms of the whole.

        So ``(exp(a) + exp(b)) exp(c) + exp(d)`` has those of ``exp(a + c) + exp(b + c) + exp(d)``.
        """
        if node not in self._of_terms:
            found: dict[str, _Exponentials] = {}
            for term in {term for _, term in linear(self.graph, node)}:
                for one in self._exponentials_of(term):
                    found[repr(one)] = one
            self._of_terms[node] = list(found.values())
        return self._of_terms[node]

    def _exponentials_of(self, term: int) -> list[_Exponentials]:
        """The exponentials among a term's factors: their product, and the value and exponent of its logarithm."""
        found: list[_Exponentials] = [(1, 0, 0)]
        for node, power in product(self.graph, term)[1].items():
            if self.graph.operations[node] == "exp":
                inner = self.graph.arguments[node][0]
                own = self.field.whole_power(self.values[node], power)
                value = self.field.multiply(power % P, self.values[inner])
                found = [self._together(one, (own, value, power * self.exponents[inner])) for one in found]
            elif self.graph.operations[node] in ("add", "subtract") and power == 1:
                found = [self._together(one, other) for one in found for other in self._exponentials_of_terms(node)]
        return found

    def _together(self, one: _Exponentials, other: _Exponentials) -> _Exponentials:
        factor, value = self.field.multiply(one[0], other[0]), self.field.add(one[1], other[1])
        return factor, value, (one[2] + other[2]) % Q

    # Exponents -----------------------------------------------------------------------------------------------------

    def _modulo(self, value: Fraction) -> int:
        return value.numerator * pow(value.denominator, -1, Q) % Q

    def _exponent(self, node: int) -> int:
        operation, arguments = self.graph.operations[node], self.graph.arguments[node]
        if operation == "constant":
            return self._modulo(arguments[0])
        if operation == "variable":
            return self._drawn(Q, operation, arguments[0])
        if operation == "log":
            return self._logarithm(arguments[0])[1]
        if operation in ("add", "subtract", "multiply", "divide"):
            parts = [self.exponents[argument] for argument in arguments]
            if operation == "add":
                return sum(parts) % Q
            if operation == "subtract":
                return (parts[0] - parts[1]) % Q
            if operation == "multiply":
                return parts[0] * parts[1] % Q
            if parts[1]:
                return parts[0] * pow(parts[1], -1, Q) % Q
        if operation == "power":
            known = self._power_of_exponent(self.exponents[arguments[0]], self.graph.rational(arguments[1]))
            if known is not None:
                return known
        return self._drawn(Q, "exponent", self.values[node])

    def _power_of_exponent(self, base: int, exponent: Fraction | None) -> int | None:
        """Whole powers, expanded as in kernels; a power of a root is a random function of its base."""
        if exponent is None or exponent.denominator > 2 or not (base or exponent > 0):
            return None
        if exponent.denominator == 1:
            return pow(base, exponent.numerator, Q)
        root = self._drawn(Q, "root", base)
        if exponent < 0:
            return pow(root, exponent.numerator, Q)
        return root * pow(base, exponent.numerator // 2, Q) % Q
