"""PTX that builds tensor maps, fetches boxes, waits for them and dumps shared memory."""

from __future__ import annotations

from collections.abc import Sequence

from tests.ptx.harness import pointer

__all__ = ["BARRIER", "DATA", "dumped", "expected", "fetched", "started", "swizzled", "tensor_map", "waited"]

BF16 = 10  # a tensor map's number of the type
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
