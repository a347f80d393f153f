"""What kernels of other libraries say and generated ones never do: atomic additions, and hints for the cache.

Generated kernels have no atomics, so the machine refuses them there. In a foreign kernel the additions of one
instruction happen in the order of the lanes.

Input: instructions of a foreign kernel. Output: the same without hints; steps of atomic additions.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from svertka.codegen.ptx.moves import address_reader, spread
from svertka.codegen.ptx.program import Address, Code, Immediate, Instruction, Vector
from svertka.codegen.ptx.state import Array, State, Step, reader, unknown, writer
from svertka.codegen.ptx.types import DTYPES

__all__ = ["atomics", "without_hints"]

HINT, POLICY = ".L2::cache_hint", "createpolicy"
_CACHED = re.compile(r"^((?:ld|st)\.global)\.(?:ca|cg|cs|lu|cv|wb|wt)\b")
ORDERS = {"global", "gpu", "cta", "sys", "relaxed", "acq_rel", "acquire", "release"}
"""Modifiers that change no value here: programs of a launch are executed in step."""


def without_hints(code: Code) -> Code:
    """The kernel without hints for the caches: a policy becomes a number that nobody reads."""
    for place, one in enumerate(code.instructions):
        if one.operation == POLICY:
            code.instructions[place] = replace(one, name="mov.b64", operands=(one.operands[0], Immediate(0)))
            continue
        operands = one.operands[:-1] if HINT in one.name else one.operands
        name = _CACHED.sub(r"\1", one.name.replace(HINT, ""))
        if name != one.name:
            code.instructions[place] = replace(one, name=name, operands=operands)
    return code


def add(code: Code, instruction: Instruction) -> Step:
    """``atom.add`` and ``red.add`` on global memory; ``red`` gives no result."""
    *modifiers, operation, kind = instruction.modifiers
    *targets, place, source = instruction.operands
    known = operation == "add" and kind in DTYPES and {*modifiers} <= ORDERS and "global" in modifiers
    if not known or not isinstance(place, Address) or isinstance(source, Vector):
        raise unknown(code, instruction)
    dtype = np.dtype(DTYPES[kind])
    address, read = address_reader(code, place), reader(code, source, dtype)
    writes = [writer(code, target, dtype) for target in targets]

    def step(state: State) -> None:
        lanes = state.chosen()
        if not len(lanes):
            return
        before = _added(state, lanes, state.among(address(state), lanes), state.among(read(state), lanes))
        for write in writes:
            write(state, spread(state, lanes, before))

    return step


def _added(state: State, lanes: Array, addresses: Array, values: Array) -> Array:
    """Add values at addresses, lane after lane; what was there before each addition."""
    size, arena = values.itemsize, state.arena
    index = arena.place(state, lanes, addresses, size)
    arena.readable(state, lanes, index, size, 1, addresses)
    if state.counts is not None:
        for kind in ("load", "store"):
            arena.count(state, kind, lanes, index, size)
    words, places = arena.data.view(values.dtype), index // size
    before = np.empty(len(values), values.dtype)
    for lane, (at, value) in enumerate(zip(places, values, strict=True)):
        before[lane] = words[at]
        words[at] += value
    return before


def atomics(code: Code, instruction: Instruction) -> Step | None:
    """What executes atomic additions, for ``machine.link``; None for other instructions."""
    return add(code, instruction) if instruction.operation in ("atom", "red") else None
