"""Exact numbers for floating-point literals, and parameters that stay symbols inside a kernel.

A formula has 1/3, the kernel's source 0.3333333333333333. The literal stands for the simplest rational that rounds to
it: both sides are then equal without a tolerance.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

__all__ = ["Parameter", "between", "simplest"]


def simplest(value: float) -> Fraction:
    """The rational of least denominator whose nearest float64 is ``value``."""
    if value == 0:
        return Fraction(0)
    if value < 0:
        return -simplest(-value)
    exact = Fraction(value)
    below, above = math.nextafter(value, 0.0), math.nextafter(value, math.inf)
    low = (exact + Fraction(below)) / 2
    high = (exact + Fraction(above)) / 2 if math.isfinite(above) else 2 * exact - low
    return between(low, high)


def between(low: Fraction, high: Fraction) -> Fraction:
    """The simplest rational strictly between two positive ones, along their common continued fraction."""
    whole = low.numerator // low.denominator
    if whole + 1 < high:
        return Fraction(whole + 1)
    rest_low, rest_high = low - whole, high - whole
    if rest_low == 0:  # the next candidate is whole + 1/n with 1/n < rest_high
        return whole + Fraction(1, math.floor(1 / rest_high) + 1)
    return whole + 1 / between(1 / rest_high, 1 / rest_low)


class Parameter(float):
    """A real parameter: its value is a float, its arithmetic gives nodes of the expression graph.

    Kernels take such parameters at compile time and compute with them as Python numbers. This keeps ``1.0 - p`` an
    expression, so that a proof holds for every value in the region, without rounding by Python.
    """

    graph: Any
    node: int

    def __new__(cls, graph: Any, node: int) -> Parameter:
        """The parameter for a node; its value is the node's sample."""
        made = super().__new__(cls, graph.samples[node])
        made.graph, made.node = graph, node
        return made

    def _combine(self, operation: str, other: Any, swapped: bool = False) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        pair = (self.node, self.graph.number(other))
        return Parameter(self.graph, getattr(self.graph, operation)(*(reversed(pair) if swapped else pair)))

    def __add__(self, other: Any) -> Any:
        return self._combine("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._combine("add", other)

    def __sub__(self, other: Any) -> Any:
        return self._combine("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        return self._combine("subtract", other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._combine("multiply", other)

    def __rmul__(self, other: Any) -> Any:
        return self._combine("multiply", other)

    def __truediv__(self, other: Any) -> Any:
        return self._combine("divide", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._combine("divide", other, swapped=True)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return self._combine("power", other)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return self._combine("power", other, swapped=True)

    def __neg__(self) -> Any:
        return Parameter(self.graph, self.graph.negate(self.node))

    def __abs__(self) -> Any:
        return self if self >= 0 else -self
