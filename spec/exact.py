"""Arithmetic that records whether every operation of a kernel is exact.

Its numbers are multiples of a quantum and smaller than a largest number; the ratio of the two is 2**24. float32
represents every one of them, and every partial sum of numbers whose magnitudes add up to less than the largest, in any
order. An operation that may round gives an infinite error. If the results of a formula have no error, a kernel that
accumulates in float32 rounds only once, to the storage format. Its result must then be equal to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sympy import preorder_traversal

from svertka.spec.layer import Layer
from svertka.spec.running_error import FORMATS, SIGNIFICAND, Bounded, Numbers, RunningError

__all__ = ["Exact", "never_exact"]

WHOLE_POWERS = (-2.0, -1.0, 1.0, 2.0, 3.0)


class Exact(RunningError):  # noqa: N818 - a running error is no exception
    """Values whose error is 0, or infinite after the first operation that may round.

    Args:
        fraction_bits: the quantum is ``2 ** -fraction_bits``.
        numbers: the representation of the values.
    """

    def __init__(self, fraction_bits: int = 8, numbers: Numbers | None = None) -> None:
        super().__init__(FORMATS["float32"], numbers)
        self.quanta = 2.0**fraction_bits
        self.largest = 2.0 ** (SIGNIFICAND - fraction_bits)

    def rounded(self, value: Any, error: Any, units: Any = 1.0) -> Bounded:
        """A result: exact if the arithmetic represents it and its operands were exact."""
        return Bounded(value, self.numbers.choose(self._holds(value) & (error == 0), 0.0, math.inf))

    def exact(self, value: Any) -> Bounded:
        """A stored input: exact if the arithmetic represents it."""
        return self.rounded(value, 0.0)

    def number(self, value: Any) -> Bounded:
        """A number of the formula."""
        found = super().number(value)
        return self.rounded(found.value, found.error)

    def summed(self, value: Any, carried: Any, sizes: Any, count: Any, unit: float) -> Bounded:
        """A sum: the magnitude of no partial sum exceeds the sum of the magnitudes."""
        return self.rounded(value, self.numbers.choose(sizes <= self.largest, carried, math.inf))

    def product(self, values: Sequence[Bounded]) -> Bounded:
        """A product of whole numbers of which no part is too large."""
        value, known, largest = 1.0, True, 1.0
        for other in values:
            known = known & (other.error == 0) & (other.value % 1 == 0)
            value, largest = value * other.value, largest * self.numbers.larger(other.size, 0.0 * other.size + 1.0)
        return Bounded(value, self.numbers.choose(known & (largest <= self.largest), 0.0, math.inf))

    def power(self, base: Bounded, exponent: Bounded) -> Bounded:
        """Powers with whole exponents; GPUs approximate the others."""
        value = self.numbers.power(base.value, exponent.value)
        whole = isinstance(exponent.value, float) and exponent.value in WHOLE_POWERS
        return self.rounded(value, base.error if whole else math.inf + 0.0 * base.size)

    def function(self, name: str, value: Bounded) -> Bounded:
        """Absolute value and sign."""
        known = name in ("Abs", "sign")
        return self.rounded(self.numbers.function(name, value.value), value.error if known else math.inf)

    def stored(self, value: Bounded) -> Bounded:
        """Rounding of a result to the storage format is left to the caller."""
        return value

    def _holds(self, value: Any) -> Any:
        quanta = value * self.quanta
        return (abs(value) <= self.largest) & (quanta % 1 == 0)


def never_exact(layer: Layer) -> bool:
    """Whether a formula rounds for all inputs: it contains a function or a root."""
    for equation in layer.equations:
        for node in preorder_traversal(equation.value):
            name = type(node).__name__
            if name in ("exp", "log", "tanh", "erf", "sin", "cos"):
                return True
            if name == "Pow" and not (node.exp.is_Integer or node.base.is_integer):
                return True
    return False
