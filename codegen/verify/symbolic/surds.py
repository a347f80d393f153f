"""Field elements with roots: sums of coefficients times fractional powers of base values.

The square root of a field element need not be in the field. So a root is a symbol that knows its exponent: multiplied
with itself it becomes its base. A value without roots is a plain integer, which is the common case.

Roots of different bases are assumed independent. Values found equal here are equal; values that are equal only by a
relation between two roots are not recognized as equal.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["Field", "Surd", "Value"]

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
    """

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus

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

    def inverse(self, value: Value) -> Value | None:
        """One over a value; None if it has several roots and no inverse is known.

        Raises:
            ZeroDivisionError: the value is 0; use other random points.
        """
        if isinstance(value, int):
            if value == 0:
                raise ZeroDivisionError
            return pow(value, -1, self.modulus)
        if len(value.terms) > 1:
            return None
        ((monomial, coefficient),) = value.terms.items()
        result: Value = pow(coefficient, -1, self.modulus)
        for base, exponent in monomial:
            inverted = self.inverse(base)
            if inverted is None:
                return None
            result = self.multiply(self.multiply(result, inverted), self._made({((base, 1 - exponent),): 1}))
        return result

    def whole_power(self, base: Value, exponent: int) -> Value | None:
        """A whole power, negative ones too; None if the inverse is not known."""
        if exponent < 0:
            inverted = self.inverse(base)
            return None if inverted is None else self.whole_power(inverted, -exponent)
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
