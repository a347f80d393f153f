"""Arithmetic in which every operation of a float32 kernel is exact, or that says which one is not.

Its numbers are multiples of 2**-8 below 2**16: float32, with its 24 bits, holds every one of them, and every
partial sum of
numbers whose magnitudes add up to less than 2**16, in any order. Where a formula evaluates in this arithmetic without
``Inexact``, a kernel has nothing to round but its result, once, to the storage format; then it must give that
very number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svertka.spec import Float

__all__ = ["Exact", "Inexact"]

QUANTA = 2.0**8
LARGEST = 2.0**16


class Inexact(Exception):  # noqa: N818 - it is raised to say so, and caught
    """An operation that may have to round."""


class Exact(Float):
    """float64, which computes each operation on such numbers exactly, and checks of the results."""

    def number(self, value: Any) -> float:
        """A number of the formula."""
        return _checked(super().number(value))

    def add(self, *values: float) -> float:
        """Sum of a few values."""
        return self.total(values)

    def total(self, values: Sequence[float]) -> float:
        """Sum; no partial sum is larger than the sum of the magnitudes."""
        _checked(sum(map(abs, values)))
        return float(sum(values))

    def multiply(self, *values: float) -> float:
        """Product from left to right."""
        result = values[0]
        for value in values[1:]:
            result = _checked(result * value)
        return result

    def power(self, base: float, exponent: float) -> float:
        """Whole powers; GPUs approximate the others."""
        if exponent not in (-2.0, -1.0, 1.0, 2.0, 3.0):
            raise Inexact(f"{base} ** {exponent}")
        return _checked(super().power(base, exponent))

    def function(self, name: str, value: float) -> float:
        """Absolute value and sign."""
        if name not in ("Abs", "sign"):
            raise Inexact(name)
        return super().function(name, value)


def _checked(value: float) -> float:
    if not (abs(value) <= LARGEST and (value * QUANTA).is_integer()):
        raise Inexact(str(value))
    return value
