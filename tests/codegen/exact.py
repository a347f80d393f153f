"""Arithmetic in which every operation of a float32 kernel is exact, or that says which one is not.

Where a formula evaluates in it without ``Inexact``, each sum, product and quotient is representable in float32, whatever
the order of the sums, so that a kernel has nothing to round but its result, once, to the storage format. Then a kernel must
give that very number.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Any

from svertka.spec import Rational

__all__ = ["Exact", "Inexact"]

BITS = 24  # of float32's significand


class Inexact(Exception):
    """An operation that may have to round."""


class Exact(Rational):
    """Rationals, all of them float32 numbers."""

    def number(self, value: Any) -> Fraction:
        """A number of the formula; infinities and irrational numbers are inexact."""
        try:
            return _checked(super().number(value))
        except (ValueError, OverflowError) as error:
            raise Inexact(str(error)) from error

    def add(self, *values: Fraction) -> Fraction:
        """Sum of a few values."""
        return self.total(values)

    def total(self, values: Sequence[Fraction]) -> Fraction:
        """Sum: partial sums are multiples of the smallest quantum and not larger than the sum of the magnitudes."""
        quantum = lcm(*(value.denominator for value in values))
        _checked(Fraction(1, quantum))
        if sum(abs(value) for value in values) * quantum > 2**BITS:
            raise Inexact(f"sum of {len(values)} values")
        return super().total(values)

    def multiply(self, *values: Fraction) -> Fraction:
        """Product from left to right."""
        result = values[0]
        for value in values[1:]:
            result = _checked(result * value)
        return result

    def power(self, base: Fraction, exponent: Fraction) -> Fraction:
        """Whole powers; GPUs approximate the others."""
        if exponent.denominator != 1 or (base == 0 and exponent < 0):
            raise Inexact(f"{base} ** {exponent}")
        return _checked(base**exponent.numerator)

    def function(self, name: str, value: Fraction) -> Fraction:
        """Absolute value and sign."""
        try:
            return super().function(name, value)
        except ValueError as error:
            raise Inexact(str(error)) from error


def _checked(value: Fraction) -> Fraction:
    if value.denominator & (value.denominator - 1) or abs(value.numerator).bit_length() > BITS:
        raise Inexact(str(value))
    return value
