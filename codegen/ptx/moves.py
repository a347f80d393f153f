"""Instructions that move values: ``mov``, ``ld``, ``st``, ``cvta``, and every entry of the arithmetic table.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

import numpy as np

from svertka.codegen.ptx.arithmetic import TABLE
from svertka.codegen.ptx.program import Address, Code, Immediate, Instruction, Operand, Pair, Register, Symbol, Vector
from svertka.codegen.ptx.state import BITS, SHARED_BASE, Array, Reader, State, Step, reader, unknown, writer
from svertka.codegen.ptx.types import DTYPES

__all__ = [
    "address_reader",
    "arithmetic",
    "compare_halves",
    "convert_address",
    "load",
    "move",
    "select",
    "spaces",
    "store",
]

SHARED = ("shared", "shared::cta")
HINTS = {"L1::evict_last", "L1::evict_first", "L1::evict_normal", "L1::no_allocate", "L2::evict_last", "nc"}
HINTS |= {"L2::evict_first", "L2::128B", "L2::256B", "L2::64B", "relaxed", "weak", "gpu"}


def arithmetic(code: Code, instruction: Instruction) -> Step:
    """An instruction of the arithmetic table."""
    operation = TABLE[instruction.name]
    result, *sources = instruction.operands
    if len(sources) != len(operation.sources):
        raise unknown(code, instruction, f"it has {len(sources)} operands, {len(operation.sources)} are known")
    write = writer(code, result, DTYPES[operation.result])
    reads = [reader(code, s, DTYPES[kind]) for s, kind in zip(sources, operation.sources, strict=True)]
    function = operation.function
    if len(reads) == 1:
        (only,) = reads
        return lambda state: write(state, function(only(state)))
    if len(reads) == 2:
        left, right = reads
        return lambda state: write(state, function(left(state), right(state)))
    if len(reads) == 3:
        first, second, third = reads
        return lambda state: write(state, function(first(state), second(state), third(state)))
    return lambda state: write(state, function(*(read(state) for read in reads)))


def select(code: Code, instruction: Instruction) -> Step:
    """``selp``: what is not selected need not have a value."""
    operation = TABLE[instruction.name]
    result, *sources = instruction.operands
    stored = DTYPES[operation.result]
    write, condition = writer(code, result, stored), reader(code, sources[2], np.bool_)
    first, second = (reader(code, source, stored) for source in sources[:2])

    def step(state: State) -> None:
        chosen = condition(state)
        before = state.undefined
        state.undefined = None
        left = first(state)
        of_left, state.undefined = state.undefined, None
        right = second(state)
        for missing, where in ((of_left, chosen), (state.undefined, ~chosen)):
            if missing is not None and (missing & where).any():
                before = missing & where if before is None else before | missing & where
        state.undefined = before
        write(state, np.where(chosen, left, right))

    return step


def compare_halves(code: Code, instruction: Instruction) -> Step:
    """``setp`` of two halves: one predicate for each, the lower half's first."""
    single = TABLE.get(instruction.name.removesuffix("x2"))
    result, *sources = instruction.operands
    if not instruction.name.endswith("16x2") or single is None or not isinstance(result, Pair):
        raise unknown(code, instruction)
    reads = [reader(code, source, np.uint32) for source in sources]
    writes = [writer(code, one, bool) for one in (result.first, result.second)]
    dtype, function = DTYPES[single.sources[0]], single.function

    def step(state: State) -> None:
        values = [read(state) for read in reads]
        for place, write in enumerate(writes):
            halves = [(value >> np.uint32(16 * place)).astype(np.uint16).view(dtype) for value in values]
            write(state, function(*halves))

    return step


def move(code: Code, instruction: Instruction) -> Step:
    """``mov``: of one value, or between one register and several narrower ones."""
    target, source = instruction.operands
    kind = instruction.modifiers[-1]
    if kind not in DTYPES or len(instruction.modifiers) != 1:
        raise unknown(code, instruction)
    dtype = DTYPES[kind]
    if isinstance(source, Vector):
        return _pack(code, target, source, 8 * dtype.itemsize)
    if isinstance(target, Vector):
        return _unpack(code, target, source, 8 * dtype.itemsize)
    stored = np.dtype(bool) if kind == "pred" else BITS[8 * dtype.itemsize]
    read, write = reader(code, source, stored), writer(code, target, stored)
    return lambda state: write(state, read(state))


def _pack(code: Code, target: Operand, source: Vector, bits: int) -> Step:
    narrow = bits // len(source.parts)
    reads = [reader(code, part, BITS[narrow]) for part in source.parts]
    whole, write = BITS[bits], writer(code, target, BITS[bits])

    def step(state: State) -> None:
        value = np.zeros(1, whole)
        for place, read in enumerate(reads):
            value = value | (read(state).astype(whole) << whole.type(place * narrow))
        write(state, value)

    return step


def _unpack(code: Code, target: Vector, source: Operand, bits: int) -> Step:
    narrow = bits // len(target.parts)
    read, whole = reader(code, source, BITS[bits]), BITS[bits]
    writes = [writer(code, part, BITS[narrow]) for part in target.parts]

    def step(state: State) -> None:
        value = read(state)
        for place, write in enumerate(writes):
            write(state, (value >> whole.type(place * narrow)).astype(BITS[narrow]))

    return step


def convert_address(code: Code, instruction: Instruction) -> Step:
    """``cvta``: global addresses are generic addresses."""
    if instruction.name not in ("cvta.global.u64", "cvta.to.global.u64"):
        raise unknown(code, instruction)
    target, source = instruction.operands
    read, write = reader(code, source, BITS[64]), writer(code, target, BITS[64])
    return lambda state: write(state, read(state))


def spaces(code: Code, instruction: Instruction) -> tuple[str, int, str]:
    """The state space, the number of elements and the type of a load or store."""
    space, count, kind = "", 1, instruction.modifiers[-1]
    for modifier in instruction.modifiers[:-1]:
        if modifier in ("param", "global", *SHARED):
            space = "shared" if modifier in SHARED else modifier
        elif modifier in ("v2", "v4", "v8"):
            count = int(modifier[1:])
        elif modifier not in HINTS:
            raise unknown(code, instruction, f"modifier .{modifier} is not known")
    if not space or kind not in DTYPES or kind == "pred":
        raise unknown(code, instruction, "its state space or its type is not known")
    return space, count, kind


def address_reader(code: Code, operand: Operand) -> Reader:
    """What reads an address as 64 bits."""
    if not isinstance(operand, Address):
        raise unknown(code, Instruction(str(operand), (), None, 0, "", ""), "it is no address")
    base, offset = operand.base, np.uint64(operand.offset % (1 << 64))
    if isinstance(base, Register):
        read = reader(code, base, BITS[base.bits])
        if not operand.offset:
            return lambda state: read(state).astype(np.uint64)
        return lambda state: read(state).astype(np.uint64) + offset
    if isinstance(base, Symbol) and base.name in code.shared:
        place = np.array([SHARED_BASE + code.shared[base.name] + operand.offset], np.uint64)
        return lambda state: place
    if isinstance(base, Immediate):
        fixed = np.array([(base.value + operand.offset) % (1 << 64)], np.uint64)
        return lambda state: fixed
    raise unknown(code, Instruction(str(operand), (), None, 0, "", ""), "the base of its address is not known")


def _parts(operand: Operand) -> tuple[Operand, ...]:
    return operand.parts if isinstance(operand, Vector) else (operand,)


def load(code: Code, instruction: Instruction) -> Step:
    """``ld`` from parameters, global or shared memory."""
    space, count, kind = spaces(code, instruction)
    dtype = DTYPES[kind]
    target, source = instruction.operands
    writes = [writer(code, part, dtype) for part in _parts(target)]
    if len(writes) != count:
        raise unknown(code, instruction, f"it has {len(writes)} results for {count} elements")
    if space == "param":
        return _parameter(code, instruction, source, kind)
    address, size = address_reader(code, source), dtype.itemsize

    def step(state: State) -> None:
        lanes = state.chosen()
        if not len(lanes):
            return
        memory = state.arena if space == "global" else state.shared
        values = memory.load(state, lanes, state.among(address(state), lanes), size, count).view(dtype)
        for place, write in enumerate(writes):
            write(state, spread(state, lanes, values[:, place]))

    return step


def spread(state: State, lanes: Array, values: Array) -> Array:
    """Values of some lanes as one element per lane; 0 in the others."""
    if len(lanes) == state.lanes:
        return np.ascontiguousarray(values)
    whole = np.zeros(state.lanes, values.dtype)
    whole[lanes] = values
    return whole


def _parameter(code: Code, instruction: Instruction, source: Operand, kind: str) -> Step:
    known = {parameter.name: parameter for parameter in code.parameters}
    name = source.base.name if isinstance(source, Address) and isinstance(source.base, Symbol) else ""
    if (
        name not in known
        or known[name].size != DTYPES[kind].itemsize
        or not isinstance(source, Address)
        or source.offset
    ):
        raise unknown(code, instruction, "it reads no parameter of this size")
    write = writer(code, instruction.operands[0], BITS[8 * known[name].size])
    return lambda state: write(state, state.parameters[name])


def store(code: Code, instruction: Instruction) -> Step:
    """``st`` to global or shared memory."""
    space, count, kind = spaces(code, instruction)
    size = DTYPES[kind].itemsize
    target, source = instruction.operands
    dtype = np.dtype(f"u{size}")
    reads = [reader(code, part, dtype) for part in _parts(source)]
    if len(reads) != count or space == "param":
        raise unknown(code, instruction)
    address = address_reader(code, target)

    def step(state: State) -> None:
        lanes = state.chosen()
        if not len(lanes):
            return
        memory = state.arena if space == "global" else state.shared
        values = np.stack([state.among(read(state), lanes) for read in reads], axis=1)
        memory.store(state, lanes, state.among(address(state), lanes), values)

    return step
