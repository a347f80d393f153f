"""Arithmetic instructions against exact numbers: Python's whole numbers and fractions, and NumPy."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.arithmetic import TABLE
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.rounding import fma_64
from tests.ptx.harness import LANE, Result, apply, execute, pointer

DRAW = np.random.default_rng(7)
SPECIAL = [0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, math.nan, 1e-40, -1e-40, 3e38, -3e38, 2.0**-126, 65504.0]


def whole(kind: str, count: int = 64) -> Any:
    """Numbers of a type: random bits, and the corners."""
    dtype = np.dtype(f"{'i' if kind[0] == 's' else 'u'}{int(kind[1:]) // 8}")
    limits = np.iinfo(dtype)
    drawn = DRAW.integers(limits.min, limits.max, count, dtype, endpoint=True)
    small = DRAW.integers(max(limits.min, -50), 50, count).astype(dtype)
    return np.concatenate([drawn, small, np.array([limits.min, limits.max, 0, 1, limits.max // 2], dtype)])


def wrapped(value: int, dtype: Any) -> Any:
    bits = 8 * np.dtype(dtype).itemsize
    return np.array([value % (1 << bits)], f"u{bits // 8}").view(dtype)[0]


def truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


KINDS = ("s16", "u16", "s32", "u32", "s64", "u64")
WHOLE: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, bits: a + b,
    "sub": lambda a, b, bits: a - b,
    "mul.lo": lambda a, b, bits: a * b,
    "mul.hi": lambda a, b, bits: (a * b) >> bits,
    "min": lambda a, b, bits: min(a, b),
    "max": lambda a, b, bits: max(a, b),
    "div": lambda a, b, bits: truncated(a, b),
    "rem": lambda a, b, bits: a - truncated(a, b) * b,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str, kind: str) -> None:
    left, right = whole(kind), np.roll(whole(kind), 17)
    if name in ("div", "rem"):
        right[right == 0] = 3
    found = apply(f"{name}.{kind}", left.dtype, left, right)
    bits = 8 * left.itemsize
    expected = [wrapped(WHOLE[name](int(a), int(b), bits), left.dtype) for a, b in zip(left, right, strict=True)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["s16", "u16", "s32", "u32"])
def test_wide_products(kind: str) -> None:
    left, right = whole(kind), np.roll(whole(kind), 5)
    wide = np.dtype(f"{left.dtype.kind}{2 * left.itemsize}")
    third = np.roll(left, 3).astype(wide)
    products = [int(a) * int(b) for a, b in zip(left, right, strict=True)]
    np.testing.assert_array_equal(apply(f"mul.wide.{kind}", wide, left, right), np.array(products, wide))
    sums = [wrapped(p + int(c), wide) for p, c in zip(products, third, strict=True)]
    np.testing.assert_array_equal(apply(f"mad.wide.{kind}", wide, left, right, third), sums)


@pytest.mark.parametrize("kind", ["s16", "u16", "s32", "u32", "s64", "u64"])
def test_shifts_reach_beyond_the_width(kind: str) -> None:
    values = whole(kind)
    bits = 8 * values.itemsize
    distance = DRAW.integers(0, bits + 20, len(values)).astype(np.uint32)
    right = [wrapped(int(a) >> int(d), values.dtype) for a, d in zip(values, distance, strict=True)]
    np.testing.assert_array_equal(apply(f"shr.{kind}", values.dtype, values, distance), right)
    left = [wrapped(int(a) << int(d), values.dtype) for a, d in zip(values, distance, strict=True)]
    np.testing.assert_array_equal(apply(f"shl.b{bits}", values.dtype, values, distance), left)


@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
def test_bit_fields(kind: str) -> None:
    values = whole(kind)
    bits = 8 * values.itemsize
    start = DRAW.integers(0, bits, len(values)).astype(np.uint32)
    length = DRAW.integers(0, bits + 1, len(values)).astype(np.uint32)
    expected = []
    for value, begin, size in zip(values.tolist(), start.tolist(), length.tolist(), strict=True):
        field = (value % (1 << bits)) >> begin & ((1 << size) - 1)
        last = (value % (1 << bits)) >> min(begin + size - 1, bits - 1) & 1 if size else 0
        if kind[0] == "s" and last:
            field |= -1 << size
        expected.append(wrapped(field, values.dtype))
    np.testing.assert_array_equal(apply(f"bfe.{kind}", values.dtype, values, start, length), expected)


@pytest.mark.parametrize("kind", ["u16x2", "s16x2"])
def test_two_short_numbers_are_added_apart(kind: str) -> None:
    """A carry does not reach the other one."""
    left, right = whole("u32"), np.roll(whole("u32"), 9)
    halves = left.view(np.uint16) + right.view(np.uint16)
    np.testing.assert_array_equal(apply(f"add.{kind}", np.uint32, left, right), halves.view(np.uint32))


def test_bytes_are_permuted() -> None:
    left, right = whole("u32"), np.roll(whole("u32"), 9)
    selector = DRAW.integers(0, 1 << 16, len(left)).astype(np.uint32)
    expected = []
    for a, b, choice in zip(left.tolist(), right.tolist(), selector.tolist(), strict=True):
        every, result = struct.pack("<II", a, b), []
        for place in range(4):
            nibble = choice >> (4 * place) & 15
            byte = every[nibble & 7]
            result.append((255 if byte & 128 else 0) if nibble & 8 else byte)
        expected.append(struct.unpack("<I", bytes(result))[0])
    np.testing.assert_array_equal(apply("prmt.b32", np.uint32, left, right, selector), np.array(expected, np.uint32))


def reals(dtype: Any, count: int = 400) -> Any:
    """Random bits, numbers near 1, and the special ones."""
    dtype = np.dtype(dtype)
    bits = DRAW.integers(0, 1 << 8 * dtype.itemsize, count, np.uint64, endpoint=False) if dtype.itemsize < 8 else None
    unsigned = f"u{dtype.itemsize}"
    drawn = DRAW.integers(0, 1 << 63, count, np.uint64) * 2 if bits is None else bits
    with np.errstate(all="ignore"):
        special = np.array(SPECIAL, np.float64).astype(dtype)
        return np.concatenate([drawn.astype(unsigned).view(dtype), DRAW.normal(size=count).astype(dtype), special])


def rounded(exact: Fraction, dtype: Any) -> Any:
    """One rounding of an exact number to nearest, ties to even."""
    kind = np.dtype(dtype)
    significand, least = {2: (11, -24), 4: (24, -149), 8: (53, -1074)}[kind.itemsize]
    if not exact:
        return kind.type(0)
    exponent = math.floor(math.log2(abs(exact.numerator)) - math.log2(exact.denominator))
    while Fraction(2) ** exponent > abs(exact):
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= abs(exact):
        exponent += 1
    unit = Fraction(2) ** max(exponent - significand + 1, least)
    number = round(exact / unit) * unit  # Python rounds fractions half to even
    if abs(number) > Fraction(float(np.finfo(kind).max)):
        return kind.type(math.inf if exact > 0 else -math.inf)
    return kind.type(float(number))


@pytest.mark.parametrize(("kind", "dtype"), [("f32", np.float32), ("f64", np.float64)])
def test_fused_multiply_add_rounds_once(kind: str, dtype: Any) -> None:
    """Among random bits, and where the exact result lies beside a tie of two float32."""
    left, right, addend = reals(dtype), np.roll(reals(dtype), 31), np.roll(reals(dtype), 77)
    near = np.array([1 + 2.0**-12, 2.0**-70, 1 - 2.0**-24, 3.0], dtype)
    left = np.concatenate([left, near])
    right = np.concatenate([right, np.array([1 + 2.0**-12, 2.0**-79, 1 + 2.0**-23, 2.0**-25], dtype)])
    addend = np.concatenate([addend, np.array([2.0**-60, 2.0**-149, 2.0**-80, 1 + 2.0**-23], dtype)])
    found = apply(f"fma.rn.{kind}", dtype, left, right, addend)
    checked = 0
    for a, b, c, got in zip(left.tolist(), right.tolist(), addend.tolist(), found, strict=True):
        if all(map(math.isfinite, (a, b, c))):
            exact = Fraction(a) * Fraction(b) + Fraction(c)
            assert rounded(exact, dtype) == got, (a, b, c)
            checked += 1
        else:
            with np.errstate(all="ignore"):
                plain = np.float64(a) * np.float64(b) + np.float64(c)
            assert got == plain or (math.isnan(got) and math.isnan(plain)), (a, b, c)
    assert checked > 400


@pytest.mark.parametrize("name", ["fma.rn", "add", "sub", "mul"])
@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_narrow_formats_round_once(name: str, kind: str) -> None:
    import torch

    dtype = torch.bfloat16 if kind == "bf16" else torch.float16
    bits = [DRAW.integers(0, 1 << 16, 600).astype(np.uint16) for _ in range(3 if name == "fma.rn" else 2)]
    wide = [torch.from_numpy(b.view(np.int16)).view(dtype).double() for b in bits]
    found = apply(f"{name}.{kind}", np.uint16, *bits)
    got = torch.from_numpy(found.view(np.int16)).view(dtype).double()
    for values, one in zip(zip(*(w.tolist() for w in wide), strict=True), got.tolist(), strict=True):
        if not all(map(math.isfinite, values)):
            continue
        a, b, *c = map(Fraction, values)
        exact = {"fma.rn": a * b + sum(c), "add": a + b, "sub": a - b, "mul": a * b}[name]
        below, above = _neighbours(exact, dtype)
        assert one in (below, above)
        if below != above and math.isfinite(below) and math.isfinite(above):
            nearer = below if exact - Fraction(below) < Fraction(above) - exact else above
            tie = exact - Fraction(below) == Fraction(above) - exact
            assert tie or one == nearer


def _neighbours(exact: Fraction, dtype: Any) -> tuple[float, float]:
    """The largest number of a format that is no larger than an exact one, and the smallest that is no smaller."""
    import torch

    near = torch.tensor(float(exact), dtype=torch.float64).to(dtype)
    infinity = torch.tensor(math.inf, dtype=dtype)
    value = float(near.double())
    if not math.isfinite(value):
        return (value, value)
    up, down = (float(torch.nextafter(near, sign * infinity).double()) for sign in (1, -1))
    if Fraction(value) == exact:
        return value, value
    return (value, up) if Fraction(value) < exact else (down, value)


def test_flushing_replaces_subnormal_operands_and_results() -> None:
    tiny, small = np.float32(1e-40), np.float32(2.0**-126)
    left = np.array([tiny, -tiny, small, small], np.float32)
    right = np.array([1, 1, 0.5, 1], np.float32)
    np.testing.assert_array_equal(apply("mul.ftz.f32", np.float32, left, right), np.array([0, 0, 0, small], np.float32))
    assert np.signbit(apply("mul.ftz.f32", np.float32, left, right)).tolist() == [False, True, False, False]
    np.testing.assert_array_equal(apply("mul.f32", np.float32, left, right), left * right)


def test_extrema_of_zeros_and_nan() -> None:
    left = np.array([0.0, -0.0, np.nan, 1, np.nan], np.float32)
    right = np.array([-0.0, 0.0, 1, np.nan, np.nan], np.float32)
    largest, smallest = apply("max.f32", np.float32, left, right), apply("min.f32", np.float32, left, right)
    assert np.signbit(largest[:2]).tolist() == [False, False]
    assert np.signbit(smallest[:2]).tolist() == [True, True]
    np.testing.assert_array_equal(largest[2:], [1, 1, np.nan])
    np.testing.assert_array_equal(apply("max.NaN.f32", np.float32, left, right)[2:], [np.nan] * 3)
    np.testing.assert_array_equal(apply("min.NaN.f32", np.float32, left, right)[2:], [np.nan] * 3)


@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_comparisons_know_nan(kind: str) -> None:
    dtype = np.dtype(f"f{int(kind[1:]) // 8}")
    left = np.array([1, 2, 2, np.nan, 1], dtype)
    right = np.array([2, 1, 2, 1, np.nan], dtype)
    ordered = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    for name, sign in ordered.items():
        plain = [eval(f"a {sign} b") for a, b in zip(left.tolist()[:3], right.tolist()[:3], strict=True)]
        assert apply(f"setp.{name}.{kind}", bool, left, right).tolist() == [*plain, False, False]
        assert apply(f"setp.{name}u.{kind}", bool, left, right).tolist() == [*plain, True, True]
    assert apply(f"setp.nan.{kind}", bool, left, right).tolist() == [False, False, False, True, True]
    assert apply(f"setp.num.{kind}", bool, left, right).tolist() == [True, True, True, False, False]


def test_two_halves_are_compared_at_once() -> None:
    """The first predicate is of the lower halves."""
    left = DRAW.normal(size=(64, 2)).astype(np.float16)
    right = np.where(DRAW.random((64, 2)) < 0.3, left, DRAW.normal(size=(64, 2)).astype(np.float16))
    right[3, 0] = left[5, 1] = np.nan
    lower, upper = np.zeros(64, np.int32), np.zeros(64, np.int32)
    body = f"""{LANE}{pointer(1, 0, 4)} ld.global.b32 %r10, [%rd1]; {pointer(2, 1, 4)} ld.global.b32 %r11, [%rd2];
    setp.le.f16x2 %p1|%p2, %r10, %r11; selp.b32 %r12, 1, 0, %p1; selp.b32 %r13, 1, 0, %p2;
    {pointer(3, 2, 4)} st.global.b32 [%rd3], %r12; {pointer(4, 3, 4)} st.global.b32 [%rd4], %r13;"""
    given = (np.ascontiguousarray(one).view(np.uint32).reshape(-1) for one in (left, right))
    execute(body, *given, Result(lower), Result(upper), programs=2)
    np.testing.assert_array_equal(np.stack([lower, upper], 1) != 0, left <= right)


def test_conversions_round_as_they_say() -> None:
    import torch

    values = reals(np.float32, 2000)
    source = torch.from_numpy(values)
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        bits = apply(f"cvt.rn.{name}.f32", np.uint16, values)
        got = torch.from_numpy(bits.view(np.int16)).view(dtype)
        assert torch.equal(got.double().nan_to_num(7.0), source.to(dtype).double().nan_to_num(7.0))
        assert torch.equal(got.isnan(), source.isnan())
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3e9, -3e9, np.nan], np.float32)
    limits = [2**31 - 1, -(2**31), 0]
    assert apply("cvt.rni.s32.f32", np.int32, halves).tolist() == [-2, -2, 0, 0, 2, 2, *limits]
    assert apply("cvt.rzi.s32.f32", np.int32, halves).tolist() == [-2, -1, 0, 0, 1, 2, *limits]
    assert apply("cvt.rmi.s32.f32", np.int32, halves).tolist() == [-3, -2, -1, 0, 1, 2, *limits]
    assert apply("cvt.rpi.s32.f32", np.int32, halves).tolist() == [-2, -1, 0, 1, 2, 3, *limits]
    wide = np.array([-1, 255, 256, -129, 70000], np.int32)
    assert apply("cvt.s8.s32", np.int16, wide).tolist() == [-1, -1, 0, 127, 112]
    assert apply("cvt.u16.u32", np.uint16, wide).tolist() == [65535, 255, 256, 65407, 4464]


APPROXIMATE: dict[str, tuple[Callable[[Any], Any], float]] = {
    "rcp": (lambda x: 1 / x, 2.0**-23),
    "sqrt": (np.sqrt, 2.0**-23),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 2.0**-22.9),
    "ex2": (np.exp2, 2.0**-22),
    "tanh": (np.tanh, 2.0**-11),
}


@pytest.mark.parametrize("name", APPROXIMATE)
def test_approximations_stay_within_their_error_and_use_it(name: str) -> None:
    """They lie within the documented error, and beyond that of a correctly rounded result."""
    function, error = APPROXIMATE[name]
    values = np.abs(DRAW.normal(size=4000)).astype(np.float32) + np.float32(0.01)
    found = apply(f"{name}.approx.f32", np.float32, values).astype(np.float64)
    exact = function(values.astype(np.float64))
    distance = np.abs(found - exact) / np.abs(exact)
    assert distance.max() <= error
    assert distance.max() > 2.0**-23.9


def test_approximations_at_special_values() -> None:
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, 4.0], np.float32)
    np.testing.assert_array_equal(apply("ex2.approx.f32", np.float32, values), [1, 1, np.inf, 0, np.nan, 2, 16])
    np.testing.assert_array_equal(apply("rcp.approx.f32", np.float32, values), [np.inf, -np.inf, 0, 0, np.nan, 1, 0.25])
    roots = [0, 0, np.inf, np.nan, np.nan, 1, 2]
    np.testing.assert_array_equal(apply("sqrt.approx.f32", np.float32, values), roots)
    np.testing.assert_array_equal(apply("lg2.approx.f32", np.float32, values)[2:], [np.inf, np.nan, np.nan, 0, 2])


def test_full_division_is_within_two_units_and_exact_where_it_can_be() -> None:
    left = DRAW.normal(size=4000).astype(np.float32)
    right = DRAW.normal(size=4000).astype(np.float32)
    found = apply("div.full.f32", np.float32, left, right)
    exact = left.astype(np.float64) / right
    assert (np.abs(found - exact) <= 2 * np.spacing(np.abs(exact.astype(np.float32)))).all()
    assert (found != exact.astype(np.float32)).any()
    quarters = np.array([1, 2, 4, 8] * 8, np.float32)
    np.testing.assert_array_equal(apply("div.full.f32", np.float32, left[:32], quarters), left[:32] / quarters)


def test_every_entry_runs() -> None:
    """Each entry gives the type that it states, for lanes and for one value of all lanes."""
    from svertka.codegen.ptx.types import DTYPES

    with np.errstate(all="ignore"):
        for name, operation in TABLE.items():
            operands = [np.ones(4, DTYPES[kind]) for kind in operation.sources]
            found = operation.function(*operands)
            assert found.dtype.itemsize == DTYPES[operation.result].itemsize, name
            assert found.shape == (4,), name


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate.b32 %r1, %r2;",
        "add.s128 %r1, %r2, %r3;",
        "add.sat.s32 %r1, %r2, %r3;",
        "ld.global.sideways.b32 %r1, [%rd1];",
        "shfl.sync.twirl.b32 %r1, %r2, 1, 31, -1;",
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1}, {%r2}, {%r3}, {%r4};",
        "wgmma.mma_async.sync.aligned.m64n8k16.f16.f16.f16 {%r1}, %rd1, %rd2, %p1, 1, 1, 0, 0;",
        "bar.sync 0, 64;",
        "atom.global.add.u32 %r1, [%rd1], %r2;",
        "cp.async.ca.shared.global [%r1], [%rd1], 0x5;",
    ],
)
def test_what_is_not_known_is_named_before_anything_runs(line: str) -> None:
    with pytest.raises(PtxError, match=rf"line \d+: {line.split()[0].split('.')[0]}\..*|line \d+: .*{line.split()[0]}"):
        execute(f"bra end;\n{line}\nend:")


def test_a_register_that_is_not_declared_is_named() -> None:
    with pytest.raises(PtxError, match=r"%q7 is not declared"):
        execute("mov.b32 %r1, %q7;")


def test_extreme_numbers_of_tiles_are_multiplied_exactly() -> None:
    """Float64 in tiles of a matrix unit, of numbers whose products leave the range that parts of them have."""
    left, right = np.full((2, 3, 1), 1.5), np.full((2, 1, 4), 2.0**-1070)
    left[1, 2], right[0, 0, 3] = 2.0**1000, 2.0**1020
    addend = np.zeros((2, 3, 4))
    np.testing.assert_array_equal(fma_64(left, right, addend), left * right)
