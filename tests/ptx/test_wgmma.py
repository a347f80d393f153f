"""Products of warpgroups: every swizzle against its formula, each refusal by a planted fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.rounding import bfloat16_bits
from tests.ptx.box_texts import DATA, expected, fetched, started, tensor_map, waited
from tests.ptx.harness import LANE, Result, execute, pointer

DRAW = np.random.default_rng(17)
WGMMA = "wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16"
MODES = {16: 0, 128: 1, 64: 2, 32: 3}
"""Bytes of a row: mode in a matrix descriptor."""


def descriptor(register: int, address: str, leading: int, stride: int, span: int) -> str:
    constant = (leading >> 4) << 16 | (stride >> 4) << 32 | MODES[span] << 62
    return f"""bfe.u32 %r240, {address}, 4, 14; cvt.u64.u32 %rd{register}, %r240;
    or.b64 %rd{register}, %rd{register}, {constant};"""


def operand(
    place: int, parameter: int, outer: int, inner: int, span: int, turned: bool, offset: int
) -> tuple[str, str, str]:
    """Fetch an operand of a product as boxes; its descriptor in ``%rd(50 + place)``.

    The array is [outer, inner] in memory, or [inner, outer] where it is turned.
    """
    rows, columns = (inner, outer) if turned else (outer, inner)
    across = min(columns, span // 2)
    text = tensor_map(
        place, parameter, 3, (columns, rows), (2 * columns,), (across, rows), {16: 0, 32: 1, 64: 2, 128: 3}[span]
    )
    fetch, size = "", rows * across * 2
    for part in range(columns // across):
        fetch += fetched(place, (part * across, 0), offset + part * size)
    eight = 8 * across * 2  # bytes of eight rows
    if span == 16:
        leading, stride = (eight, size) if turned else (size, eight)
    else:
        leading, stride = size, eight
    where = f"mov.b32 %r241, smem; add.s32 %r241, %r241, {offset};"
    return text, fetch, where + descriptor(50 + place, "%r241", leading, stride, span)


def product_text(columns: int, spans: tuple[int, int], turned: tuple[bool, bool], **changed: str) -> str:
    """A product of 64 x 16 by 16 x columns, from boxes."""
    left_map, left, left_at = operand(0, 0, 64, 16, spans[0], turned[0], DATA)
    right_map, right, right_at = operand(1, 1, columns, 16, spans[1], turned[1], DATA + 4096)
    registers = ", ".join(f"%r{20 + k}" for k in range(columns // 2))
    flags = f"%p1, 1, 1, {int(turned[0])}, {int(turned[1])}"
    zero = "".join(f"mov.b32 %r{20 + k}, 0;" for k in range(columns // 2))
    parts = {
        "maps": left_map + right_map + started(),
        "fetch": expected(2 * 16 * (64 + columns)) + left + right + waited() + "bar.sync 0;",
        "descriptors": left_at + right_at + zero + "mov.pred %p1, -1; wgmma.fence.sync.aligned;",
        "multiply": f"{WGMMA.format(columns)} {{{registers}}}, %rd50, %rd51, {flags};",
        "commit": "wgmma.commit_group.sync.aligned;",
        "wait": "wgmma.wait_group.sync.aligned 0;",
        "store": "",
    }
    for k in range(columns // 2):
        parts["store"] += f"mad.lo.s32 %r250, %r0, {columns // 2}, {k};"
        parts["store"] += f"{pointer(21, 2, 4, '%r250')} st.global.b32 [%rd21], %r{20 + k};"
    return LANE + "".join((parts | changed).values())


def multiplied(columns: int, spans: tuple[int, int], turned: tuple[bool, bool], **changed: str) -> tuple[Any, Any]:
    """What the machine gives for whole numbers, and the product."""
    a = DRAW.integers(-9, 10, (64, 16)).astype(np.float32)
    b = DRAW.integers(-9, 10, (16, columns)).astype(np.float32)
    left, right = (a.T if turned[0] else a), (b if turned[1] else b.T)
    result = np.zeros((128, columns // 2), np.float32)
    given = (np.ascontiguousarray(bfloat16_bits(np.ascontiguousarray(one))) for one in (left, right))
    body = product_text(columns, spans, turned, **changed)
    execute(body, *given, Result(result), threads=128, shared=DATA + 8192, scratch=512)
    found = np.zeros((64, columns), np.float32)
    for thread in range(128):
        for k in range(columns // 2):
            row = 16 * (thread // 32) + thread % 32 // 4 + 8 * (k // 2 % 2)
            found[row, 8 * (k // 4) + thread % 4 * 2 + k % 2] = result[thread, k]
    return found, a @ b


@pytest.mark.parametrize("spans", [(16, 16), (32, 32), (32, 16), (16, 32)])
def test_products_along_the_sum(spans: tuple[int, int]) -> None:
    """Both operands with the summed axis fastest: 16 bfloat16 are 32 bytes."""
    found, right = multiplied(24, spans, (False, False))
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("turned", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("span", [16, 32, 64, 128])
def test_products_across_the_sum(span: int, turned: tuple[bool, bool]) -> None:
    """One operand or both with the other axis fastest, in every swizzle."""
    spans = (span if turned[0] else 32, span if turned[1] else 32)
    found, right = multiplied(64, spans, turned)
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("span", [64, 128])
def test_products_of_a_part_of_a_swizzled_row(span: int) -> None:
    """Rows are longer than the sum of one instruction: the descriptor begins inside a row."""
    inner, columns, step = span // 2, 16, 1
    a = DRAW.integers(-9, 10, (64, inner)).astype(np.float32)
    b = DRAW.integers(-9, 10, (inner, columns)).astype(np.float32)
    mode = {64: 2, 128: 3}[span]
    body = LANE + tensor_map(0, 0, 3, (inner, 64), (span,), (inner, 64), mode)
    body += tensor_map(1, 1, 3, (inner, columns), (span,), (inner, columns), mode) + started()
    body += (
        expected(span * (64 + columns))
        + fetched(0, (0, 0), DATA)
        + fetched(1, (0, 0), DATA + 8192)
        + waited()
        + "bar.sync 0;"
    )
    for place, offset in ((0, DATA), (1, DATA + 8192)):
        body += f"mov.b32 %r241, smem; add.s32 %r241, %r241, {offset + 32 * step};"
        body += descriptor(50 + place, "%r241", 16, 8 * span, span)
    registers = ", ".join(f"%r{20 + k}" for k in range(8))
    body += f"""mov.pred %p1, 0; wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {{{registers}}}, %rd50, %rd51, %p1, 1, -1, 0, 0;
    wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"""
    for k in range(8):
        body += f"mad.lo.s32 %r250, %r0, 8, {k}; {pointer(21, 2, 4, '%r250')} st.global.b32 [%rd21], %r{20 + k};"
    result = np.zeros((128, 8), np.float32)
    given = (bfloat16_bits(np.ascontiguousarray(one)) for one in (a, b.T))
    execute(body, *given, Result(result), threads=128, shared=DATA + 16384, scratch=512)
    right = -(a[:, 16 * step : 16 * step + 16] @ b[16 * step : 16 * step + 16])
    for thread in range(128):
        for k in range(8):
            row = 16 * (thread // 32) + thread % 32 // 4 + 8 * (k // 2 % 2)
            assert result[thread, k] == right[row, 8 * (k // 4) + thread % 4 * 2 + k % 2]


def test_a_left_operand_in_registers() -> None:
    a = DRAW.integers(-9, 10, (64, 16)).astype(np.float32)
    b = DRAW.integers(-9, 10, (16, 8)).astype(np.float32)
    fragments = np.zeros((4, 128, 2), np.float32)
    for thread in range(128):
        for register in range(4):
            row = 16 * (thread // 32) + thread % 32 // 4 + 8 * (register % 2)
            column = thread % 4 * 2 + 8 * (register // 2)
            fragments[register, thread] = a[row, column : column + 2]
    words = bfloat16_bits(fragments).view(np.uint32).reshape(4, 128)
    right_map, right, at = operand(1, 0, 8, 16, 32, False, DATA)
    body = LANE + right_map.replace("a3", "a6") + started() + expected(256) + right + waited() + "bar.sync 0;" + at
    for register in range(4):
        body += f"{pointer(1, 1 + register, 4)} ld.global.b32 %r{10 + register}, [%rd1];"
    body += """mov.pred %p1, 0; wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16
    {%r20, %r21, %r22, %r23}, {%r10, %r11, %r12, %r13}, %rd51, %p1, 1, 1, 0;
    wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"""
    for k in range(4):
        body += f"mad.lo.s32 %r250, %r0, 4, {k}; {pointer(21, 5, 4, '%r250')} st.global.b32 [%rd21], %r{20 + k};"
    result = np.zeros((128, 4), np.float32)
    given = bfloat16_bits(np.ascontiguousarray(b.T))
    execute(body, given, *words, Result(result), threads=128, shared=4096, scratch=512)
    for thread in range(128):
        for k in range(4):
            row = 16 * (thread // 32) + thread % 32 // 4 + 8 * (k // 2 % 2)
            assert result[thread, k] == (a @ b)[row, thread % 4 * 2 + k % 2]


SMALL = (24, (32, 32), (False, False))
WRITE = f"mov.b32 %r14, smem; mov.b32 %r15, 0; @%p14 st.shared.b32 [%r14 + {DATA}], %r15;"


def refill() -> str:
    """Fetch the left operand's first box again."""
    return expected(2048) + fetched(0, (0, 0), DATA)


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        ("register %r20 is read while an asynchronous instruction writes it", {"wait": ""}),
        ("register %r20 is read while", {"wait": "wgmma.wait_group.sync.aligned 1;"}),
        ("register %r20 is read while", {"commit": ""}),
        ("a product of a warpgroup is never waited for", {"wait": "", "store": ""}),
        ("is written while asynchronous instructions read it", {"commit": WRITE + "wgmma.commit_group.sync.aligned;"}),
        (
            "is written while asynchronous instructions read it",
            {"commit": refill() + "wgmma.commit_group.sync.aligned;"},
        ),
    ],
)
def test_faults_of_products(message: str, changed: dict[str, str]) -> None:
    with pytest.raises(PtxError, match=message):
        multiplied(*SMALL, **changed)


def test_threads_that_write_an_operand_fence_it() -> None:
    text = product_text(*SMALL)
    start = text.index("bar.sync 0;", text.index("waitLoop"))
    given = bfloat16_bits(np.zeros((64, 16), np.float32)), bfloat16_bits(np.zeros((24, 16), np.float32))
    options: dict[str, Any] = {"threads": 128, "shared": DATA + 8192, "scratch": 512}
    fence = "fence.proxy.async.shared::cta;"
    execute(text[:start] + WRITE + fence + text[start:], *given, Result(np.zeros((128, 12), np.float32)), **options)
    with pytest.raises(PtxError, match=r"without fence\.proxy\.async between"):
        execute(text[:start] + WRITE + text[start:], *given, Result(np.zeros((128, 12), np.float32)), **options)
