"""Instructions of a warp and of the matrix unit, against NumPy."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.conversions import truncated_to_tf32
from svertka.codegen.ptx.numerics import product
from svertka.codegen.ptx.rounding import bfloat16_bits, bfloat16_values
from svertka.codegen.ptx.state import SHARED_BASE
from tests.ptx.harness import LANE, Result, execute, pointer

DRAW = np.random.default_rng(11)


@pytest.mark.parametrize("segment", [32, 8])
@pytest.mark.parametrize("mode", ["bfly", "idx", "up", "down"])
def test_shuffles(mode: str, segment: int) -> None:
    values, by = DRAW.integers(0, 1000, 96).astype(np.int32), 3
    limits = ((32 - segment) << 8) | (0 if mode == "up" else 31)
    result, inside = np.zeros(96, np.int32), np.zeros(96, np.int32)
    body = f"""{LANE}{pointer(1, 0, 4)} ld.global.b32 %r10, [%rd1];
    shfl.sync.{mode}.b32 %r11|%p1, %r10, {by}, {limits}, -1; selp.b32 %r12, 1, 0, %p1;
    {pointer(2, 1, 4)} st.global.b32 [%rd2], %r11; {pointer(3, 2, 4)} st.global.b32 [%rd3], %r12;"""
    execute(body, values, Result(result), Result(inside), threads=96)
    for lane in range(96):
        start = lane // segment * segment
        other = {"bfly": lane ^ by, "idx": start + by, "up": lane - by, "down": lane + by}[mode]
        there = start <= other < start + segment
        assert inside[lane] == there
        assert result[lane] == values[other if there else lane]


def test_threads_wait_for_their_warp_at_its_instructions() -> None:
    """A branch back: the threads that took it are ahead of those that did not, and stand before them in the text."""
    values, result = DRAW.integers(0, 1000, 64).astype(np.int32), np.zeros(64, np.int32)
    body = f"""{LANE}{pointer(1, 0, 4)} ld.global.b32 %r10, [%rd1]; bra begin;
    back: shfl.sync.bfly.b32 %r11, %r10, 1, 31, -1; bra end;
    begin: and.b32 %r12, %r0, 1; setp.eq.s32 %p1, %r12, 0; @%p1 bra back;
    add.s32 %r10, %r10, 1; bra back;
    end: {pointer(2, 1, 4)} st.global.b32 [%rd2], %r11;"""
    execute(body, values, Result(result), threads=64)
    grown = values + np.arange(64) % 2
    np.testing.assert_array_equal(result, grown[np.arange(64) ^ 1])


def test_reductions_and_votes() -> None:
    values = DRAW.integers(-1000, 1000, 64).astype(np.int32)
    results = [np.zeros(64, np.int32) for _ in range(4)]
    body = f"""{LANE}{pointer(1, 0, 4)} ld.global.b32 %r10, [%rd1]; setp.gt.s32 %p1, %r10, 0;
    redux.sync.add.s32 %r11, %r10, -1; redux.sync.max.s32 %r12, %r10, -1; redux.sync.xor.b32 %r13, %r10, -1;
    vote.sync.ballot.b32 %r14, %p1, -1;"""
    for place in range(4):
        body += f"{pointer(2, 1 + place, 4)} st.global.b32 [%rd2], %r{11 + place};"
    execute(body, values, *map(Result, results), threads=64)
    rows = values.reshape(2, 32)
    ballot = ((rows > 0).astype(np.int64) << np.arange(32)).sum(1).astype(np.uint32).view(np.int32)
    expected = [rows.sum(1), rows.max(1), np.bitwise_xor.reduce(rows, axis=1), ballot]
    for found, right in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found, np.repeat(right, 32))


def test_one_thread_is_elected() -> None:
    result = np.zeros(64, np.int32)
    body = f"{LANE} elect.sync %r5|%p1, -1; selp.b32 %r6, 1, 0, %p1; {pointer(1, 0, 4)} st.global.b32 [%rd1], %r6;"
    execute(body, Result(result), threads=64)
    assert result.reshape(2, 32).sum(1).tolist() == [1, 1]


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_of_shared_memory_come_back(transposed: bool) -> None:
    """``stmatrix`` writes what fragments say, ``ldmatrix`` reads it; rows lie apart from one another."""
    registers = DRAW.integers(0, 1 << 32, (4, 32)).astype(np.uint32)
    memory, back = np.zeros(4 * 8 * 8, np.uint16), np.zeros((4, 32), np.uint32)
    turn = ".trans" if transposed else ""
    body = f"{LANE} mul.lo.s32 %r4, %r0, 48; mov.b32 %r5, smem; add.s32 %r5, %r5, %r4;"
    for place in range(4):
        body += f"{pointer(1, place, 4)} ld.global.b32 %r{10 + place}, [%rd1];"
    body += f"""stmatrix.sync.aligned.m8n8.x4{turn}.shared.b16 [%r5], {{%r10, %r11, %r12, %r13}}; bar.sync 0;
    ldmatrix.sync.aligned.m8n8.x4{turn}.shared.b16 {{%r20, %r21, %r22, %r23}}, [%r5];
    ld.shared.v4.b32 {{%r30, %r31, %r32, %r33}}, [%r5];
    shl.b32 %r6, %r0, 2; {pointer(2, 4, 4, "%r6")} st.global.v4.b32 [%rd2], {{%r30, %r31, %r32, %r33}};"""
    for place in range(4):
        body += f"{pointer(1, 5 + place, 4)} st.global.b32 [%rd1], %r{20 + place};"
    execute(body, *registers.copy(), Result(memory), *map(Result, back), shared=48 * 32)
    np.testing.assert_array_equal(back, registers)
    halves = registers.view(np.uint16).reshape(4, 32, 2)
    matrices = memory.reshape(4, 8, 8)
    for matrix in range(4):
        for lane in range(32):
            for one in range(2):
                row, column = lane // 4, 2 * (lane % 4) + one
                place = (column, row) if transposed else (row, column)
                assert matrices[matrix][place] == halves[matrix, lane, one]


FRAGMENTS: dict[str, tuple[str, str, Any]] = {
    # name: type of the operands, shape, bits of a register of an operand
    "bf16": ("bf16", "m16n8k16", np.uint32),
    "f16": ("f16", "m16n8k16", np.uint32),
    "bf16 short": ("bf16", "m16n8k8", np.uint32),
    "tf32": ("tf32", "m16n8k8", np.uint32),
    "tf32 short": ("tf32", "m16n8k4", np.uint32),
    "f64": ("f64", "m8n8k4", np.uint64),
    "f64 tall": ("f64", "m16n8k4", np.uint64),
    "f64 long": ("f64", "m16n8k8", np.uint64),
    "f64 longest": ("f64", "m16n8k16", np.uint64),
}


def left_place(kind: str, register: int, half: int, lane: int, rows: int) -> tuple[int, int]:
    """Row and column of an element of the left operand, as the tables of the PTX documentation have it."""
    group, thread = lane // 4, lane % 4
    if kind in ("bf16", "f16"):
        return group + 8 * (register % 2), thread * 2 + half + 8 * (register // 2)
    if rows == 8:
        return group, thread
    return group + 8 * (register % 2), thread + 4 * (register // 2)


def right_place(kind: str, register: int, half: int, lane: int) -> tuple[int, int]:
    """The same for the right operand: row of the sum, column."""
    group, thread = lane // 4, lane % 4
    if kind in ("bf16", "f16"):
        return thread * 2 + half + 8 * register, group
    return thread + 4 * register, group


@pytest.mark.parametrize("name", FRAGMENTS)
def test_matrix_products_of_whole_numbers_are_exact(name: str) -> None:
    kind, shape, word = FRAGMENTS[name]
    rows, columns, inner = (int(n) for n in shape[1:].replace("n", " ").replace("k", " ").split())
    a, b = DRAW.integers(-9, 10, (rows, inner)), DRAW.integers(-9, 10, (inner, columns))
    c = DRAW.integers(-99, 100, (rows, columns))
    each = 2 if kind in ("bf16", "f16") else 1
    real = np.float64 if kind == "f64" else np.float32

    def bits(values: list[int]) -> Any:
        if kind == "bf16":
            return bfloat16_bits(np.array(values, np.float32)).view(np.uint32)[0]
        if kind == "f16":
            return np.array(values, np.float16).view(np.uint32)[0]
        return np.array(values, real).view(word)[0]

    counts = rows * inner // 32 // each, inner * columns // 32 // each, rows * columns // 32
    left, right, added = (np.zeros((count, 32), word) for count in counts)
    for lane in range(32):
        for r in range(counts[0]):
            left[r, lane] = bits([a[left_place(kind, r, h, lane, rows)] for h in range(each)])
        for r in range(counts[1]):
            right[r, lane] = bits([b[right_place(kind, r, h, lane)] for h in range(each)])
        for r in range(counts[2]):
            added[r, lane] = np.array([c[lane // 4 + 8 * (r // 2), lane % 4 * 2 + r % 2]], real).view(word)[0]
    result = np.zeros_like(added)
    size, prefix = np.dtype(word).itemsize, "rd" if kind == "f64" else "r"
    names = [f"%{prefix}{20 + place}" for place in range(sum(counts))]
    body = LANE
    for place, one in enumerate(names):
        body += f"{pointer(1, place, size)} ld.global.b{8 * size} {one}, [%rd1];"
    first, second, third = (", ".join(names[start:end]) for start, end in _spans(counts))
    last = "f64" if kind == "f64" else "f32"
    name = f"mma.sync.aligned.{shape}.row.col.{last}.{kind}.{kind}.{last}"
    body += f"{name} {{{third}}}, {{{first}}}, {{{second}}}, {{{third}}};"
    for place, one in enumerate(names[-counts[2] :]):
        body += f"{pointer(1, len(names) + place, size)} st.global.b{8 * size} [%rd1], {one};"
    execute(body, *left, *right, *added, *map(Result, result))
    expected = a @ b + c
    for lane in range(32):
        for r in range(counts[2]):
            got = result[r, lane : lane + 1].view(real)[0]
            assert got == expected[lane // 4 + 8 * (r // 2), lane % 4 * 2 + r % 2]


def _spans(counts: tuple[int, ...]) -> list[tuple[int, int]]:
    starts = np.cumsum([0, *counts]).tolist()
    return list(pairwise(starts))


def test_the_matrix_unit_truncates_as_hopper_does() -> None:
    """Against whole-number arithmetic: products and addend in units of the largest exponent's 25th fractional bit."""
    left = bfloat16_values(bfloat16_bits(DRAW.normal(size=(3, 16)).astype(np.float32) * 100))
    right = bfloat16_values(
        bfloat16_bits((DRAW.normal(size=(16, 5)) * 10.0 ** DRAW.integers(-4, 4, (16, 5))).astype(np.float32))
    )
    added = DRAW.normal(size=(3, 5)).astype(np.float32)
    found = product(left[None], right[None], added[None])[0]

    def exponent(value: float) -> int:
        return int(np.frexp(value)[1]) - 1

    inexact = 0
    for i in range(3):
        for j in range(5):
            factors = [(float(a), float(b)) for a, b in zip(left[i], right[:, j], strict=True)]
            top = max([exponent(a) + exponent(b) for a, b in factors] + [exponent(float(added[i, j]))])
            unit = Fraction(2) ** (top - 25)
            terms = [Fraction(a) * Fraction(b) for a, b in factors] + [Fraction(float(added[i, j]))]
            total = sum(int(term / unit) for term in terms) * unit  # int() truncates toward zero
            near = np.float32(float(total))
            if abs(Fraction(float(near))) > abs(total):
                near = np.nextafter(near, np.float32(0))
            assert found[i, j] == near
            inexact += total != sum(terms)
    assert inexact


@pytest.mark.parametrize("largest", [3, 128, 1 << 11, 1 << 12, 1 << 13, 1 << 20])
def test_whole_numbers_give_what_their_eighths_give(largest: int) -> None:
    """Eighths are aligned and truncated one by one; whole numbers are not where that would change nothing."""
    left, right = (DRAW.integers(-largest, largest + 1, shape).astype(np.float32) for shape in ((2, 3, 16), (2, 16, 5)))
    added = DRAW.integers(-largest * largest, largest * largest + 1, (2, 3, 5)).astype(np.float32)
    eighths = product(left / 8, right / 8, added / 64)
    np.testing.assert_array_equal(product(left, right, added), eighths * 64)
    if largest <= 128:
        np.testing.assert_array_equal(eighths * 64, left.astype(np.float64) @ right + added)


def test_tf32_keeps_ten_fractional_bits() -> None:
    values = np.array([1 + 2.0**-10, 1 + 2.0**-11, -1 - 2.0**-11 - 2.0**-12, 3e38, np.inf], np.float32)
    expected = np.array([1 + 2.0**-10, 1, -1, np.trunc(3e38 / 2.0**117) * 2.0**117, np.inf], np.float32)
    np.testing.assert_array_equal(truncated_to_tf32(values), expected)


def test_infinities_pass_through_the_matrix_unit() -> None:
    left = np.array([[[np.inf, 1]], [[np.inf, -np.inf]], [[1, 2]]], np.float32)
    right = np.ones((3, 2, 1), np.float32)
    with np.errstate(invalid="ignore"):
        found = product(left, right, np.zeros((3, 1, 1), np.float32))
    np.testing.assert_array_equal(found.reshape(3), [np.inf, np.nan, 3])


def test_shared_memory_begins_above_zero() -> None:
    result = np.zeros(32, np.uint32)
    execute(f"{LANE} mov.b32 %r5, smem; {pointer(1, 0, 4)} st.global.b32 [%rd1], %r5;", Result(result), shared=4)
    assert set(result.tolist()) == {SHARED_BASE}
