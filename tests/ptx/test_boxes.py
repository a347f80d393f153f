"""Boxes and mbarriers: every swizzle against its formula, each refusal by a planted fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.rounding import bfloat16_bits
from tests.ptx.box_texts import DATA, dumped, expected, fetched, started, swizzled, tensor_map, waited
from tests.ptx.harness import LANE, Result, execute, pointer

DRAW = np.random.default_rng(13)
SWIZZLES = {0: 16, 1: 32, 2: 64, 3: 128}
"""Mode in a tensor map: bytes of a row."""


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
        fetch_with(wait=waited() + "bar.sync 0;" + read + second)


def test_a_phase_begins_or_the_mbarrier_is_given_up_only_behind_a_barrier() -> None:
    """A thread that still asks for a phase when the next one is complete waits forever."""
    again = expected(ROWS * 128) + fetched(0, (0, 8), DATA) + waited(1)
    given_up = "@%p14 mbarrier.inval.shared::cta.b64 [%r210];"
    for following, message in ((again, "is used again"), (given_up, "is given up")):
        fetch_with(wait=waited() + "bar.sync 0;" + following)
        with pytest.raises(PtxError, match=rf"{message} for which thread 1 of program 0 asked without a barrier"):
            fetch_with(wait=waited() + following)


def test_a_thread_that_did_not_wait_sees_a_box_only_behind_a_barrier() -> None:
    body = LANE + GOOD["map"] + GOOD["start"] + GOOD["expect"] + GOOD["fetch"]
    body += f"setp.ge.u32 %p8, %r0, 32; @%p8 bra past; {waited()} past: ORDER {dumped(1, 512, DATA, 64)}"
    options: dict[str, Any] = {"threads": 64, "shared": DATA + 4096, "scratch": 512}
    given = image(24, 80), Result(np.zeros((ROWS, COLUMNS), np.uint16))
    execute(body.replace("ORDER", "bar.sync 0;"), *given, **options)
    with pytest.raises(PtxError, match=r"thread 32, .* is read that the copy engine wrote without a barrier"):
        execute(body.replace("ORDER", ""), image(24, 80), Result(np.zeros((ROWS, COLUMNS), np.uint16)), **options)
