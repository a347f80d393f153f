"""What ``cvt`` computes, by its full name.

Input: none. Output: ``CONVERSIONS``, a part of the arithmetic table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from svertka.codegen.ptx.rounding import bfloat16_bits, bfloat16_values, flushed, toward_zero_32
from svertka.codegen.ptx.state import Array
from svertka.codegen.ptx.types import DTYPES, Operation

__all__ = ["CONVERSIONS", "truncated_to_tf32"]

WHOLE = [f"{kind}{bits}" for kind in "su" for bits in (8, 16, 32, 64)]
ROUNDINGS: dict[str, Callable[[Array], Array]] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
CONVERSIONS: dict[str, Operation] = {}


def _cast(name: str) -> Callable[[Array], Array]:
    dtype = DTYPES[name]
    return lambda values: values.astype(dtype)


def _clamped(rounding: Callable[[Array], Array], name: str) -> Callable[[Array], Array]:
    """A float to a whole number: rounded, then clamped to the type; NaN is 0."""
    limits = np.iinfo(DTYPES[name])

    def function(values: Array) -> Array:
        rounded = rounding(values.astype(np.float64))
        low, high = float(limits.min), float(limits.max)
        inside = np.where(np.isnan(rounded), 0.0, np.clip(rounded, low, np.nextafter(high + 1, 0)))
        result = inside.astype(np.int64 if limits.min < 0 else np.uint64)
        result = np.where(rounded >= high, result.dtype.type(limits.max), result)
        return result.astype(DTYPES[name])

    return function


def truncated_to_tf32(values: Array) -> Array:
    """float32 with 10 fractional bits: what the matrix unit uses of its operand."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def _nearest_tf32(values: Array) -> Array:
    """float32 to 10 fractional bits, ties away from zero."""
    bits = values.view(np.uint32)
    near = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(values), near, values)


def _saturated(values: Array) -> Array:
    """Clamped to [0, 1]; NaN is 0."""
    return np.where(np.isnan(values), values.dtype.type(0), np.clip(values, 0, 1)).astype(values.dtype)


def _packed(narrow: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda high, low: narrow(low).astype(np.uint32) | (narrow(high).astype(np.uint32) << np.uint32(16))


def _half(values: Array) -> Array:
    return values.astype(np.float16).view(np.uint16)


def _fill() -> None:
    add = CONVERSIONS.__setitem__
    for source in WHOLE:
        for target in WHOLE:
            if source != target:
                add(f"cvt.{target}.{source}", Operation(target, (source,), _cast(target)))
        for target in ("f32", "f64"):
            add(f"cvt.rn.{target}.{source}", Operation(target, (source,), _cast(target)))
    for source in ("f32", "f64"):
        for name, rounding in ROUNDINGS.items():
            for target in ("s32", "u32", "s64", "u64"):
                add(f"cvt.{name}.{target}.{source}", Operation(target, (source,), _clamped(rounding, target)))
            add(f"cvt.{name}.{source}.{source}", Operation(source, (source,), rounding))
    add("cvt.rn.f32.f64", Operation("f32", ("f64",), _cast("f32")))
    add("cvt.rz.f32.f64", Operation("f32", ("f64",), toward_zero_32))
    add("cvt.f64.f32", Operation("f64", ("f32",), _cast("f64")))
    add("cvt.ftz.f64.f32", Operation("f64", ("f32",), lambda x: flushed(x).astype(np.float64)))
    add("cvt.f32.f16", Operation("f32", ("f16",), _cast("f32")))
    add("cvt.f64.f16", Operation("f64", ("f16",), _cast("f64")))
    add("cvt.f32.bf16", Operation("f32", ("bf16",), bfloat16_values))
    add("cvt.rn.f16.f32", Operation("b16", ("f32",), _half))
    add("cvt.rn.f16.f64", Operation("b16", ("f64",), _half))
    add("cvt.rn.bf16.f32", Operation("b16", ("f32",), bfloat16_bits))
    add("cvt.rn.f16x2.f32", Operation("b32", ("f32", "f32"), _packed(_half)))
    add("cvt.rn.bf16x2.f32", Operation("b32", ("f32", "f32"), _packed(bfloat16_bits)))
    add("cvt.sat.f32.f32", Operation("f32", ("f32",), _saturated))
    add("cvt.ftz.sat.f32.f32", Operation("f32", ("f32",), lambda x: _saturated(flushed(x))))
    add("cvt.rna.tf32.f32", Operation("f32", ("f32",), _nearest_tf32))


_fill()
