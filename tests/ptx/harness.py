"""Kernels of a few lines of PTX, and what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from svertka.codegen.ptx.counts import Counts
from svertka.codegen.ptx.kernel import Buffer, Pointer, run_kernel
from svertka.codegen.ptx.machine import Special, link
from svertka.codegen.ptx.parse import parse

HEADER = """
.version 8.7
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 smem[];
.visible .entry small({parameters})
.reqntid {threads}
{{
    .reg .pred %p<16>;
    .reg .b16 %rs<64>;
    .reg .b32 %r<300>;
    .reg .b64 %rd<64>;
{body}
    ret;
}}
"""
WORDS = {"16": "rs", "32": "r", "64": "rd", "red": "p"}
"""Prefixes of registers by the last characters of a type."""


@dataclass
class Result:
    """An array that a kernel fills; nothing may be read from it."""

    array: Any


def kernel(body: str, types: tuple[str, ...] = (), threads: int = 32) -> str:
    """The text of a kernel with parameters ``a0``, ``a1``, ... of some types."""
    parameters = ", ".join(f".param .{kind} a{place}" for place, kind in enumerate(types))
    return HEADER.format(parameters=parameters, threads=threads, body=body)


def execute(
    body: str,
    *arguments: Any,
    threads: int = 32,
    programs: int = 1,
    shared: int = 0,
    offset: int = 16,
    scratch: int = 0,
    counts: Counts | None = None,
    special: Special | None = None,
) -> None:
    """Run a body on arrays (pointers to them), results and scalars; scratch is the last parameter."""
    buffers, given, types = [], [], []
    for argument in arguments:
        if isinstance(argument, Result | np.ndarray) and not isinstance(argument, np.generic):
            result = isinstance(argument, Result)
            buffers.append(Buffer.of(argument.array if result else argument, not result, offset))
            given.append(Pointer(len(buffers) - 1))
            types.append("u64")
        else:
            given.append(argument)
            types.append({"f": "f", "u": "u", "i": "s"}[argument.dtype.kind] + str(8 * argument.itemsize))
    if scratch:
        given.append(Pointer(len(buffers)))
        types.append("u64")
    linked = link(parse(kernel(body, tuple(types), threads)), special)
    run_kernel(linked, programs, buffers, given, shared, (scratch, 0), counts)


LANE = """
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mad.lo.s32 %r3, %r1, %r2, %r0;
"""
"""``%r0``: thread, ``%r1``: program, ``%r3``: lane."""


def pointer(target: int, parameter: int, size: int, index: str = "%r3") -> str:
    """``%rdN``: the address of an element of a parameter's array."""
    return f"""
    ld.param.b64 %rd{target}, [a{parameter}];
    mad.wide.u32 %rd{target}, {index}, {size}, %rd{target};
"""


def apply(instruction: str, result: Any, *operands: Any) -> Any:
    """What an arithmetic instruction gives for every element of some arrays, as an array of a dtype."""
    lanes = len(operands[0])
    size = -(-lanes // 32) * 32
    padded = [np.resize(np.ascontiguousarray(operand), size) for operand in operands]
    dtype = np.dtype(result)
    truth = dtype.kind == "b"
    found = np.zeros(size, np.uint8 if truth else dtype)
    body, names = LANE, []
    for place, operand in enumerate(padded):
        body += pointer(10 + place, place, operand.itemsize)
        prefix, number = WORDS[str(8 * operand.itemsize)], 40 + place
        body += f"    ld.global.b{8 * operand.itemsize} %{prefix}{number}, [%rd{10 + place}];\n"
        names.append(f"%{prefix}{number}")
    body += pointer(20, len(padded), found.itemsize)
    if truth:
        body += f"    {instruction} %p1, {', '.join(names)};\n    selp.b16 %rs50, 1, 0, %p1;\n"
        body += "    st.global.b8 [%rd20], %rs50;\n"
    else:
        prefix = WORDS[str(8 * dtype.itemsize)]
        body += f"    {instruction} %{prefix}50, {', '.join(names)};\n"
        body += f"    st.global.b{8 * dtype.itemsize} [%rd20], %{prefix}50;\n"
    execute(body, *padded, Result(found), programs=size // 32)
    return found[:lanes].astype(dtype) if truth else found[:lanes]
