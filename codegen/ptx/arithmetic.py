"""What every arithmetic instruction computes: one table from an instruction's full name to its function and types.

Input: an instruction's name. Output: ``Operation``, or nothing where it is not in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from svertka.codegen.ptx.approximations import APPROXIMATIONS, divided, gross_reciprocal
from svertka.codegen.ptx.conversions import CONVERSIONS
from svertka.codegen.ptx.rounding import (
    bfloat16_bits,
    bfloat16_values,
    flushed,
    fma_32,
    fma_32_down,
    fma_64,
    fma_narrow,
)
from svertka.codegen.ptx.state import Array
from svertka.codegen.ptx.types import DTYPES, Operation

__all__ = ["TABLE"]

Function = Callable[..., Array]
TABLE: dict[str, Operation] = dict(CONVERSIONS)
INTEGERS = ("s16", "u16", "s32", "u32", "s64", "u64")
DOUBLE = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}


def _add(name: str, result: str, sources: tuple[str, ...], function: Function) -> None:
    TABLE[name] = Operation(result, sources, function)


def _quotient(left: Array, right: Array) -> Array:
    """Division toward zero; by zero all bits are set (the documentation leaves it open)."""
    quotient = left // right
    if left.dtype.kind == "i":
        inexact = quotient * right != left
        quotient = quotient + (inexact & ((left ^ right) < 0))
    ones = left.dtype.type(0) - left.dtype.type(1)
    return np.asarray(np.where(right == 0, ones, quotient), left.dtype)


def _remainder(left: Array, right: Array) -> Array:
    return np.asarray(left - _quotient(left, right) * right)


def _high(left: Array, right: Array) -> Array:
    """The upper half of a product."""
    kind, size = left.dtype.kind, left.dtype.itemsize
    if size < 8:
        wide = np.dtype(f"{kind}{2 * size}")
        return np.asarray((left.astype(wide) * right.astype(wide)) >> wide.type(8 * size), left.dtype)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b = left.view(np.uint64), right.view(np.uint64)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    high = a1 * b1 + (middle >> half) + (((middle & low) + a0 * b1) >> half)
    if kind == "i":
        high = high - np.where(left < 0, b, np.uint64(0)) - np.where(right < 0, a, np.uint64(0))
    return np.asarray(high.view(left.dtype))


def _shifted(shift: Callable[[Array, Array], Array]) -> Function:
    """A shift by up to the width: farther shifts give what a shift by one bit at a time would."""

    def function(values: Array, distance: Array) -> Array:
        bits = np.uint32(8 * values.dtype.itemsize)
        near = shift(values, np.minimum(distance, bits - np.uint32(1)).astype(values.dtype))
        if values.dtype.kind == "i":
            return near
        return np.where(distance >= bits, values.dtype.type(0), near)

    return function


def _extracted(values: Array, start: Array, length: Array) -> Array:
    """A field of bits; a signed one takes its sign from its last bit."""
    bits = 8 * values.dtype.itemsize
    begin, size = (start & np.uint32(0xFF)).astype(np.int64), (length & np.uint32(0xFF)).astype(np.int64)
    unsigned = values.view(f"u{values.dtype.itemsize}")
    field = np.where(begin < bits, unsigned >> np.minimum(begin, bits - 1).astype(unsigned.dtype), 0)
    kept = np.where(size < bits, (1 << np.minimum(size, bits - 1)) - 1, -1).astype(unsigned.dtype)
    field = (field & kept).astype(unsigned.dtype)
    if values.dtype.kind == "u":
        return np.asarray(field)
    last = np.minimum(begin + size - 1, bits - 1)
    sign = (unsigned >> np.maximum(last, 0).astype(unsigned.dtype)) & unsigned.dtype.type(1)
    signed = np.where((sign == 1) & (size > 0), field | ~kept, field).astype(unsigned.dtype)
    return np.asarray(signed.view(values.dtype))


def _permuted(left: Array, right: Array, selector: Array) -> Array:
    """``prmt``: four bytes chosen from eight."""
    both = left.astype(np.uint64) | (right.astype(np.uint64) << np.uint64(32))
    result = np.zeros(1, np.uint32)
    for place in range(4):
        choice = (selector >> np.uint32(4 * place)) & np.uint32(0xF)
        byte = ((both >> ((choice & np.uint32(7)) * np.uint32(8)).astype(np.uint64)) & np.uint64(0xFF)).astype(
            np.uint32
        )
        sign = np.where(byte & np.uint32(0x80), np.uint32(0xFF), np.uint32(0))
        result = result | (np.where(choice & np.uint32(8), sign, byte) << np.uint32(8 * place)).astype(np.uint32)
    return result


def _logic(a: Array, b: Array, c: Array, table: Array) -> Array:
    """``lop3``: any function of three bits."""
    result = np.zeros(1, np.uint32)
    for row in range(8):
        term = np.full(1, 0xFFFFFFFF, np.uint32)
        for bit, operand in ((4, a), (2, b), (1, c)):
            term = term & (operand if row & bit else ~operand)
        result = result | np.where((table >> np.uint32(row)) & np.uint32(1), term, np.uint32(0))
    return result


def _funnel(left: bool) -> Function:
    def function(low: Array, high: Array, distance: Array) -> Array:
        both = low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))
        by = (distance & np.uint32(31)).astype(np.uint64)
        return ((both << by) >> np.uint64(32) if left else both >> by).astype(np.uint32)

    return function


def _whole_numbers() -> None:
    for name in INTEGERS:
        bits = name[1:]
        _add(f"add.{name}", name, (name, name), lambda a, b: a + b)
        _add(f"sub.{name}", name, (name, name), lambda a, b: a - b)
        _add(f"mul.lo.{name}", name, (name, name), lambda a, b: a * b)
        _add(f"mad.lo.{name}", name, (name, name, name), lambda a, b, c: a * b + c)
        _add(f"mul.hi.{name}", name, (name, name), _high)
        _add(f"div.{name}", name, (name, name), _quotient)
        _add(f"rem.{name}", name, (name, name), _remainder)
        _add(f"min.{name}", name, (name, name), np.minimum)
        _add(f"max.{name}", name, (name, name), np.maximum)
        _add(f"shr.{name}", name, (name, "u32"), _shifted(np.right_shift))
        if name in DOUBLE:
            wide = DOUBLE[name]
            _add(f"mul.wide.{name}", wide, (name, name), _wide(wide, added=False))
            _add(f"mad.wide.{name}", wide, (name, name, wide), _wide(wide, added=True))
        if name[0] == "s":
            _add(f"neg.{name}", name, (name,), lambda a: -a)
            _add(f"abs.{name}", name, (name,), np.abs)
        if bits != "16":
            _add(f"bfe.{name}", name, (name, "u32", "u32"), _extracted)
    for bits in ("b16", "b32", "b64"):
        _add(f"shl.{bits}", bits, (bits, "u32"), _shifted(np.left_shift))
        _add(f"shr.{bits}", bits, (bits, "u32"), _shifted(np.right_shift))
    for bits in ("pred", "b16", "b32", "b64"):
        _add(f"and.{bits}", bits, (bits, bits), lambda a, b: a & b)
        _add(f"or.{bits}", bits, (bits, bits), lambda a, b: a | b)
        _add(f"xor.{bits}", bits, (bits, bits), lambda a, b: a ^ b)
        _add(f"not.{bits}", bits, (bits,), lambda a: ~a)
    for bits in ("b32", "b64"):
        _add(f"popc.{bits}", "b32", (bits,), lambda a: np.bitwise_count(a).astype(np.uint32))
    _add("prmt.b32", "b32", ("b32", "b32", "b32"), _permuted)
    _add("lop3.b32", "b32", ("b32", "b32", "b32", "b32"), _logic)
    _add("shf.l.wrap.b32", "b32", ("b32", "b32", "u32"), _funnel(left=True))
    _add("shf.r.wrap.b32", "b32", ("b32", "b32", "u32"), _funnel(left=False))


def _wide(result: str, added: bool) -> Function:
    dtype = DTYPES[result]
    if added:
        return lambda a, b, c: a.astype(dtype) * b.astype(dtype) + c
    return lambda a, b: a.astype(dtype) * b.astype(dtype)


# Comparisons and selections.

ORDERED: dict[str, Function] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def _selected(first: Array, second: Array, condition: Array) -> Array:
    return np.asarray(np.where(condition, first, second))


def _unordered(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


def _float_comparisons() -> dict[str, Function]:
    found = {name: compare for name, compare in ORDERED.items() if name != "ne"}
    found["ne"] = lambda a, b: (a != b) & ~_unordered(a, b)
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        found[f"{name}u"] = lambda a, b, compare=ORDERED[name]: compare(a, b) | _unordered(a, b)
    found["nan"] = _unordered
    found["num"] = lambda a, b: ~_unordered(a, b)
    return found


def _comparisons() -> None:
    for name, compare in ORDERED.items():
        for kind in (*INTEGERS, *(("b16", "b32", "b64") if name in ("eq", "ne") else ())):
            _add(f"setp.{name}.{kind}", "pred", (kind, kind), compare)
    for name, compare in _float_comparisons().items():
        for kind in ("f16", "f32", "f64"):
            _add(f"setp.{name}.{kind}", "pred", (kind, kind), compare)
        _add(f"setp.{name}.bf16", "pred", ("bf16", "bf16"), _of_bfloat16(compare))
        _add(f"setp.{name}.ftz.f32", "pred", ("f32", "f32"), _with_flushed(compare, result=False))
    for kind in ("b16", "b32", "b64", "f32", "f64", *INTEGERS):
        stored = f"b{kind.lstrip('bfsu')}"
        _add(f"selp.{kind}", stored, (stored, stored, "pred"), _selected)


# Floating point.


def _of_bfloat16(function: Function) -> Function:
    return lambda *operands: function(*(bfloat16_values(operand) for operand in operands))


def _with_flushed(function: Function, result: bool = True) -> Function:
    def flushing(*operands: Array) -> Array:
        found = function(*(flushed(operand) for operand in operands))
        return flushed(found) if result else found

    return flushing


def _extremum(larger: bool, nan: bool) -> Function:
    """Maximum or minimum; -0 is smaller than +0; of one NaN the number, with ``nan`` the canonical NaN."""
    choose: Any = (np.maximum if larger else np.minimum) if nan else (np.fmax if larger else np.fmin)

    def function(a: Array, b: Array) -> Array:
        found = choose(a, b)
        zeros = (a == 0) & (b == 0)
        if zeros.any():
            negative = np.signbit(a) & np.signbit(b) if larger else np.signbit(a) | np.signbit(b)
            found = np.where(zeros, np.where(negative, -found.dtype.type(0), found.dtype.type(0)), found)
        return np.asarray(found)

    return function


def _narrow(name: str) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """From the bits of float16 or bfloat16 to float32, and back from float32 or float64."""
    if name == "bf16":
        return bfloat16_values, bfloat16_bits
    return (lambda bits: bits.view(np.float16).astype(np.float32)), (lambda x: x.astype(np.float16).view(np.uint16))


def _in_halves(function: Function) -> Function:
    """A function of 16 bits on both halves of 32."""

    def packed(*operands: Array) -> Array:
        low = function(*((operand & np.uint32(0xFFFF)).astype(np.uint16) for operand in operands))
        high = function(*((operand >> np.uint32(16)).astype(np.uint16) for operand in operands))
        return low.astype(np.uint32) | (high.astype(np.uint32) << np.uint32(16))

    return packed


def _narrow_functions() -> None:
    plain: dict[str, Function] = {
        "add": lambda a, b: a.astype(np.float64) + b,
        "sub": lambda a, b: a.astype(np.float64) - b,
        "mul": lambda a, b: a.astype(np.float64) * b,
        "min": _extremum(False, nan=False),
        "max": _extremum(True, nan=False),
        "min.NaN": _extremum(False, nan=True),
        "max.NaN": _extremum(True, nan=True),
        "fma.rn": fma_narrow,
        "neg": lambda a: -a,
        "abs": np.abs,
    }
    for kind in ("f16", "bf16"):
        widen, narrow = _narrow(kind)
        for name, function in plain.items():
            count = 3 if name == "fma.rn" else 1 if name in ("neg", "abs") else 2

            def of_bits(*operands: Array, f: Function = function, w: Any = widen, n: Any = narrow) -> Array:
                return np.asarray(n(f(*(w(operand) for operand in operands))))

            _add(f"{name}.{kind}", "b16", ("b16",) * count, of_bits)
            _add(f"{name}.{kind}x2", "b32", ("b32",) * count, _in_halves(of_bits))
    for kind in ("u16", "s16"):
        _add(f"add.{kind}x2", "b32", ("b32", "b32"), _in_halves(np.add))


def _floating() -> None:
    two: dict[str, Function] = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b}
    rounded = {f"{name}.rn": function for name, function in two.items()}
    quotient: Function = lambda a, b: a / b  # noqa: E731
    for kind, fused in (("f32", fma_32), ("f64", fma_64)):
        every: dict[str, tuple[int, Function]] = {name: (2, f) for name, f in (two | rounded).items()}
        every |= {
            "fma.rn": (3, fused),
            "div.rn": (2, quotient),
            "rcp.rn": (1, lambda a: 1 / a),
            "sqrt.rn": (1, np.sqrt),
            "neg": (1, lambda a: -a),
            "abs": (1, np.abs),
        }
        for name, larger in (("max", True), ("min", False)):
            every[name] = (2, _extremum(larger, nan=False))
            if kind == "f32":
                every[f"{name}.NaN"] = (2, _extremum(larger, nan=True))
        for name, (count, function) in every.items():
            _add(f"{name}.{kind}", kind, (kind,) * count, function)
            if kind == "f32":
                before, _, after = name.partition(".")
                rounding = f"{before}.{after}.ftz" if after == "rn" else f"{before}.ftz{name[len(before) :]}"
                _add(f"{rounding}.f32", kind, (kind,) * count, _with_flushed(function))
        if kind == "f32":
            _add("fma.rm.f32", kind, (kind,) * 3, fma_32_down)
            _add("fma.rm.ftz.f32", kind, (kind,) * 3, _with_flushed(fma_32_down))
        _add(f"copysign.{kind}", kind, (kind, kind), lambda sign, value: np.copysign(value, sign))


def _approximate() -> None:
    for name, function in APPROXIMATIONS.items():
        _add(f"{name}.approx.f32", "f32", ("f32",), function)
        _add(f"{name}.approx.ftz.f32", "f32", ("f32",), _with_flushed(function))
    for name in ("full", "approx"):
        _add(f"div.{name}.f32", "f32", ("f32", "f32"), divided)
        _add(f"div.{name}.ftz.f32", "f32", ("f32", "f32"), _with_flushed(divided))
    _add("rcp.approx.ftz.f64", "f64", ("f64",), gross_reciprocal)
    _add("rsqrt.approx.f64", "f64", ("f64",), _rsqrt_64)


def _rsqrt_64(values: Array) -> Array:
    return (1 / np.sqrt(values.astype(np.longdouble))).astype(np.float64)


_whole_numbers()
_comparisons()
_narrow_functions()
_floating()
_approximate()
