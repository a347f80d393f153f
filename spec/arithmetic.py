"""Arithmetics to evaluate a formula in: rationals, SymPy symbols, float64, and values with error bounds.

An arithmetic turns numbers of the formula into its own values and combines them. Sums arrive whole, as a
list, so that a bound can hold for every order of summation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import sympy

__all__ = ["Arithmetic", "Bounded", "Float", "Format", "Rational", "RunningError", "Symbolic", "uniform"]


class Arithmetic(Protocol):
    """What ``evaluate`` asks of an arithmetic."""

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

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Whether ``left relation right`` holds; relation is one of < <= > >= == !=."""


_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class _Ordered:
    """What arithmetics over ordinary Python numbers share."""

    def add(self, *values: Any) -> Any:
        return sum(values[1:], values[0])

    def multiply(self, *values: Any) -> Any:
        return math.prod(values[1:], start=values[0])

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        return bool(_RELATIONS[relation](left, right))


class Rational(_Ordered):
    """Exact rationals. A transcendental function is an error, not an approximation."""

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
        return _FLOAT_FUNCTIONS[name](value)

    def total(self, values: Sequence[float]) -> float:
        """Correctly rounded sum of finite values."""
        return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


_FLOAT = Float()


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _log(value: float) -> float:
    if value > 0:
        return math.log(value)
    return -math.inf if value == 0 else math.nan


_FLOAT_FUNCTIONS: dict[str, Callable[[float], float]] = {
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
    """SymPy expressions. Comparisons are decided at a sample point: one region of max and relu at a time.

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

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Decide at the sample point."""
        left, right = (sympy.sympify(side).xreplace(dict(self.sample)) for side in (left, right))
        return bool(_RELATIONS[relation](left, right))


@dataclass(frozen=True)
class Format:
    """A floating-point format: storage and accumulation.

    Attributes:
        name: torch's name, for example ``"bfloat16"``.
        storage: unit roundoff of stored values.
        compute: unit roundoff of the arithmetic between load and store.
        tiny: smallest positive normal number of the storage format.
        compute_tiny: smallest positive normal number of the arithmetic.
    """

    name: str
    storage: float
    compute: float
    tiny: float
    compute_tiny: float


FORMATS = {
    "float64": Format("float64", 2.0**-53, 2.0**-53, 2.0**-1022, 2.0**-1022),
    "float32": Format("float32", 2.0**-24, 2.0**-24, 2.0**-126, 2.0**-126),
    "float16": Format("float16", 2.0**-11, 2.0**-24, 2.0**-14, 2.0**-126),
    "bfloat16": Format("bfloat16", 2.0**-8, 2.0**-24, 2.0**-126, 2.0**-126),
}


@dataclass(frozen=True, slots=True)
class Bounded:
    """A float64 value and a bound of what any rounded evaluation of it may differ by."""

    value: float
    error: float

    @property
    def size(self) -> float:
        """Largest magnitude that a rounded evaluation may have."""
        return abs(self.value) + self.error


class RunningError:
    """Values with rigorous running error bounds, for any order of sums.

    Higham, Accuracy and Stability of Numerical Algorithms, section 3.3. Every operation adds
    ``unit * |result|`` for its own rounding and carries its operands' errors through its derivative, taken at
    the worst point of their intervals. Elementary functions are granted ``ULPS`` units, the largest error
    that CUDA's and LLVM's documentation admit for the functions in use.
    """

    ULPS = 4.0

    def __init__(self, target: Format) -> None:
        self.format = target
        self.unit = target.compute * (1 + 2.0**-20)

    def _rounded(self, value: float, error: float, units: float = 1.0) -> Bounded:
        own = units * self.unit * (abs(value) + error) + self.format.compute_tiny * self.format.compute
        return Bounded(value, error + own if not math.isnan(error) else math.inf)

    def exact(self, value: float) -> Bounded:
        """A stored input: it is what it is."""
        return Bounded(float(value), 0.0)

    def number(self, value: Any) -> Bounded:
        """A constant, rounded to the arithmetic unless it is a small integer or a dyadic number."""
        exact = Fraction(int(value.p), int(value.q)) if getattr(value, "is_Rational", False) else Fraction(float(value))
        nearest = float(exact)
        dyadic = Fraction(nearest) == exact and exact.numerator.bit_length() <= 24
        return Bounded(nearest, 0.0 if dyadic else self.unit * abs(nearest))

    def add(self, *values: Bounded) -> Bounded:
        """Sum of a few values in any order."""
        return self.total(values)

    def total(self, values: Sequence[Bounded]) -> Bounded:
        """Sum in any order: gamma_{n-1} times the sum of magnitudes (Higham, equation 4.4)."""
        value = _FLOAT.total([v.value for v in values])
        carried = math.fsum(v.error for v in values) if values else 0.0
        steps = max(len(values) - 1, 0) * self.unit
        gamma = steps / (1 - steps)
        return Bounded(value, carried + gamma * math.fsum(v.size for v in values))

    def multiply(self, *values: Bounded) -> Bounded:
        """Product from left to right."""
        result = values[0]
        for other in values[1:]:
            value = result.value * other.value
            carried = abs(result.value) * other.error + result.error * other.size
            result = Bounded(value, 0.0) if value == 0 and carried == 0 else self._rounded(value, carried)
        return result

    def power(self, base: Bounded, exponent: Bounded) -> Bounded:
        """``b ** e`` as exp2(e * log2(b)); roots and small integers by their own instructions."""
        e = exponent.value
        value = _FLOAT.power(base.value, e)
        if e in (2.0, 3.0):
            return self.multiply(*[base] * int(e))
        low = max(abs(base.value) - base.error, 0.0)
        if low == 0.0 and base.error:
            return Bounded(value, math.inf)
        slope = abs(e) * max(low ** (e - 1), base.size ** (e - 1)) if base.size else 0.0
        carried = slope * base.error
        if e in (-1.0, 0.5, -0.5, 1.0):
            return self._rounded(value, carried, self.ULPS)
        logarithm = abs(math.log2(base.size)) if base.size else 0.0
        sharpness = exponent.error * abs(math.log(base.size)) if base.size else 0.0
        units = 2 * self.ULPS + abs(e) * (logarithm + 1) * self.ULPS
        return self._rounded(value, carried + abs(value) * sharpness, units)

    def function(self, name: str, value: Bounded) -> Bounded:
        """Elementary function: mean value theorem over the argument's interval, plus its own error."""
        result = _FLOAT.function(name, value.value)
        return self._rounded(result, _slope(name, value) * value.error, self.ULPS * _spread(name, value, result))

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Compare the values; where the intervals overlap the formula's branch is taken."""
        left, right = (side.value if isinstance(side, Bounded) else side for side in (left, right))
        return bool(_RELATIONS[relation](left, right))

    def stored(self, value: Bounded) -> Bounded:
        """Rounding of a result to the storage format."""
        own = self.format.storage * (1 + 2.0**-8) * value.size + self.format.tiny * self.format.storage
        return Bounded(value.value, value.error + own)


def _slope(name: str, argument: Bounded) -> float:
    """Largest derivative of a function over an interval."""
    if argument.error == 0:
        return 0.0
    if name == "exp":
        return _exp(argument.value + argument.error)
    if name == "log":
        low = argument.value - argument.error
        return 1 / low if low > 0 else math.inf
    return {"erf": 2 / math.sqrt(math.pi), "sign": 0.0}.get(name, 1.0)


def _spread(name: str, argument: Bounded, result: float) -> float:
    """How many of the own units a function is granted: exp by exp2 also scales its argument."""
    if name == "exp":
        return 1 + abs(argument.value) / ULPS_OF_EXP_ARGUMENT
    if name == "log":
        return 1 + (1 / abs(result) if result else 0.0)
    return 0.0 if name in ("Abs", "sign") else 1.0


ULPS_OF_EXP_ARGUMENT = 2.0


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
