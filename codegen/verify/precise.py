"""A formula's own value where float64 would overflow: numbers of 256 bits with unlimited exponents.

The formula and its adjoint are evaluated as written, without shifted exponents. So the generator's treatment of
exponentials is checked by code that does not use it. At any magnitude, a rounding is 2**-256 of a result, which is
negligible for the bound of every format in use.

Input: scalars of ``evaluate``. Output: mpmath's numbers, with IEEE's infinities and NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mpmath
import torch

from svertka.spec import Array, Layer, evaluate
from svertka.spec.arithmetic import RELATIONS
from svertka.spec.evaluate import shape_of

__all__ = ["Precise", "precise_values"]

BITS = 256
_NUMBERS = mpmath.MPContext()
_NUMBERS.prec = BITS


class Precise:
    """Arithmetic of ``BITS`` bits without overflow or underflow."""

    def number(self, value: Any) -> Any:
        """A number of the formula, rounded to ``BITS`` bits."""
        if getattr(value, "is_Rational", False):
            return _NUMBERS.mpf(int(value.p)) / int(value.q)
        if getattr(value, "is_number", False) and getattr(value, "is_finite", False):
            return _NUMBERS.mpf(value.evalf(BITS)._mpf_)
        return _NUMBERS.mpf(float(value))

    def add(self, *values: Any) -> Any:
        """Sum of a few values."""
        return sum(values[1:], values[0])

    def multiply(self, *values: Any) -> Any:
        """Product of a few values."""
        return math.prod(values[1:], start=values[0])

    def total(self, values: Sequence[Any]) -> Any:
        """Sum of a reduction."""
        return sum(values, _NUMBERS.zero)

    def product(self, values: Sequence[Any]) -> Any:
        """Product of a reduction."""
        return math.prod(values, start=_NUMBERS.one)

    def power(self, base: Any, exponent: Any) -> Any:
        """Power with IEEE results at 0 and outside the domain."""
        if _NUMBERS.isnan(base):
            return _NUMBERS.one if exponent == 0 else base
        if base == 0 and exponent < 0:
            return _NUMBERS.inf
        if _NUMBERS.isinf(base):
            return _infinite_power(base, exponent)
        if base < 0 and not _NUMBERS.isint(exponent):
            return _NUMBERS.nan
        return base ** (int(exponent) if _NUMBERS.isint(exponent) else exponent)

    def function(self, name: str, value: Any) -> Any:
        """A function of one argument, with IEEE results outside its domain.

        Raises:
            OverflowError: exp of +inf; that of every finite number is finite here.
        """
        if _NUMBERS.isnan(value):
            return value
        if name == "exp" and value == _NUMBERS.inf:
            raise OverflowError
        if name == "Abs":
            return abs(value)
        if name == "sign":
            return _NUMBERS.mpf((value > 0) - (value < 0))
        if name == "log" and value <= 0:
            return -_NUMBERS.inf if value == 0 else _NUMBERS.nan
        if name in ("sin", "cos") and _NUMBERS.isinf(value):
            return _NUMBERS.nan
        return getattr(_NUMBERS, name)(value)

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        """Whether ``left relation right`` holds; with NaN only != does."""
        return bool(RELATIONS[relation](left, right))


def _infinite_power(base: Any, exponent: Any) -> Any:
    if exponent == 0:
        return _NUMBERS.one
    if exponent < 0:
        return _NUMBERS.zero
    odd = _NUMBERS.isint(exponent) and int(exponent) % 2 == 1
    return base if odd else _NUMBERS.inf


def precise_values(layer: Layer, tensors: dict[str, torch.Tensor], sizes: dict[str, Any]) -> dict[str, torch.Tensor]:
    """All outputs of a layer, rounded once to float64 or as int64.

    Args:
        layer: the layer.
        tensors: its inputs by name, float64 or int64, in the shapes of the formula's axes; one with a default may be
            left out.
        sizes: all extents and parameters by name.

    Raises:
        OverflowError: an exponent is +inf.
    """
    arrays = {}
    for tensor in layer.inputs:
        if tensor.name in tensors:
            given = tensors[tensor.name].reshape(-1).tolist()
            values = given if tensor.kind == "integer" else [_NUMBERS.mpf(value) for value in given]
            arrays[tensor.name] = Array(shape_of(tensor, sizes), values)
    found = evaluate(layer, arrays, sizes, Precise())
    kinds = {tensor.name: tensor.kind for tensor in layer.tensors.values()}
    return {
        name: torch.tensor(
            [value if kinds[name] == "integer" else float(value) for value in array.values],
            dtype=torch.int64 if kinds[name] == "integer" else torch.float64,
        ).reshape(array.shape)
        for name, array in found.items()
    }
