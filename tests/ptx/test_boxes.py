"""Boxes, mbarriers and products of warpgroups: every swizzle against its formula, each refusal by a planted fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.rounding import bfloat16_bits
from tests.ptx.harness import LANE, Result, execute, pointer

DRAW = np.random.default_rng(13)
BF16 = 10
WGMMA = "wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16"
SWIZZLES = {0: 16, 1: 32, 2: 64, 3: 128}
"""Mode in a tensor map: bytes of a row."""
MODES = {16: 0, 128: 1, 64: 2, 32: 3}
"""Bytes of a row: mode in a matrix descriptor."""
BARRIER, DATA = 512, 1024  # offsets in shared memory: of mbarriers, of boxes


def tensor_map(
    place: int,
    parameter: int,
    scratch: int,
    dims: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    swizzle: int,
) -> str:
    """Build a tensor map of bfloat16 in shared memory and put it at ``%rd(40 + place)``, in the scratch parameter."""
    field = "@%p14 tensormap.replace.tile.{}.shared::cta.b1024.{} [%rd30], {};\n"
    body = f"""
    setp.lt.u32 %p13, %r0, 32; setp.eq.u32 %p14, %r0, 0;
    mov.b32 %r200, smem; shl.b32 %r201, %r0, 2; add.s32 %r201, %r201, %r200; mov.b32 %r202, 0;
    cvt.u64.u32 %rd30, %r200; ld.param.b64 %rd31, [a{parameter}]; ld.param.b64 %rd32, [a{scratch}];
    mul.wide.u32 %rd33, %r1, {128 * 4}; add.s64 %rd33, %rd33, %rd32; add.s64 %rd{40 + place}, %rd33, {128 * place};
    bar.sync 0;
    @%p13 st.shared.b32 [%r201], %r202; bar.warp.sync -1;
    """
    body += field.format("global_address", "b64", "%rd31") + field.format("rank", "b32", len(dims) - 1)
    for axis, (extent, size) in enumerate(zip(dims, box, strict=True)):
        for name, value in (("box_dim", size), ("global_dim", extent), ("element_stride", 1)):
            body += f"mov.b32 %r203, {value};" + field.format(name, "b32", f"{axis}, %r203")
    for axis, stride in enumerate(strides):
        body += f"mov.b64 %rd34, {stride};" + field.format("global_stride", "b64", f"{axis}, %rd34")
    body += field.format("elemtype", "b32", BF16) + field.format("interleave_layout", "b32", 0)
    body += field.format("swizzle_mode", "b32", swizzle) + field.format("fill_mode", "b32", 0)
    copy = "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned"
    return (
        body
        + f"""
    @%p13 {copy} [%rd{40 + place}], [%rd30], 128;
    @%p13 fence.proxy.tensormap::generic.acquire.gpu [%rd{40 + place}], 128;
    bar.sync 0;
    """
    )


def started(count: int = 1) -> str:
    """Initialize the mbarrier."""
    return f"""
    mov.b32 %r210, smem; add.s32 %r210, %r210, {BARRIER};
    @%p14 mbarrier.init.shared::cta.b64 [%r210], {count};
    fence.proxy.async.shared::cta; bar.sync 0;
    """


def expected(size: int) -> str:
    return f"@%p14 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r210], {size};\n"


def fetched(place: int, coordinates: Sequence[int], offset: int) -> str:
    """Fetch a box to an offset in shared memory."""
    names = []
    body = f"mov.b32 %r211, smem; add.s32 %r211, %r211, {offset};"
    for axis, value in enumerate(coordinates):
        body += f"mov.b32 %r{220 + axis}, {value};"
        names.append(f"%r{220 + axis}")
    kind = f"cp.async.bulk.tensor.{len(names)}d.shared::cta.global.mbarrier::complete_tx::bytes"
    return body + f"@%p14 {kind} [%r211], [%rd{40 + place}, {{{', '.join(names)}}}], [%r210];\n"


def waited(parity: int = 0) -> str:
    return f"""{{ .reg .pred complete; mov.b32 %r212, {parity};
    waitLoop: mbarrier.try_wait.parity.shared::cta.b64 complete, [%r210], %r212; @!complete bra.uni waitLoop; }}
    """


def dumped(parameter: int, words: int, offset: int, threads: int = 32) -> str:
    """Copy shared memory to a result."""
    body = "mov.b32 %r230, smem; shl.b32 %r231, %r0, 2; add.s32 %r230, %r230, %r231; mov.b32 %r233, %r0;"
    for part in range(words // threads):
        body += f"ld.shared.b32 %r232, [%r230 + {offset + 4 * threads * part}]; {pointer(20, parameter, 4, '%r233')}"
        body += f"st.global.b32 [%rd20], %r232; add.s32 %r233, %r233, {threads};\n"
    return body


def swizzled(offset: int, span: int) -> int:
    """The PTX documentation's patterns: 16-byte pieces of a row change places with the row's number in 8, 4 or 2."""
    rows_of_128, piece = offset // 128, offset // 16 % 8
    return rows_of_128 * 128 + (piece ^ (rows_of_128 % 8 % (span // 16) if span > 16 else 0)) * 16 + offset % 16


def image(rows: int, columns: int) -> Any:
    """Whole numbers as bfloat16."""
    return bfloat16_bits(DRAW.integers(-9, 10, (rows, columns)).astype(np.float32))


@pytest.mark.parametrize("mode", SWIZZLES)
def test_a_box_arrives_as_its_swizzle_says_with_zeros_outside(mode: str) -> None:
    span = SWIZZLES[int(mode)]
    source, columns, rows = image(24, 80), span // 2, 16
    result = np.zeros((rows, columns), np.uint16)
    start = (80 - columns // 2, -5)  # beyond the last column and before the first row
    body = LANE + tensor_map(0, 0, 2, (80, 24), (160,), (columns, rows), int(mode)) + started()
    body += expected(rows * span) + fetched(0, start, DATA) + waited() + dumped(1, rows * columns // 2, DATA)
    execute(body, source, Result(result), shared=DATA + 4096, scratch=512)
    flat, right = result.reshape(-1), np.zeros((rows, columns), np.uint16)
    inside = source[: rows - 5, start[0] :]
    right[5:, : inside.shape[1]] = inside
    for row in range(rows):
        for column in range(columns):
            place = swizzled(DATA + row * span + 2 * column, span) - DATA
            assert flat[place // 2] == right[row, column]
    assert inside.any()


def test_a_box_of_four_dimensions() -> None:
    source = bfloat16_bits(np.arange(3 * 4 * 5 * 16, dtype=np.float32).reshape(3, 4, 5, 16))
    result = np.zeros((2, 2, 4, 8), np.uint16)
    dims, strides = (16, 5, 4, 3), (32, 160, 640)
    body = LANE + tensor_map(0, 0, 2, dims, strides, (8, 4, 2, 2), 0) + started() + expected(256)
    body += fetched(0, (8, 3, 1, 2), DATA) + waited() + dumped(1, 64, DATA)
    execute(body, source, Result(result), shared=4096, scratch=512)
    right = np.zeros_like(result)
    right[:1, :, :2] = source[2:, 1:3, 3:, 8:]
    np.testing.assert_array_equal(result, right)


def test_a_box_goes_out() -> None:
    """What lies outside the tensor is not stored."""
    result = np.zeros((6, 16), np.uint16)
    values = image(8, 16)
    body = LANE + tensor_map(0, 1, 2, (16, 4), (32,), (16, 8), 0)
    body += f"{pointer(1, 0, 16, '%r0')} ld.global.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd1];"
    body += "mov.b32 %r14, smem; shl.b32 %r15, %r0, 4; add.s32 %r14, %r14, %r15; setp.lt.u32 %p5, %r0, 16;"
    body += f"@%p5 st.shared.v4.b32 [%r14 + {DATA}], {{%r10, %r11, %r12, %r13}}; FENCE bar.sync 0;"
    body += f"mov.b32 %r16, smem; add.s32 %r16, %r16, {DATA}; mov.b32 %r17, 0; mov.b32 %r18, 0;"
    body += "@%p14 cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd40, {%r17, %r18}], [%r16];"
    body += "cp.async.bulk.commit_group; WAIT"
    fence, wait = "fence.proxy.async.shared::cta;", "cp.async.bulk.wait_group.read 0;"
    padded = np.concatenate([values, image(8, 16)])
    whole = body.replace("FENCE", fence).replace("WAIT", wait)
    execute(whole, padded, Result(result), shared=4096, scratch=512)
    np.testing.assert_array_equal(result, np.concatenate([values[:4], np.zeros((2, 16), np.uint16)]))
    options: dict[str, Any] = {"shared": 4096, "scratch": 512}
    with pytest.raises(PtxError, match=r"without fence\.proxy\.async"):
        execute(body.replace("FENCE", "").replace("WAIT", wait), padded, Result(result), **options)
    with pytest.raises(PtxError, match="a store of a box is never waited for"):
        execute(body.replace("FENCE", fence).replace("WAIT", ""), padded, Result(result), **options)
    again = whole.replace(wait, f"@%p5 st.shared.v4.b32 [%r14 + {DATA}], {{%r10, %r11, %r12, %r13}}; {wait}")
    with pytest.raises(PtxError, match="is written while asynchronous instructions read it"):
        execute(again, padded, Result(result), **options)


ROWS, COLUMNS = 16, 64
GOOD = {
    "map": tensor_map(0, 0, 2, (80, 24), (160,), (COLUMNS, ROWS), 3),
    "start": started(),
    "expect": expected(ROWS * 128),
    "fetch": fetched(0, (0, 0), DATA),
    "wait": waited(),
    "read": dumped(1, ROWS * COLUMNS // 2, DATA),
}


def fetch_with(**changed: str) -> None:
    body = LANE + "".join((GOOD | changed).values())
    execute(body, image(24, 80), Result(np.zeros((ROWS, COLUMNS), np.uint16)), shared=DATA + 4096, scratch=512)


FAULTS = [
    ("is read while a copy to it is in flight", {"wait": ""}),
    ("is read while a copy to it is in flight", {"wait": waited(1)}),  # the phase before
    ("0 arrivals and -2 bytes are missing", {"expect": expected(ROWS * 128 - 2)}),
    ("0 arrivals and 16 bytes are missing", {"expect": expected(ROWS * 128 + 16)}),
    ("1 arrivals and -2048 bytes are missing", {"expect": ""}),
    ("1 arrivals and 0 bytes are missing", {"start": started(2)}),
    ("more threads arrive at an mbarrier than it counts", {"wait": 2 * expected(8), "fetch": "", "read": ""}),
    ("0 arrivals and 2048 bytes are missing", {"fetch": ""}),
    (
        "no mbarrier is initialized there",
        {"start": started().replace("@%p14 mbarrier.init.shared::cta.b64 [%r210], 1;", "")},
    ),
    (
        "without a barrier between",
        {"start": started().replace("bar.sync 0;", ""), "expect": expected(8).replace("%p14", "%p13")},
    ),
    ("an mbarrier is initialized that is in use", {"start": started() + started()}),
    ("is written while asynchronous instructions", {"expect": "@%p14 st.shared.b32 [%r210], %r0;"}),
    (
        "an mbarrier is given up that still waits for 2048 bytes",
        {"wait": "@%p14 mbarrier.inval.shared::cta.b64 [%r210];"},
    ),
    ("a copy of 2048 bytes is never waited for", {"wait": "", "read": ""}),
    (
        "is written while a copy to it is in flight",
        {"wait": f"mov.b32 %r14, smem; @%p14 st.shared.b32 [%r14 + {DATA}], %r0;"},
    ),
    ("field swizzle_mode .* never set", {"map": GOOD["map"].replace("swizzle_mode", "fill_mode")}),
    (
        "field box_dim of dimension 1 .* never set",
        {
            "map": GOOD["map"].replace(
                "box_dim.shared::cta.b1024.b32 [%rd30], 1", "box_dim.shared::cta.b1024.b32 [%rd30], 0"
            )
        },
    ),
    (
        r"used without fence\.proxy\.tensormap",
        {
            "map": GOOD["map"]
            .replace("@%p13 fence.proxy.tensormap", "@%p9 fence.proxy.tensormap")
            .replace("setp.lt.u32 %p13", "setp.lt.u32 %p9, %r0, 0; setp.lt.u32 %p13")
        },
    ),
    ("multiple of 16 bytes", {"map": tensor_map(0, 0, 2, (80, 24), (152,), (COLUMNS, ROWS), 3)}),
    ("longer than the swizzle's 64", {"map": tensor_map(0, 0, 2, (80, 24), (160,), (COLUMNS, ROWS), 2)}),
    ("a box in shared memory is not aligned to 128", {"fetch": fetched(0, (0, 0), DATA + 64)}),
    (
        "outside every tensor",
        {"map": tensor_map(0, 0, 2, (80, 25), (160,), (COLUMNS, ROWS), 3), "fetch": fetched(0, (0, 20), DATA)},
    ),
    ("of 2 dimensions is used with 1", {"fetch": fetched(0, (0,), DATA)}),
]


def test_a_fetched_box_runs() -> None:
    fetch_with()


@pytest.mark.parametrize(("message", "changed"), FAULTS, ids=[message[:40] for message, _ in FAULTS])
def test_faults_of_fetching(message: str, changed: dict[str, str]) -> None:
    with pytest.raises(PtxError, match=message):
        fetch_with(**changed)


def test_a_buffer_is_filled_again_only_behind_a_barrier() -> None:
    """Threads read the first box while the second is fetched into its place."""
    second = expected(ROWS * 128) + fetched(0, (0, 8), DATA) + waited(1)
    read = f"mov.b32 %r14, smem; shl.b32 %r15, %r0, 2; add.s32 %r14, %r14, %r15; ld.shared.b32 %r16, [%r14 + {DATA}];"
    fetch_with(wait=waited() + read + "bar.sync 0;" + second)
    with pytest.raises(PtxError, match=r"is written that thread \d+ of program 0 read without a barrier"):
        fetch_with(wait=waited() + read + second)


def test_a_thread_that_did_not_wait_sees_a_box_only_behind_a_barrier() -> None:
    body = LANE + GOOD["map"] + GOOD["start"] + GOOD["expect"] + GOOD["fetch"]
    body += f"setp.ge.u32 %p8, %r0, 32; @%p8 bra past; {waited()} past: ORDER {dumped(1, 512, DATA, 64)}"
    options: dict[str, Any] = {"threads": 64, "shared": DATA + 4096, "scratch": 512}
    given = image(24, 80), Result(np.zeros((ROWS, COLUMNS), np.uint16))
    execute(body.replace("ORDER", "bar.sync 0;"), *given, **options)
    with pytest.raises(PtxError, match=r"thread 32, .* is read that the copy engine wrote without a barrier"):
        execute(body.replace("ORDER", ""), image(24, 80), Result(np.zeros((ROWS, COLUMNS), np.uint16)), **options)


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
