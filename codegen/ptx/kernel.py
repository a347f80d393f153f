"""One kernel on buffers of bytes: what a launch is, without Triton and without PyTorch.

Input: a linked kernel, buffers, arguments. Output: the buffers, changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from svertka.codegen.ptx.counts import Counts
from svertka.codegen.ptx.machine import Linked, execute
from svertka.codegen.ptx.memory import NEVER_WRITTEN, Arena, Overwritten
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.state import Array, State

__all__ = ["Buffer", "Pointer", "run_kernel"]

ALIGNMENT = 16  # of buffers by default: what Triton assumes of a tensor, and no more


@dataclass
class Buffer:
    """Global memory of one tensor.

    Attributes:
        content: its bytes; a launch changes them.
        written: which bytes have been written; reads of others are errors.
        offset: its address modulo 256.
        address: where it begins, if it is a piece of a tensor that is too large to be kept whole; 0 for anywhere.
    """

    content: Array
    written: Array
    offset: int = ALIGNMENT
    address: int = 0

    @staticmethod
    def of(values: Array, written: bool = True, offset: int = ALIGNMENT) -> Buffer:
        """A buffer over the memory of an array; ``written=False``: the array is a result, nothing in it may be read."""
        content = values.reshape(-1).view(np.uint8)
        return Buffer(content, np.full(len(content), written), offset)


@dataclass(frozen=True)
class Pointer:
    """An argument: the address of a byte of a buffer."""

    buffer: int
    offset: int = 0


def run_kernel(
    linked: Linked,
    programs: int | tuple[int, int, int],
    buffers: Sequence[Buffer],
    arguments: Sequence[Any],
    shared_bytes: int = 0,
    scratch: tuple[int, int] = (0, 0),
    counts: Counts | None = None,
    again: bool = False,
    sample: Array | None = None,
) -> State:
    """Run a kernel.

    Args:
        linked: the kernel.
        programs: how many of its programs, or how many along each of three axes.
        buffers: global memory.
        arguments: for each parameter a ``Pointer``, or a NumPy scalar of the parameter's size.
        shared_bytes: dynamic shared memory of a program.
        scratch: bytes of global memory that the kernel has for itself, and the address modulo 256; a ``Pointer`` to the
            buffer behind the last one is its address.
        counts: where to count what is executed.
        again: whether what was read or stored may be stored again, in any order.
        sample: numbers of the programs that run; all if None.

    Raises:
        PtxError: what the machine refuses.
    """
    parameters = linked.code.parameters
    if len(arguments) != len(parameters):
        raise PtxError(f"kernel {linked.code.name}: {len(parameters)} parameters, {len(arguments)} arguments")
    for noting in (False, True) if sample is None else (True,):
        arena = _arena(linked, buffers, scratch)
        arena.noting = noting
        arena.lenient = again
        given = {p.name: _pattern(arena, p.size, a) for p, a in zip(parameters, arguments, strict=True)}
        attempt = None if counts is None else Counts()
        try:
            state = execute(linked, programs, arena, shared_bytes, given, attempt, sample)
        except Overwritten:
            continue
        break
    if counts is not None and attempt is not None:
        counts.add(attempt)
    for place, buffer in enumerate(buffers):
        buffer.content[:], buffer.written[:] = arena.content(place)
    return state


def _arena(linked: Linked, buffers: Sequence[Buffer], scratch: tuple[int, int]) -> Arena:
    sizes = [len(buffer.content) for buffer in buffers]
    far = {place: buffer.address for place, buffer in enumerate(buffers) if buffer.address}
    offsets = [buffer.offset for buffer in buffers]
    arena = Arena([*sizes, scratch[0]], [*offsets, scratch[1]], linked.units[1], far)
    for place, buffer in enumerate(buffers):
        arena.fill(place, buffer.content, buffer.written)
    start = arena.starts[-1]
    arena.valid[start : start + scratch[0]] = NEVER_WRITTEN
    arena.again.append((start, start + scratch[0]))
    return arena


def _pattern(arena: Arena, size: int, argument: Any) -> Array:
    """The bit pattern of an argument."""
    if isinstance(argument, Pointer):
        argument = np.uint64(arena.address(argument.buffer) + argument.offset)
    pattern = np.asarray(argument).reshape(1)
    if pattern.itemsize != size:
        raise PtxError(f"an argument of {pattern.itemsize} bytes stands for a parameter of {size}")
    return pattern.view(f"u{size}")
