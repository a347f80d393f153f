"""Field elements with roots: sums of coefficients times fractional powers of base values.

The square root of a field element need not be in the field. So a root is a symbol that knows its exponent: multiplied
with itself it becomes its base. A value without roots is a plain integer, which is the common case.

Roots of different bases are assumed independent. Values found equal here are equal; values that are equal only by a
relation between two roots are not recognized as equal. The inverse of a sum with a few square roots is that of the
product of its conjugates; of any other sum with roots it is a random function.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

__all__ = ["Field", "Surd", "Value"]

_MOST_CONJUGATED = 4  # square roots of a sum; with each, the terms of its inverse may double

Monomial = tuple[tuple["Value", Fraction], ...]


class Surd:
    """A sum with roots: coefficients by the product of roots that they multiply."""

    __slots__ = ("_key", "terms")

    def __init__(self, terms: dict[Monomial, int]) -> None:
        self.terms = terms
        self._key: tuple[tuple[str, int], ...] | None = None

    @property
    def key(self) -> tuple[tuple[str, int], ...]:
        """The terms in an order of their own; most values on the way to another are never asked for it."""
        if self._key is None:
            self._key = tuple(sorted((repr(monomial), coefficient) for monomial, coefficient in self.terms.items()))
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surd) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Surd{self.key}"


Value = int | Surd


class Field:
    """Arithmetic modulo a prime, with roots.

    Attributes:
        modulus: the prime.
        drawn: a random function from a word and a value.
    """

    def __init__(self, modulus: int, drawn: Callable[[str, Value], int]) -> None:
        self.modulus = modulus
        self.drawn = drawn

    def _made(self, terms: dict[Monomial, int]) -> Value:
        kept = {monomial: c for monomial, value in terms.items() if (c := value % self.modulus)}
        if not kept or (len(kept) == 1 and () in kept):
            return kept.get((), 0)
        return Surd(kept)

    def add(self, left: Value, right: Value) -> Value:
        """Sum."""
        if isinstance(left, int) and isinstance(right, int):
            return (left + right) % self.modulus
        terms = dict(_terms(left))
        for monomial, coefficient in _terms(right).items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return self._made(terms)

    def negate(self, value: Value) -> Value:
        """Minus a value."""
        return self.multiply(self.modulus - 1, value)

    def multiply(self, left: Value, right: Value) -> Value:
        """Product; roots that complete a whole power become their base."""
        if isinstance(left, int) and isinstance(right, int):
            return left * right % self.modulus
        result: Value = 0
        for one, a in _terms(left).items():
            for other, b in _terms(right).items():
                result = self.add(result, self._product(one, other, a * b % self.modulus))
        return result

    def _product(self, left: Monomial, right: Monomial, coefficient: int) -> Value:
        powers = dict(left)
        whole: Value = coefficient
        for base, exponent in right:
            total = powers.pop(base, Fraction(0)) + exponent
            if total >= 1:
                whole, total = self.multiply(whole, base), total - 1
            if total:
                powers[base] = total
        monomial = tuple(sorted(powers.items(), key=repr))
        if isinstance(whole, int):
            return self._made({monomial: whole})
        return self.multiply(whole, self._made({monomial: 1}))

    def inverse(self, value: Value) -> Value:
        """One over a value.

        Raises:
            ZeroDivisionError: the value is 0; use other random points.
        """
        if isinstance(value, int):
            if value == 0:
                raise ZeroDivisionError
            return pow(value, -1, self.modulus)
        if len(value.terms) > 1:
            return self._inverse_of_sum(value)
        ((monomial, coefficient),) = value.terms.items()
        result: Value = pow(coefficient, -1, self.modulus)
        for base, exponent in monomial:
            root = self._made({((base, 1 - exponent),): 1})
            result = self.multiply(self.multiply(result, self.inverse(base)), root)
        return result

    def _inverse_of_sum(self, value: Surd) -> Value:
        """By 1 / (a + b r) = (a - b r) / (a a - b b r r), root by root."""
        roots = {root for monomial in value.terms for root in monomial}
        if len(roots) <= _MOST_CONJUGATED and all(exponent == Fraction(1, 2) for _, exponent in roots):
            root = min(roots, key=repr)
            conjugate = self._made({m: -c if root in m else c for m, c in value.terms.items()})
            product = self.multiply(value, conjugate)
            if product:  # it is 0 if the root is known to be another value, as that of a square is
                return self.multiply(conjugate, self.inverse(product))
        leading = pow(value.key[0][1], -1, self.modulus)  # so that multiples have multiples of the inverse
        return self.multiply(leading, self.drawn("inverse", self.multiply(leading, value)))

    def whole_power(self, base: Value, exponent: int) -> Value:
        """A whole power, negative ones too."""
        if exponent < 0:
            return self.whole_power(self.inverse(base), -exponent)
        if isinstance(base, int):
            return pow(base, exponent, self.modulus)
        result: Value = 1
        for _ in range(exponent):
            result = self.multiply(result, base)
        return result

    def root(self, base: Value, exponent: Fraction) -> Value:
        """A power between 0 and 1."""
        return self._made({((base, exponent),): 1}) if exponent else 1


def _terms(value: Value) -> dict[Monomial, int]:
    if isinstance(value, Surd):
        return value.terms
    return {(): value} if value else {}
