"""Rounding as the instructions say it: fused multiply-add with one rounding, bfloat16, flushing of subnormal numbers.

float32 and narrower types are computed in float64 and rounded to odd before the last rounding, which then equals one
rounding of the exact result (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE TC 57, 2008).
float64 uses error-free transformations of the same authors, and rational numbers where those could overflow.

Input: arrays. Output: arrays.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from svertka.codegen.ptx.state import Array

__all__ = [
    "bfloat16_bits",
    "bfloat16_values",
    "flushed",
    "fma_32",
    "fma_32_down",
    "fma_64",
    "fma_narrow",
    "odd_sum",
    "toward_zero_32",
]

SMALLEST = {np.dtype(np.float32): np.float32(2.0**-126), np.dtype(np.float64): np.float64(2.0**-1022)}
TIE_32, BELOW_32 = np.int64(1 << 28), np.int64((1 << 29) - 1)  # bits of a float64 below those of a float32
SPLITTER = np.float64(2**27 + 1)


def flushed(values: Array) -> Array:
    """Subnormal numbers replaced by zeros of their sign."""
    small = np.abs(values) < SMALLEST[values.dtype]
    return np.where(small, np.copysign(values.dtype.type(0), values), values) if small.any() else values


def _two_sum(left: Array, right: Array) -> tuple[Array, Array]:
    total = left + right
    back = total - left
    return total, (left - (total - back)) + (right - back)


def odd_sum(left: Array, right: Array) -> Array:
    """The sum of two float64, rounded to odd: what is not exact has an odd last bit."""
    total, rest = _two_sum(left, right)
    bits = total.view(np.int64)
    inexact = (rest != 0) & np.isfinite(rest) & ((bits & 1) == 0)
    if not inexact.any():
        return total
    away = np.signbit(rest) == np.signbit(total)
    return np.asarray(np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64))


def fma_32_down(left: Array, right: Array, addend: Array) -> Array:
    """Left * right + addend in float32, rounded toward negative infinity."""
    exact = odd_sum(left.astype(np.float64) * right, np.broadcast_to(addend.astype(np.float64), np.shape(left + right)))
    near = exact.astype(np.float32)
    return np.asarray(np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near))


def fma_32(left: Array, right: Array, addend: Array) -> Array:
    """Left * right + addend in float32 with one rounding."""
    product = left.astype(np.float64) * right  # exact
    total = product + addend
    doubtful = ((total.view(np.int64) & BELOW_32) == TIE_32) | (np.abs(total) < 2.0**-125)
    if doubtful.any():
        return odd_sum(product, addend.astype(np.float64)).astype(np.float32)
    return total.astype(np.float32)


def fma_narrow(left: Array, right: Array, addend: Array) -> Array:
    """Left * right + addend of float16 or bfloat16 numbers, given as float32, as float64 rounded to odd."""
    return odd_sum(left.astype(np.float64) * right, addend.astype(np.float64))


def _two_product(left: Array, right: Array) -> tuple[Array, Array]:
    def split(value: Array) -> tuple[Array, Array]:
        high = SPLITTER * value
        high = high - (high - value)
        return high, value - high

    product = left * right
    (a, b), (c, d) = split(left), split(right)
    return product, ((a * c - product) + a * d + b * c) + b * d


def fma_64(left: Array, right: Array, addend: Array) -> Array:
    """Left * right + addend in float64 with one rounding."""
    left, right, addend = np.broadcast_arrays(left, right, addend)
    high, low = _two_product(left, right)
    upper, lower = _two_sum(addend, low)
    top, rest = _two_sum(high, upper)
    result = np.where(np.isfinite(high + addend), top + odd_sum(lower, rest), left * right + addend)
    sizes = (np.abs(values) for values in (left, right, high, addend))
    extreme = np.zeros(result.shape, bool)
    for size in sizes:
        extreme |= (size > 2.0**900) | ((size < 2.0**-900) & (size != 0))
    extreme |= (high == 0) & (left != 0) & (right != 0)
    extreme &= np.isfinite(left) & np.isfinite(right) & np.isfinite(addend)
    for place in map(tuple, np.argwhere(extreme)):
        result[place] = _by_fractions(left[place], right[place], addend[place])
    return result


def _by_fractions(left: Any, right: Any, addend: Any) -> float:
    exact = Fraction(float(left)) * Fraction(float(right)) + Fraction(float(addend))
    if not exact:
        return float(left) * float(right) + float(addend)
    try:
        return exact.numerator / exact.denominator  # Python divides whole numbers with one rounding
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


def bfloat16_values(bits: Array) -> Array:
    """The float32 that 16 bits are as bfloat16."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def bfloat16_bits(values: Array) -> Array:
    """float32, or float64 that was rounded to odd, to the bits of the nearest bfloat16; ties to even; NaN is 0x7fff."""
    if values.dtype == np.float64:
        values = odd_32(values)
    bits = np.ascontiguousarray(values).view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint16(0x7FFF), nearest.astype(np.uint16))


def odd_32(values: Array) -> Array:
    """float64 to float32, rounded to odd."""
    near = toward_zero_32(values)
    bits = near.view(np.uint32)
    inexact = (near.astype(np.float64) != values) & np.isfinite(values)
    return np.where(inexact, bits | np.uint32(1), bits).view(np.float32)


def toward_zero_32(values: Array) -> Array:
    """float64 to float32, rounded toward zero."""
    near = values.astype(np.float32)
    larger = np.abs(near.astype(np.float64)) > np.abs(values)
    if not larger.any():
        return near
    return np.where(larger, (near.view(np.uint32) - np.uint32(1)).view(np.float32), near)
