"""Each refusal, by a fault planted in a few lines of PTX; beside it what is right and runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.program import PtxError
from tests.ptx.harness import LANE, Result, execute, pointer

IN, OUT = np.float32, np.float32


def copied(between: str = "", source: str = "%r3", target: str = "%r3", loads: str = "b32", stores: str = "b32") -> str:
    return f"""{LANE}{pointer(1, 0, 4, source)}{pointer(2, 1, 4, target)}
    ld.global.{loads} %r10, [%rd1];
    {between}
    st.global.{stores} [%rd2], %r10;"""


def refused(message: str, body: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(PtxError, match=message):
        execute(body, *arguments, **options)


def data(count: int = 64) -> Any:
    return np.arange(1, count + 1, dtype=np.float32)


def test_a_copy_runs() -> None:
    result = np.zeros(64, np.float32)
    execute(copied(), data(), Result(result), programs=2)
    np.testing.assert_array_equal(result, data())


def test_an_access_outside_is_named_with_kernel_line_thread_and_address() -> None:
    body = copied("", source="%r4").replace("mad.lo.s32 %r3", "add.s32 %r4, %r0, 33; mad.lo.s32 %r3")
    place = r"kernel small, line \d+ .*ld\.global\.b32.*program 0, thread 31, address 0x7f40\w+"
    refused(place + r".*at byte 256 of the 256 bytes of tensor 0", body, data(), Result(data()))
    refused(
        "outside every tensor",
        copied().replace("ld.global", "add.s64 %rd1, %rd1, 4; ld.global"),
        data(32),
        Result(data(32)),
    )
    refused(
        "outside every tensor",
        copied().replace("st.global", "add.s64 %rd2, %rd2, -4; st.global"),
        data(32),
        Result(data(32)),
    )
    truncated = copied().replace("ld.global", "and.b64 %rd1, %rd1, 0xffffffff; ld.global")
    refused("outside every tensor", truncated, data(32), Result(data(32)))


def test_an_access_that_is_not_aligned() -> None:
    wide = copied().replace("ld.global.b32 %r10", "ld.global.v2.b32 {%r10, %r11}")
    refused("not aligned to 8", wide, data(), Result(data()))
    refused(
        "not aligned to 4", copied().replace("ld.global", "add.s64 %rd1, %rd1, 2; ld.global"), data(), Result(data())
    )
    four = f"""{LANE} shl.b32 %r4, %r0, 2; {pointer(1, 0, 4, "%r4")}
    ld.global.v8.b32 {{{", ".join(f"%r{k}" for k in range(20, 28))}}}, [%rd1];"""
    refused("not aligned to 32", four, data(256))  # tensors begin at multiples of 16, and of no more


def test_a_read_of_what_was_never_written() -> None:
    refused("register %r5 is read and was never written", "add.s32 %r1, %r5, 1;")
    partly = f"{LANE} setp.lt.u32 %p1, %r0, 7; @%p1 mov.b32 %r5, 1; add.s32 %r1, %r5, 1;"
    execute(partly)  # what has no value may be computed with: compilers select and shuffle it away
    chosen = partly + f"selp.b32 %r6, %r1, 0, %p1; {pointer(1, 0, 4)} st.global.b32 [%rd1], %r6;"
    execute(chosen, Result(data(32)))
    message = "thread 7: register %r{} is read and was never written"
    refused(message.format(1), chosen.replace("%r6;", "%r1;"), Result(data(32)))
    refused(message.format(6), chosen.replace("selp.b32 %r6, %r1, 0", "selp.b32 %r6, 0, %r1"), Result(data(32)))
    stored = partly + "mov.b32 %r7, smem; mad.lo.s32 %r8, %r0, 4, %r7; st.shared.b32 [%r8], %r1;"
    refused(message.format(1), stored, shared=256)
    branched = partly + "setp.eq.b32 %p2, %r1, 2; @%p2 bra end; end:"
    refused("thread 7: register %p2 is read", branched)
    shuffled = partly + "shfl.sync.idx.b32 %r6, %r1, {}, 31, -1;" + f"{pointer(1, 0, 4)} st.global.b32 [%rd1], %r6;"
    execute(shuffled.format(3), Result(data(32)))
    refused("thread 0: register %r6 is read", shuffled.format(9), Result(data(32)))
    refused("global memory is read that was never written", copied(), Result(data()), Result(data()), programs=2)
    refused("shared memory is read that was never written", SHARED + "ld.shared.b32 %r9, [%r5];", shared=128)


SHARED = f"""{LANE}
    shl.b32 %r4, %r0, 2;
    mov.b32 %r5, smem;
    add.s32 %r5, %r5, %r4;
    xor.b32 %r6, %r4, 128;
    mov.b32 %r7, smem;
    add.s32 %r7, %r7, %r6;
"""
"""``%r5``: a word of shared memory per thread; ``%r7``: that of the thread 32 farther or nearer."""


def test_shared_memory_has_its_size() -> None:
    stored = SHARED + "st.shared.b32 [%r5], %r0;"
    execute(stored, shared=128)
    refused("thread 31, address 0x47c: 4 bytes outside the 124 bytes of shared memory", stored, shared=124)
    refused("not aligned to 4", stored.replace("st.", "add.s32 %r5, %r5, 2; st."), shared=132)


BARRIER, WARP_BARRIER = "bar.sync 0;", "bar.warp.sync -1;"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("st.shared.b32 [%r5], %r0;", "ld.shared.b32 %r8, [%r7];", r"is read that thread \d+ of program 0 wrote"),
        ("st.shared.b32 [%r5], %r0;", "st.shared.b32 [%r7], %r0;", r"is written that thread \d+ of program 0 wrote"),
        ("ld.shared.b32 %r8, [%r5];", "st.shared.b32 [%r7], %r0;", r"is written that thread \d+ of program 0 read"),
    ],
)
def test_two_threads_on_one_byte_without_a_barrier(first: str, second: str, message: str) -> None:
    """A barrier of the warp is none between warps."""
    filled = SHARED + "st.shared.b32 [%r5], %r0; bar.sync 0;"
    execute(f"{filled}{first}{BARRIER}{second}", shared=256, threads=64, programs=2)
    for nothing in ("", WARP_BARRIER):
        refused(
            message + ".*without a barrier", f"{filled}{first}{nothing}{second}", shared=256, threads=64, programs=2
        )


def test_a_barrier_of_a_warp_orders_its_threads() -> None:
    within = SHARED.replace("xor.b32 %r6, %r4, 128", "xor.b32 %r6, %r4, 4") + "st.shared.b32 [%r5], %r0;"
    read = "ld.shared.b32 %r8, [%r7];"
    execute(within + WARP_BARRIER + read, shared=256, threads=64)
    refused("without a barrier", within + read, shared=256, threads=64)


def test_threads_may_store_the_same_value_at_once_and_no_other() -> None:
    same = SHARED + "and.b32 %r5, %r5, 0xfffffff8; mov.b32 %r9, 7; st.shared.b32 [%r5], %r9;"
    execute(same, shared=128)
    refused(
        "two threads write one byte of shared memory at once",
        same.replace("mov.b32 %r9, 7", "mov.b32 %r9, %r0"),
        shared=128,
    )


def test_a_result_is_stored_twice() -> None:
    refused("a result is stored twice", copied("st.global.b32 [%rd2], %r10;"), data(), Result(data()), programs=2)
    both = copied(target="%r0")
    refused("a result is stored twice|at once", both, data(), Result(data(32)), programs=2)
    half = copied().replace("st.global.b32", "shr.b64 %rd2, %rd2, 3; shl.b64 %rd2, %rd2, 3; st.global.b32")
    refused("two threads write one byte of global memory at once", half, data(), Result(data()), programs=2)


def test_global_memory_of_another_thread() -> None:
    """What a program stores no other reads in the same launch; its own threads only after a barrier."""
    after = f"{copied()} xor.b32 %r4, %r3, 1; {pointer(3, 1, 4, '%r4')} bar.sync 0; ld.global.b32 %r11, [%rd3];"
    execute(after, data(32), Result(data(32)))
    refused("without a barrier", after.replace("bar.sync 0;", ""), data(32), Result(data(32)))
    other = after.replace("xor.b32 %r4, %r3, 1", "xor.b32 %r4, %r3, 32")
    refused("of program 1 wrote", other, data(), Result(data()), programs=2)


def test_storing_over_what_others_read() -> None:
    """A thread may store over what it read itself."""
    place = copied().replace("a1", "a0")
    values = data(32)
    execute(place.replace("st.global", "add.f32 %r10, %r10, %r10; st.global"), values)
    np.testing.assert_array_equal(values, 2 * data(32))
    shifted = place.replace("mad.lo.s32 %r3", "xor.b32 %r9, %r0, 1; mad.lo.s32 %r3").replace(
        "%r3, 4, %rd2", "%r9, 4, %rd2"
    )
    refused("is written that thread .* read without a barrier", shifted, data(32))


def test_a_barrier_that_not_all_reach() -> None:
    some = f"{LANE} setp.lt.u32 %p1, %r0, 40; @%p1 bra skip; bar.sync 0; skip:"
    refused("thread 40: barrier 0 is not reached by all threads", some, threads=64)
    ended = f"{LANE} setp.lt.u32 %p1, %r0, 40; @%p1 ret; bar.sync 0;"
    refused("barrier 0 is not reached by all threads", ended, threads=64)
    warp = f"{LANE} setp.lt.u32 %p1, %r0, 20; @%p1 bra skip; bar.warp.sync -1; skip:"
    refused("not all threads of the warp", warp)
    execute(
        f"{LANE} setp.lt.u32 %p1, %r0, 40; @%p1 bra other; bar.sync 0; bra end; other: bar.sync 0; end:", threads=64
    )


def test_a_shuffle_takes_from_threads_that_are_there() -> None:
    all_ = f"{LANE} shfl.sync.bfly.b32 %r5, %r0, 16, 31, -1;"
    execute(all_)
    parted = f"{LANE} setp.lt.u32 %p1, %r0, 16; @%p1 bra end; shfl.sync.bfly.b32 %r5, %r0, 16, 31, {{mask}}; end:"
    refused("member mask", parted.format(mask="-1"))
    refused("thread 16: a value is taken of a thread that does not execute it", parted.format(mask="0xffff0000"))


def test_a_launch_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svertka.codegen.ptx.machine.LONGEST", 1000)
    refused("does not end", "again: bra again;")


COPY = SHARED + f"{pointer(1, 0, 4)} cp.async.ca.shared.global [%r5], [%rd1], 4;"
DONE = "cp.async.commit_group; cp.async.wait_group 0;"


def test_an_asynchronous_copy_before_its_wait() -> None:
    result = np.zeros(64, np.float32)
    read = f"ld.shared.b32 %r8, [%r7]; {pointer(2, 1, 4)} st.global.b32 [%rd2], %r8;"
    execute(COPY + DONE + BARRIER + read, data(), Result(result), shared=256, threads=64)
    np.testing.assert_array_equal(result, np.roll(data(), 32))
    options: dict[str, Any] = {"shared": 256, "threads": 64}
    given = data(), Result(data())
    refused("is read while a copy to it is in flight", COPY + BARRIER + read, *given, **options)
    refused("in flight", COPY + "cp.async.commit_group;" + BARRIER + read, *given, **options)
    one = "cp.async.commit_group; cp.async.wait_group 1;"
    refused("in flight", COPY + one + BARRIER + read, *given, **options)
    refused("is read that thread .* wrote without a barrier", COPY + DONE + read, *given, **options)
    refused("is written while a copy to it is in flight", COPY + "st.shared.b32 [%r5], %r0;", *given, **options)
    refused("never waited for", COPY, *given, **options)


def test_a_copy_of_nothing_is_zeros_and_reads_nothing() -> None:
    result = np.ones(32, np.float32)
    body = (
        SHARED
        + f"""{pointer(1, 0, 4)} mov.b32 %r9, 0; add.s64 %rd1, %rd1, 0x100000;
    cp.async.ca.shared.global [%r5], [%rd1], 4, %r9; {DONE} ld.shared.b32 %r8, [%r5]; {pointer(2, 1, 4)}
    st.global.b32 [%rd2], %r8;"""
    )
    execute(body, data(32), Result(result), shared=128)
    np.testing.assert_array_equal(result, np.zeros(32))


def test_what_is_ordered_is_counted() -> None:
    """Sectors and bank conflicts of accesses whose numbers are known."""
    from svertka.codegen.ptx.counts import Counts

    counts = Counts()
    execute(copied(), data(), Result(data()), programs=2, counts=counts)
    assert counts.instructions["ld.global"] == counts.instructions["st.global"] == 2
    assert (counts.sectors["load"].units, counts.sectors["load"].least) == (10, 8)  # tensors begin inside a sector
    strided = Counts()
    body = f"{LANE} shl.b32 %r4, %r3, 3; {pointer(1, 0, 4, '%r4')} ld.global.b32 %r10, [%rd1];"
    execute(body, data(256), counts=strided)
    assert (strided.sectors["load"].units, strided.sectors["load"].least) == (32, 4)
    banks = Counts()
    body = (
        SHARED.replace("shl.b32 %r4, %r0, 2", "shl.b32 %r4, %r0, 4")
        + "st.shared.b32 [%r5], %r0; ld.shared.b32 %r9, [%r5];"
    )
    execute(body, shared=512, counts=banks)
    assert (banks.wavefronts["store"].units, banks.wavefronts["load"].units, banks.wavefronts["load"].least) == (
        4,
        4,
        1,
    )
    wide = Counts()
    values = "{%r0, %r0, %r0, %r0}"
    execute(
        SHARED.replace("shl.b32 %r4, %r0, 2", "shl.b32 %r4, %r0, 4") + f"st.shared.v4.b32 [%r5], {values};",
        shared=512,
        counts=wide,
    )
    assert (wide.wavefronts["store"].units, wide.wavefronts["store"].least) == (4, 4)


def test_branches_part_and_meet() -> None:
    """Threads take loops of different lengths, programs different branches."""
    result = np.zeros(96, np.int32)
    body = f"""{LANE}
    mov.b32 %r5, 0; mov.b32 %r6, 0;
    again:
    setp.ge.u32 %p1, %r6, %r3;
    @%p1 bra done;
    add.s32 %r5, %r5, %r6; add.s32 %r6, %r6, 1;
    bra again;
    done:
    setp.eq.s32 %p2, %r1, 1;
    @!%p2 bra store;
    neg.s32 %r5, %r5;
    store: {pointer(1, 0, 4)} st.global.b32 [%rd1], %r5;"""
    execute(body, Result(result), programs=3)
    lanes = np.arange(96)
    expected = lanes * (lanes - 1) // 2 * np.where(lanes // 32 == 1, -1, 1)
    np.testing.assert_array_equal(result, expected)
