"""Instructions of a whole warp: shuffles, reductions, votes, elections, matrices of shared memory.

All threads that the member mask names must be there; a value that comes from a thread that is not is an error.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from svertka.codegen.ptx.moves import address_reader, spread
from svertka.codegen.ptx.program import Code, Instruction, Pair, Sink, Vector
from svertka.codegen.ptx.state import WARP, Array, State, Step, reader, unknown, writer
from svertka.codegen.ptx.types import DTYPES

__all__ = ["elect", "load_matrix", "members", "reduce", "shuffle", "store_matrix", "vote", "whole_warps"]

EVERY = np.uint32(0xFFFFFFFF)
_LANE = np.arange(WARP)


def members(state: State, mask: Array) -> None:
    """Refuse a warp's instruction where threads of its member mask are missing, or a thread is not in the mask."""
    if state.active is None and mask.shape[0] == 1 and mask[0] == EVERY:
        return
    named: Any = ((state.full(mask) >> (state.thread % WARP).astype(np.uint32)) & 1).astype(bool)
    active = state.mask()
    wanted = state.full(mask).reshape(-1, WARP)
    present = active.reshape(-1, WARP)
    any_active = present.any(axis=1, keepdims=True)
    missing: Any = (named.reshape(-1, WARP) != present) & any_active
    differ: Any = ((wanted != wanted.max(1, where=present, initial=0)[:, None]) & present).any(1)
    if missing.any() or differ.any():
        lane = int(np.flatnonzero(missing.reshape(-1))[0]) if missing.any() else int(differ.argmax()) * WARP
        raise state.error("the member mask and the threads that execute the instruction differ", lane)


def whole_warps(state: State) -> Array:
    """The numbers of the warps that execute; each must be complete."""
    if state.active is None:
        return np.arange(state.lanes // WARP)
    present = state.active.reshape(-1, WARP)
    partly = present.any(1) & ~present.all(1)
    if partly.any():
        warp = int(partly.argmax())
        raise state.error("not all threads of the warp execute it", warp * WARP + int((~present[warp]).argmax()))
    return np.flatnonzero(present[:, 0])


def shuffle(code: Code, instruction: Instruction) -> Step:
    """``shfl.sync``: a value of another thread of the warp."""
    if len(instruction.modifiers) != 3 or instruction.modifiers[0] != "sync" or instruction.modifiers[2] != "b32":
        raise unknown(code, instruction)
    mode = instruction.modifiers[1]
    if mode not in ("bfly", "idx", "up", "down"):
        raise unknown(code, instruction)
    target, *sources = instruction.operands
    value, distance, clamp, mask = (reader(code, source, np.uint32) for source in sources)
    first, second = (target.first, target.second) if isinstance(target, Pair) else (target, Sink())
    write, write_inside = writer(code, first, np.uint32), writer(code, second, bool)

    def step(state: State) -> None:
        members(state, mask(state))
        lane = (state.thread % WARP).astype(np.int64)
        by, limits = distance(state).astype(np.int64) & 31, clamp(state).astype(np.int64)
        segment, bound = (limits >> 8) & 31, limits & 31
        least, most = lane & segment, (lane & segment) | (bound & ~segment)
        other = _other(mode, lane, by, least | (by & ~segment))
        inside = other >= most if mode == "up" else other <= most
        place = state.number - lane + np.where(inside, other, lane)
        if state.active is not None:
            absent = state.active & ~state.active[place]
            if absent.any():
                raise state.error("a value is taken of a thread that does not execute it", int(absent.argmax()))
        state.defined()
        values = state.full(value(state))[place]
        if state.undefined is not None:
            state.undefined = state.undefined[place] & state.mask()
        write(state, values)
        state.undefined = None
        write_inside(state, inside)

    return step


def _other(mode: str, lane: Array, by: Array, indexed: Array) -> Array:
    """The thread of the warp that a shuffle takes from."""
    if mode == "bfly":
        return lane ^ by
    return indexed if mode == "idx" else lane - by if mode == "up" else lane + by


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add.reduce,
    "min": np.minimum.reduce,
    "max": np.maximum.reduce,
    "and": np.bitwise_and.reduce,
    "or": np.bitwise_or.reduce,
    "xor": np.bitwise_xor.reduce,
}


def reduce(code: Code, instruction: Instruction) -> Step:
    """``redux.sync``: a reduction over the warp."""
    sync, operation, kind = (*instruction.modifiers, "", "", "")[:3]
    if sync != "sync" or operation not in REDUCTIONS or kind not in ("s32", "u32", "b32"):
        raise unknown(code, instruction)
    function, dtype = REDUCTIONS[operation], DTYPES[kind]
    target, source, mask_operand = instruction.operands
    value, mask = reader(code, source, dtype), reader(code, mask_operand, np.uint32)
    write = writer(code, target, dtype)

    def step(state: State) -> None:
        members(state, mask(state))
        warps = whole_warps(state)
        rows = state.full(value(state)).reshape(-1, WARP)[warps]
        lanes = (warps[:, None] * WARP + _LANE).reshape(-1)
        write(state, spread(state, lanes, np.repeat(function(rows, axis=1, dtype=dtype), WARP)))

    return step


def vote(code: Code, instruction: Instruction) -> Step:
    """``vote.sync``: whether all or any threads of the warp say so, or which."""
    if instruction.name not in ("vote.sync.all.pred", "vote.sync.any.pred", "vote.sync.ballot.b32"):
        raise unknown(code, instruction)
    target, source, mask_operand = instruction.operands
    value, mask = reader(code, source, bool), reader(code, mask_operand, np.uint32)
    kind = instruction.modifiers[1]
    write = writer(code, target, np.uint32 if kind == "ballot" else bool)

    def step(state: State) -> None:
        members(state, mask(state))
        present = state.mask().reshape(-1, WARP)
        said = state.full(value(state)).reshape(-1, WARP)
        if kind == "ballot":
            result: Any = ((said & present) << _LANE).sum(1).astype(np.uint32)
        else:
            result = (said | ~present).all(1) if kind == "all" else (said & present).any(1)
        write(state, np.repeat(result, WARP))

    return step


def elect(code: Code, instruction: Instruction) -> Step:
    """``elect.sync``: one thread of the warp; the first, as on every GPU so far, which Triton's code relies on."""
    target, mask_operand = instruction.operands
    if instruction.name != "elect.sync" or not isinstance(target, Pair):
        raise unknown(code, instruction)
    mask = reader(code, mask_operand, np.uint32)
    write, write_chosen = writer(code, target.first, np.uint32), writer(code, target.second, bool)

    def step(state: State) -> None:
        members(state, mask(state))
        leader = state.mask().reshape(-1, WARP).argmax(1).astype(np.uint32)
        write(state, np.repeat(leader, WARP))
        write_chosen(state, np.repeat(leader, WARP) == state.thread % WARP)

    return step


def _matrices(code: Code, instruction: Instruction, name: str) -> tuple[int, bool]:
    """How many matrices of 8 rows of 8 halves, and whether they are transposed."""
    parts = list(instruction.modifiers)
    transposed = "trans" in parts
    rest = [part for part in parts if part != "trans"]
    if len(rest) != 6 or rest[:3] != ["sync", "aligned", "m8n8"] or rest[3] not in ("x1", "x2", "x4"):
        raise unknown(code, instruction, f"this form of {name} is not known")
    if rest[4] not in ("shared", "shared::cta") or rest[5] != "b16":
        raise unknown(code, instruction, f"this form of {name} is not known")
    return int(rest[3][1:]), transposed


def _rows(state: State, count: int) -> tuple[Array, Array]:
    """Warps that execute, and the lanes that hold the addresses of the rows."""
    warps = whole_warps(state)
    return warps, (warps[:, None] * WARP + np.arange(8 * count)).reshape(-1)


def _turned(words: Array) -> Array:
    """Matrices of 8 x 8 halves, two to a word, transposed."""
    halves = np.ascontiguousarray(words).view(np.uint16).reshape(-1, 8, 8).swapaxes(1, 2)
    return np.ascontiguousarray(halves).view(np.uint32)


def load_matrix(code: Code, instruction: Instruction) -> Step:
    """``ldmatrix``: each matrix of halves into one register of all threads of the warp."""
    count, transposed = _matrices(code, instruction, "ldmatrix")
    target, source = instruction.operands
    parts = target.parts if isinstance(target, Vector) else (target,)
    writes, address = [writer(code, part, np.uint32) for part in parts], address_reader(code, source)

    def step(state: State) -> None:
        warps, lanes = _rows(state, count)
        if not len(warps):
            return
        rows = state.shared.load(state, lanes, state.among(address(state), lanes), 4, 4)
        rows = _turned(rows) if transposed else rows
        found = rows.reshape(len(warps), count, WARP)
        every = (warps[:, None] * WARP + _LANE).reshape(-1)
        for place, write in enumerate(writes):
            write(state, spread(state, every, np.ascontiguousarray(found[:, place]).reshape(-1)))

    return step


def store_matrix(code: Code, instruction: Instruction) -> Step:
    """``stmatrix``: the reverse of ``ldmatrix``."""
    count, transposed = _matrices(code, instruction, "stmatrix")
    target, source = instruction.operands
    parts = source.parts if isinstance(source, Vector) else (source,)
    reads, address = [reader(code, part, np.uint32) for part in parts], address_reader(code, target)

    def step(state: State) -> None:
        warps, lanes = _rows(state, count)
        if not len(warps):
            return
        values = np.stack([state.full(read(state)).reshape(-1, WARP)[warps] for read in reads], axis=1)
        rows = (_turned(values) if transposed else values).reshape(-1, 4)
        state.shared.store(state, lanes, state.among(address(state), lanes), rows)

    return step
