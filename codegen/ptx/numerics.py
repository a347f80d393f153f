"""What the matrix unit computes.

For formats of up to 32 bits: the products of one instruction and the accumulator are aligned to the largest exponent,
keep 25 fractional bits, and are truncated toward zero, as is their sum to float32. That is Hopper's arithmetic as
measured (Khattak and Mikaitis, "Accurate models of NVIDIA tensor cores", 2025), and exact for whole numbers. sm_80
keeps a bit less and takes shorter blocks; the machine uses one model for both. float64 is a chain of fused
multiply-adds.

Input: matrices of many warps. Output: matrices.
"""

from __future__ import annotations

import numpy as np

from svertka.codegen.ptx.rounding import fma_64, toward_zero_32
from svertka.codegen.ptx.state import Array

__all__ = ["product"]

FRACTION = 25
WHOLE = 1 << FRACTION  # below it no exponent is larger than the number of fractional bits
NOTHING = -(10**6)  # the exponent of zero: smaller than every other


def product(left: Array, right: Array, addend: Array) -> Array:
    """Left @ right + addend.

    Args:
        left: [..., rows, inner], float32 values that the operand's format holds, or float64.
        right: [..., inner, columns], likewise.
        addend: [..., rows, columns], float32 or float64.
    """
    if addend.dtype == np.float64:
        return _in_float64(left, right, addend)
    wide = [part.astype(np.float64) for part in (left, right, addend)]
    if _whole(*wide):
        return toward_zero_32(wide[0] @ wide[1] + wide[2])
    scale = np.ldexp(1.0, FRACTION - _largest_exponent(*wide))
    total, one = np.trunc(wide[2] * scale), np.empty_like(wide[2])
    plain = wide[2].copy()
    finite = all(np.isfinite(part).all() for part in wide)
    for k in range(left.shape[-1]):
        np.multiply(wide[0][..., :, k, None], wide[1][..., None, k, :], out=one)
        if not finite:
            plain += one
        one *= scale
        total += np.trunc(one, out=one)
    result = toward_zero_32(total / scale)
    return result if finite else np.where(np.isfinite(plain), result, plain.astype(np.float32))


def _whole(left: Array, right: Array, addend: Array) -> bool:
    """Whether all are whole numbers so small that aligning them cuts nothing off; float64 sums such exactly."""
    largest = [np.abs(part).max(initial=0.0) for part in (left, right, addend)]
    small = largest[0] * largest[1] < WHOLE and largest[2] < WHOLE  # false for infinities and NaN
    return bool(small) and all((np.trunc(part) == part).all() for part in (left, right, addend))


def _exponents(values: Array) -> Array:
    exponents = np.frexp(values)[1] - 1
    return np.where((values == 0) | ~np.isfinite(values), NOTHING, exponents)


def _largest_exponent(left: Array, right: Array, addend: Array) -> Array:
    """The largest exponent among products (the sum of their factors') and addend; 0 where all are 0."""
    rows, columns = _exponents(left), _exponents(right)
    top = _exponents(addend)
    for k in range(left.shape[-1]):
        np.maximum(top, rows[..., :, k, None] + columns[..., None, k, :], out=top)
    return np.where(top <= NOTHING // 2, 0, np.maximum(top, -900))


def _in_float64(left: Array, right: Array, addend: Array) -> Array:
    total = addend
    for k in range(left.shape[-1]):
        total = fma_64(left[..., :, k, None], right[..., None, k, :], total)
    return total
