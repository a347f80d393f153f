"""``cp.async``: copies from global to shared memory that arrive when they are waited for, and not before.

What a copy writes is in flight from its issue to the wait of the thread that issued it: every access of it is an error.
After the wait it is that thread's write, which others see after a barrier.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.moves import HINTS, address_reader
from svertka.codegen.ptx.program import Code, Immediate, Instruction
from svertka.codegen.ptx.state import Array, State, Step, reader, unknown

__all__ = ["commit", "copy", "pending_copies", "wait"]

UNIT = "cp.async"


@dataclass
class _Copy:
    """Copies of one instruction: lanes, group of each, places in shared memory and bytes."""

    lanes: Array
    groups: Array
    index: Array
    data: Array


@dataclass
class _Copies:
    """Copies in flight, and how many groups each lane has committed."""

    committed: Array
    flying: list[_Copy] = field(default_factory=list)


def _unit(state: State) -> _Copies:
    unit: _Copies = state.unit(UNIT, lambda: _Copies(np.zeros(state.lanes, np.int64)))
    return unit


def pending_copies(state: State) -> Array:
    """Lanes whose copies were never waited for."""
    flying = _unit(state).flying if UNIT in state.units else []
    return np.concatenate([one.lanes for one in flying]) if flying else np.zeros(0, np.int64)


def copy(code: Code, instruction: Instruction) -> Step:
    """``cp.async.ca`` and ``.cg``: 4, 8 or 16 bytes; what lies behind the source's size is 0."""
    parts = instruction.modifiers
    if parts[0] != "async" or parts[1] not in ("ca", "cg") or parts[2:4] not in (("shared", "global"), SHARED_CTA):
        raise unknown(code, instruction)
    if any(part not in HINTS for part in parts[4:]):
        raise unknown(code, instruction)
    target, source, size_operand, *rest = instruction.operands
    if not isinstance(size_operand, Immediate) or size_operand.value not in (4, 8, 16) or len(rest) > 1:
        raise unknown(code, instruction, "this size is not known")
    size = size_operand.value
    to, from_ = address_reader(code, target), address_reader(code, source)
    given = reader(code, rest[0], np.uint32) if rest else None
    word = min(size, 8)

    def step(state: State) -> None:
        lanes = state.chosen()
        if not len(lanes):
            return
        unit = _unit(state)
        data = np.zeros((len(lanes), size // word), f"u{word}")
        sizes = np.full(len(lanes), size) if given is None else state.among(given(state), lanes).astype(np.int64)
        strange = (sizes != 0) & (sizes != size)
        if strange.any():
            raise state.error(
                f"a copy of {int(sizes[strange.argmax()])} of {size} bytes is not known", lanes[strange][0]
            )
        some = sizes > 0
        if some.any():
            addresses = state.among(from_(state), lanes)[some]
            data[some] = state.arena.load(state, lanes[some], addresses, word, size // word)
        places = state.among(to(state), lanes)
        index = state.shared.place(state, lanes, places, size)
        if state.shared.claim(state, lanes, index, size, places, flying=True) is not None:
            raise state.error("two threads copy to one byte of shared memory at once", int(lanes[0]))
        unit.flying.append(_Copy(lanes, unit.committed[lanes], index, data))

    return step


SHARED_CTA = ("shared::cta", "global")


def commit(code: Code, instruction: Instruction) -> Step:
    """``cp.async.commit_group``: the copies so far are a group."""
    if instruction.name != "cp.async.commit_group":
        raise unknown(code, instruction)

    def step(state: State) -> None:
        _unit(state).committed[state.mask()] += 1

    return step


def wait(code: Code, instruction: Instruction) -> Step:
    """``cp.async.wait_group N``: all groups but the last N arrive."""
    if instruction.name == "cp.async.wait_all":
        left = -1
    elif instruction.name == "cp.async.wait_group" and isinstance(instruction.operands[0], Immediate):
        left = instruction.operands[0].value
    else:
        raise unknown(code, instruction)

    def step(state: State) -> None:
        unit, active = _unit(state), state.mask()
        kept = []
        for one in unit.flying:
            arrived = active[one.lanes] & (one.groups < unit.committed[one.lanes] - left)
            if arrived.any():
                _arrive(state, one, arrived)
            if not arrived.all():
                rest = ~arrived
                kept.append(_Copy(one.lanes[rest], one.groups[rest], one.index[rest], one.data[rest]))
        unit.flying = kept

    return step


def _arrive(state: State, one: _Copy, arrived: Array) -> None:
    lanes, index, data = one.lanes[arrived], one.index[arrived], one.data[arrived]
    size = data.dtype.itemsize
    state.shared.arrive(state, lanes, index, size * data.shape[1])
    state.shared.data.view(data.dtype)[(index // size)[:, None] + np.arange(data.shape[1])] = data
