"""Arithmetics in which a formula can be evaluated: rationals, SymPy symbols, float64 (see also ``running_error``).

An arithmetic converts numbers of the formula to its own values and combines them. It gets all terms of a sum at once,
as a list, so that an error bound can hold for every order of summation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import sympy

__all__ = ["FUNCTIONS", "RELATIONS", "Arithmetic", "Float", "Rational", "Symbolic", "uniform"]


class Arithmetic(Protocol):
    """The operations that ``evaluate`` needs of an arithmetic."""

    def number(self, value: sympy.Expr) -> Any:
        """A number of the formula or a parameter's value."""

    def add(self, *values: Any) -> Any:
        """Sum of a few values."""

    def multiply(self, *values: Any) -> Any:
        """Product of a few values."""

    def power(self, base: Any, exponent: Any) -> Any:
        """Power; the exponent is a value too."""

    def function(self, name: str, value: Any) -> Any:
        """exp, log, tanh, erf, Abs or sign."""

    def total(self, values: Sequence[Any]) -> Any:
        """Sum of a reduction."""

    def product(self, values: Sequence[Any]) -> Any:
        """Product of a reduction; 1 if it has no factor."""

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Whether ``left relation right`` holds; relation is one of < <= > >= == !=."""


RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class _Ordered:
    """What the arithmetics over ordinary Python numbers have in common."""

    def add(self, *values: Any) -> Any:
        return sum(values[1:], values[0])

    def multiply(self, *values: Any) -> Any:
        return math.prod(values[1:], start=values[0])

    def product(self, values: Sequence[Any]) -> Any:
        return math.prod(values, start=self.number(1))

    def number(self, value: Any) -> Any:
        raise NotImplementedError

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        return bool(RELATIONS[relation](left, right))


class Rational(_Ordered):
    """Exact rationals. A transcendental function raises an error and is not approximated."""

    def number(self, value: sympy.Expr) -> Fraction:
        """Exact value of a rational number; a Python float is taken at its exact binary value."""
        if isinstance(value, sympy.Expr):
            if not value.is_Rational:
                raise ValueError(f"number {value}: exact rationals cannot hold it; evaluate in float64")
            return Fraction(int(value.p), int(value.q))
        return Fraction(value)

    def power(self, base: Fraction, exponent: Fraction) -> Fraction:
        """Integer powers, and roots that are rational."""
        if exponent.denominator == 1:
            return base**exponent.numerator
        roots = [sympy.integer_nthroot(part, exponent.denominator) for part in base.as_integer_ratio()]
        if not all(exact for _, exact in roots):
            raise ValueError(f"power {base} ** {exponent}: not rational; evaluate in float64 or symbolically")
        return Fraction(*(int(root) for root, _ in roots)) ** exponent.numerator

    def function(self, name: str, value: Fraction) -> Fraction:
        """Only the absolute value and the sign are rational."""
        if name == "Abs":
            return abs(value)
        if name == "sign":
            return Fraction((value > 0) - (value < 0))
        raise ValueError(f"function {name}: not rational; evaluate in float64 or symbolically")

    def total(self, values: Sequence[Fraction]) -> Fraction:
        """Exact sum."""
        return sum(values, Fraction(0))


class Float(_Ordered):
    """float64; sums are rounded once."""

    def number(self, value: Any) -> float:
        """Nearest float64."""
        return float(value)

    def power(self, base: float, exponent: float) -> float:
        """Power with IEEE results at 0."""
        if base == 0 and exponent < 0:
            return math.inf
        if base < 0 and not float(exponent).is_integer():
            return math.nan
        try:
            return float(base**exponent)
        except OverflowError:
            return math.inf

    def function(self, name: str, value: float) -> float:
        """IEEE results outside the domain instead of exceptions."""
        return FUNCTIONS[name](value)

    def total(self, values: Sequence[float]) -> float:
        """Correctly rounded sum of finite values."""
        return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _log(value: float) -> float:
    if value > 0:
        return math.log(value)
    return -math.inf if value == 0 else math.nan


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": _exp,
    "log": _log,
    "tanh": math.tanh,
    "erf": math.erf,
    "sin": math.sin,
    "cos": math.cos,
    "Abs": abs,
    "sign": lambda value: math.nan if math.isnan(value) else float((value > 0) - (value < 0)),
}


@dataclass
class Symbolic:
    """SymPy expressions. Comparisons are decided at a sample point: one evaluation is one region of max and relu.

    Attributes:
        sample: a rational for every symbol.
    """

    sample: Mapping[sympy.Symbol, sympy.Rational] = field(default_factory=dict)

    def number(self, value: Any) -> sympy.Expr:
        """The number itself; a Python float is taken at its exact binary value."""
        finite = isinstance(value, float) and math.isfinite(value)
        return sympy.Rational(value) if finite else sympy.sympify(value)

    def add(self, *values: sympy.Expr) -> sympy.Expr:
        """SymPy sum."""
        return sympy.Add(*values)

    def multiply(self, *values: sympy.Expr) -> sympy.Expr:
        """SymPy product."""
        return sympy.Mul(*values)

    def power(self, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        """SymPy power."""
        return base**exponent

    def function(self, name: str, value: sympy.Expr) -> sympy.Expr:
        """The SymPy function of that name."""
        return getattr(sympy, name)(value)

    def total(self, values: Sequence[sympy.Expr]) -> sympy.Expr:
        """SymPy sum."""
        return sympy.Add(*values)

    def product(self, values: Sequence[sympy.Expr]) -> sympy.Expr:
        """SymPy product."""
        return sympy.Mul(*values)

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Decide at the sample point."""
        left, right = (sympy.sympify(side).xreplace(dict(self.sample)) for side in (left, right))
        return bool(RELATIONS[relation](left, right))


def uniform(seed: int, index: int) -> float:
    """The ``index``-th element of a seed's random field, in [0, 1): Philox4x32-10 as Triton computes it."""
    block, word = divmod(index, 4)
    counter = [block & 0xFFFFFFFF, block >> 32 & 0xFFFFFFFF, 0, 0]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (second >> 32) ^ counter[1] ^ key[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ counter[3] ^ key[1],
            first & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    bits = counter[word]
    signed = bits - (1 << 32) if bits >> 31 else bits
    return _single(_single(float(-signed - 1 if signed < 0 else signed)) * _single(4.6566127342e-10))


def _single(value: float) -> float:
    """Round to float32."""
    import struct

    return float(struct.unpack("f", struct.pack("f", value))[0])
