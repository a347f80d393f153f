"""Values with a rigorous bound of their rounding error.

Higham, Accuracy and Stability of Numerical Algorithms, section 3.3. Every operation adds ``unit * |result|`` for its
own rounding and propagates its operands' errors through its derivative, taken at the worst point of their intervals.
Sums hold for every order. The formulas are written once for floats and for whole tensors: the operations that they need
are listed in ``Numbers``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

from svertka.spec.arithmetic import FUNCTIONS, RELATIONS, Float

__all__ = ["FORMATS", "Bounded", "Format", "Numbers", "RunningError", "on_matrix_unit"]


SIGNIFICAND = 24  # bits of float32
LARGEST = 2.0**128 - 2.0**104  # float32


@dataclass(frozen=True)
class Format:
    """A floating-point format: storage and accumulation.

    Attributes:
        name: torch's name, for example ``"bfloat16"``.
        storage: unit roundoff of stored values.
        compute: unit roundoff of the arithmetic between load and store.
        tiny: smallest positive normal number of the storage format.
        largest: largest number of the storage format; what is larger is stored as infinity.
        compute_tiny: smallest positive normal number of the arithmetic.
        compute_largest: largest number of the arithmetic; of the error of a larger result nothing is known.
        factor: relative error of each factor before the multiplication.
        addition: relative error of each addition in a sum, if it is not ``compute``.
    """

    name: str
    storage: float
    compute: float
    tiny: float
    largest: float
    compute_tiny: float
    compute_largest: float
    factor: float = 0.0
    addition: float = 0.0


FORMATS = {
    "float64": Format("float64", 2.0**-53, 2.0**-53, 2.0**-1022, sys.float_info.max, 2.0**-1022, sys.float_info.max),
    "float32": Format("float32", 2.0**-24, 2.0**-24, 2.0**-126, LARGEST, 2.0**-126, LARGEST),
    "float16": Format("float16", 2.0**-11, 2.0**-24, 2.0**-14, 65504.0, 2.0**-126, LARGEST),
    "bfloat16": Format("bfloat16", 2.0**-8, 2.0**-24, 2.0**-126, 2.0**128 - 2.0**120, 2.0**-126, LARGEST),
}


def on_matrix_unit(storage: Format, tf32: bool = False) -> Format:
    """The arithmetic of Hopper's matrix unit with a storage format.

    Products of a block are aligned to the largest exponent, keep 25 fractional bits and are truncated, as is their sum
    when it joins the accumulator. With M the sum of magnitudes, each addition errs by less than 2**-25 M for either
    operand and 2**-23 M for the result. With ``tf32`` the factors were truncated to 10 fractional bits before.
    """
    if storage.compute != FORMATS["float32"].compute:
        return storage  # float64 is not truncated
    return replace(storage, addition=2 * 2.0**-25 + 2.0**-23, factor=2.0**-10 if tf32 else 0.0)


class Numbers(Protocol):
    """What the error formulas need of floats, or of tensors of them, in addition to + - * and comparison."""

    def choose(self, condition: Any, if_true: Any, if_false: Any) -> Any:
        """One of two values."""

    def larger(self, left: Any, right: Any) -> Any:
        """The larger of two."""

    def power(self, base: Any, exponent: Any) -> Any:
        """Power with IEEE results at 0."""

    def function(self, name: str, value: Any) -> Any:
        """exp, log, tanh, erf, sin, cos, Abs or sign, with IEEE results outside the domain."""


class Scalars:
    """Floats."""

    def choose(self, condition: bool, if_true: float, if_false: float) -> float:
        """One of two values."""
        return if_true if condition else if_false

    def larger(self, left: float, right: float) -> float:
        """The larger of two."""
        return max(left, right)

    def power(self, base: float, exponent: float) -> float:
        """Power with IEEE results at 0."""
        return Float().power(base, exponent)

    def function(self, name: str, value: float) -> float:
        """A function of one number."""
        return FUNCTIONS[name](value)


@dataclass(frozen=True, slots=True)
class Bounded:
    """A float64 value, or a tensor of them, and a bound of the difference to any rounded evaluation."""

    value: Any
    error: Any

    @property
    def size(self) -> Any:
        """Largest magnitude that a rounded evaluation may have."""
        return abs(self.value) + self.error


class RunningError:
    """Arithmetic on ``Bounded`` values.

    Elementary functions may have an error of ``ULPS`` units, the largest error that CUDA's and LLVM's documentation
    states for the functions in use. Where the target computes in float64, as the bound itself does, errors count twice:
    once for the kernel's and once for the bound's own value.

    Args:
        target: the format of the kernel.
        numbers: the representation of the values.
    """

    ULPS = 4.0

    def __init__(self, target: Format, numbers: Numbers | None = None) -> None:
        self.format = target
        self.numbers: Numbers = Scalars() if numbers is None else numbers
        slack = 2.0 if target.compute == FORMATS["float64"].compute else 1 + 2.0**-20
        self.unit = target.compute * slack
        self.addition = max(target.addition, target.compute) * slack

    def rounded(self, value: Any, error: Any, units: Any = 1.0) -> Bounded:
        """A result with the error of its operands and that of its own rounding."""
        own = units * self.unit * (abs(value) + error) + self.format.compute_tiny * self.unit  # the last: underflow
        total = error + own
        beyond = (total != total) | (abs(value) + total > self.format.compute_largest)
        return Bounded(value, self.numbers.choose(beyond, math.inf, total))

    def exact(self, value: Any) -> Bounded:
        """A stored input: its error is 0."""
        return Bounded(value, 0.0)

    def number(self, value: Any) -> Bounded:
        """A constant, rounded to the arithmetic unless it is a small integer or a dyadic number."""
        nearest, exact = _nearest(value)
        return Bounded(nearest, 0.0 if exact else self.unit * abs(nearest))

    def add(self, *values: Bounded) -> Bounded:
        """Sum of a few values in any order."""
        value, carried, sizes = values[0].value, values[0].error, values[0].size
        for other in values[1:]:
            value, carried, sizes = value + other.value, carried + other.error, sizes + other.size
        return self.summed(value, carried, sizes, len(values), self.unit)

    def total(self, values: Sequence[Bounded]) -> Bounded:
        """Sum of a reduction, in any order."""
        value = Float().total([v.value for v in values])
        carried, sizes = math.fsum(v.error for v in values), math.fsum(v.size for v in values)
        return self.summed(value, carried, sizes, len(values), self.addition)

    def summed(self, value: Any, carried: Any, sizes: Any, count: Any, unit: float) -> Bounded:
        """A sum of ``count`` values: gamma_{n-1} times the sum of magnitudes (Higham, equation 4.4).

        A sum that starts at an accumulator has one more addition.
        """
        additions = count - 1 if unit == self.unit else count
        steps = self.numbers.larger(additions * 1.0, 0.0 * additions) * unit
        return Bounded(value, carried + steps / (1 - steps) * sizes)

    def rescaled(self, value: Any, carried: Any, sizes: Any, count: Any, weights: Any) -> Bounded:
        """A sum of ``count`` terms ``w exp(x - M)``, M the largest x, whose maximum is not known before the sum.

        What was summed is multiplied by ``exp(m - m')`` whenever the largest x so far rises from m to m'. These
        distances and that of x to its first maximum add up to ``M - x``: rounded exponents, and what grows with them,
        cost a term no more than the one exponential that ``carried`` counts. Besides, every rescaling has an
        exponential of ``ULPS`` units and a multiplication. It comes with an addition, so that a term meets fewer than
        ``count``. Each may underflow, before it is multiplied by what was summed: at most the sum of the magnitudes of
        the weights, which must not overflow.
        """
        found = self.summed(value, carried, sizes, count, self.addition + (self.ULPS + 1) * self.unit)
        error = found.error + 2.0 * count * (weights + 1.0) * self.format.compute_tiny * self.unit
        beyond = (error != error) | (2.0 * weights > self.format.compute_largest)
        return Bounded(value, self.numbers.choose(beyond, math.inf, error))

    def product(self, values: Sequence[Bounded]) -> Bounded:
        """Product of a reduction, in any order: gamma_n times the magnitude, and what underflows on the way.

        A part of the product that underflows errs by ``compute_tiny`` units, and is multiplied by factors that are
        together at most ``largest``. So large may a part of the product be, too.
        """
        value, carried, size, largest = (1.0, 0.0, 1.0, 1.0)
        for other in values:
            value, carried = value * other.value, carried * other.size + abs(value) * other.error
            size, largest = size * other.size, largest * self.numbers.larger(other.size, 0.0 * other.size + 1.0)
        steps = len(values) * self.unit
        error = carried + (steps * size + len(values) * self.format.compute_tiny * self.unit * largest) / (1 - steps)
        beyond = (error != error) | (largest + error > self.format.compute_largest)
        return Bounded(value, self.numbers.choose(beyond, math.inf, error))

    def multiply(self, *values: Bounded) -> Bounded:
        """Product from left to right."""
        result = values[0]
        for other in values[1:]:
            left, right = self._factor(result), self._factor(other)
            value = left.value * right.value
            carried = abs(left.value) * right.error + left.error * right.size
            known = self.rounded(value, carried)
            zero = ((left.size == 0) | (right.size == 0)) & (carried == 0)
            result = Bounded(value, self.numbers.choose(zero, 0.0 * known.error, known.error))
        return result

    def _factor(self, value: Bounded) -> Bounded:
        return Bounded(value.value, value.error + self.format.factor * value.size) if self.format.factor else value

    def power(self, base: Bounded, exponent: Bounded) -> Bounded:
        """``b ** e`` for a number e of the formula; roots and small integer powers use their own instructions."""
        e = exponent.value
        if isinstance(e, float) and e in (2.0, 3.0):
            return self.multiply(*[base] * int(e))
        if isinstance(e, float) and e in (-1.0, 0.5, -0.5, 1.0):
            value, carried = self._raised(base, e)
            return self.rounded(value, carried, self.ULPS)
        return self.power_of_any(base, exponent)

    def power_of_any(self, base: Bounded, exponent: Bounded) -> Bounded:
        """``b ** e`` as exp2(e * log2(b)), where e is a value that a call has."""
        e, numbers = exponent.value, self.numbers
        value, carried = self._raised(base, e)
        logarithm = abs(numbers.function("log", numbers.choose(base.size > 0, base.size, 1.0 + 0.0 * base.size)))
        units = 2 * self.ULPS + abs(e) * (logarithm / math.log(2) + 1) * self.ULPS
        return self.rounded(value, carried + abs(value) * exponent.error * logarithm, units)

    def _raised(self, base: Bounded, e: Any) -> tuple[Any, Any]:
        """``b ** e``, and what of the base's error it carries."""
        numbers = self.numbers
        value = numbers.power(base.value, e)
        low = numbers.larger(abs(base.value) - base.error, 0.0 * base.size)
        slope = abs(e) * numbers.larger(numbers.power(low, e - 1.0), numbers.power(base.size, e - 1.0))
        carried = numbers.choose(base.error == 0, 0.0 * base.size, slope * base.error)
        return value, numbers.choose((low == 0) & (base.error != 0), math.inf, carried)

    def function(self, name: str, value: Bounded) -> Bounded:
        """Elementary function: mean value theorem over the argument's interval, plus its own error."""
        result = self.numbers.function(name, value.value)
        if name in ("Abs", "sign"):
            known = value.error < math.inf
            return Bounded(result, value.error if name == "Abs" else self.numbers.choose(known, 0.0, math.inf))
        carried = self.numbers.choose(value.error == 0, 0.0 * value.error, self._slope(name, value) * value.error)
        return self.rounded(result, carried, self.ULPS * self._spread(name, value, abs(result) + carried))

    def _slope(self, name: str, argument: Bounded) -> Any:
        """Largest derivative of a function over an interval."""
        if name == "exp":
            return self.numbers.function("exp", argument.value + argument.error)
        if name == "log":
            low = argument.value - argument.error
            return self.numbers.power(self.numbers.larger(low, 0.0 * abs(low)), -1.0)
        return 2 / math.sqrt(math.pi) if name == "erf" else 1.0

    def _spread(self, name: str, argument: Bounded, size: Any) -> Any:
        """Error of a function in units of the arithmetic: exp is computed by exp2, which also scales its argument."""
        if name == "exp":
            return 1 + abs(argument.value) / ULPS_OF_EXP_ARGUMENT
        if name == "log":  # near 1 its error is absolute
            known = self.numbers.choose(size == 0, 1.0 + 0.0 * size, size)
            return 1 + self.numbers.choose(size == 0, 0.0 * known, 1.0 / known)
        if name == "tanh":
            return SPREAD_OF_TANH
        return 1.0

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Compare the values; where the intervals overlap the formula's branch is taken."""
        left, right = (side.value if isinstance(side, Bounded) else side for side in (left, right))
        return bool(RELATIONS[relation](left, right))

    def stored(self, value: Bounded) -> Bounded:
        """Rounding of a result to the storage format."""
        own = self.format.storage * (1 + 2.0**-8) * value.size + self.format.tiny * self.format.storage
        beyond = abs(value.value) - value.error - own > self.format.largest
        found = self.numbers.choose(beyond, math.inf * value.value, value.value)
        return Bounded(found, self.numbers.choose(beyond, 0.0, value.error + own))


ULPS_OF_EXP_ARGUMENT = 2.0
SPREAD_OF_TANH = 3.5
"""``(1 - e) / (1 + e)`` with e = exp(-2 x), from x = 0.33 on: e errs by up to 1.33 ULPS there, which the difference
enlarges by e / (1 - e) = 1.07 and the sum by e / (1 + e) = 0.34; two roundings and a division of 4 units."""


def _nearest(value: Any) -> tuple[float, bool]:
    """A number of a formula as float64, and whether float32 holds it exactly."""
    if not getattr(value, "is_Rational", False):
        number = float(value)
        return number, not math.isfinite(number) or _is_short(Fraction(number))
    exact = Fraction(int(value.p), int(value.q))
    return float(exact), Fraction(float(exact)) == exact and _is_short(exact)


def _is_short(number: Fraction) -> bool:
    """Whether a dyadic number has at most as many significant bits as float32."""
    whole = abs(number.numerator)
    return (whole // max(whole & -whole, 1)).bit_length() <= SIGNIFICAND
