"""The state of a launch: registers of all threads of all programs, which of them are active, and when they met last.

A lane is one thread of one program; lanes of a program stand beside each other. A register is an array over all lanes,
or of one element where all lanes have the same value. ``tick`` counts executed instructions; barriers note it, so that
of two accesses one can say whether something ordered them.

Input: ``Code`` and a number of programs. Output: ``State``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from svertka.codegen.ptx.program import (
    Code,
    Immediate,
    Instruction,
    Negated,
    Operand,
    PtxError,
    Register,
    Sink,
    Special,
    Symbol,
)

if TYPE_CHECKING:
    from svertka.codegen.ptx.counts import Counts
    from svertka.codegen.ptx.memory import Arena, Shared

__all__ = ["BITS", "SHARED_BASE", "WARP", "Array", "Reader", "State", "Step", "Writer", "reader", "unknown", "writer"]

Array = npt.NDArray[Any]
Reader = Callable[["State"], Array]
Writer = Callable[["State", Array], None]
Step = Callable[["State"], None]

WARP = 32
SHARED_BASE = 1024  # shared memory begins here, so that a pointer of 0 is none; swizzles repeat after 1024 bytes
BITS: dict[int, Any] = {1: np.dtype(bool), 16: np.dtype(np.uint16), 32: np.dtype(np.uint32), 64: np.dtype(np.uint64)}


@dataclass
class State:
    """A launch that runs.

    Attributes:
        code: the kernel.
        programs: how many run; ``grid``: how many along each axis, the first of which runs fastest.
        sample: which of the grid's programs run; the first ones if None.
        arena: global memory; ``shared``: of all programs.
        parameters: the kernel's arguments by name, as bit patterns.
        registers: values by slot; None where never written.
        partial: lanes in which a register has a value, where it has not in all.
        undefined: lanes in which the instruction that is executed read a register without a value; None for none.
        active: lanes that execute; None for all.
        tick: number of the instruction that is executed.
        program_tick: when each program met at a barrier last; ``warp_tick``: each warp.
        fence_tick: when each lane last made its writes visible to the asynchronous proxy.
        acquire_tick: when each lane last saw a phase of an mbarrier complete.
        current: the instruction that is executed, for messages.
        units: state of the asynchronous units, by name.
        flying: registers that asynchronous instructions still write: how many of them for each warp.
        progress: how often something happened that may let a waiting thread go on.
        counts: where to count what is executed, if anywhere.
        yields: whether the threads that execute found that they have to wait; ``stuck``: for what.
    """

    code: Code
    programs: int
    arena: Arena
    shared: Shared
    parameters: dict[str, Array]
    registers: list[Array | None] = field(init=False)
    partial: dict[int, Array] = field(default_factory=dict)
    undefined: Array | None = None
    missing: str = ""
    active: Array | None = None
    tick: int = 1
    current: Instruction | None = None
    units: dict[str, Any] = field(default_factory=dict)
    flying: dict[int, Array] = field(default_factory=dict)
    progress: int = 0
    yields: bool = False
    stuck: str = ""
    counts: Counts | None = None
    grid: tuple[int, int, int] = (0, 1, 1)
    sample: Array | None = None

    def __post_init__(self) -> None:
        self.grid = self.grid if self.grid[0] else (self.programs, 1, 1)
        self.threads = self.code.threads
        self.lanes = self.programs * self.threads
        self.registers = [None] * len(self.code.registers)
        number = np.arange(self.lanes)
        self.number = number
        self.program = number // self.threads
        self.place = self.program if self.sample is None else self.sample[self.program]
        self.thread = (number % self.threads).astype(np.uint32)
        self.warp = number // WARP
        self.program_tick = np.zeros(self.programs, np.int64)
        self.warp_tick = np.zeros(self.lanes // WARP, np.int64)
        self.fence_tick = np.zeros(self.lanes, np.int64)
        self.acquire_tick = np.zeros(self.lanes, np.int64)
        self.every = np.ones(self.lanes, bool)

    def unit(self, name: str, make: Callable[[], Any]) -> Any:
        """The state of an asynchronous unit, made when it is first used."""
        if name not in self.units:
            self.units[name] = make()
        return self.units[name]

    def full(self, values: Array) -> Array:
        """One element per lane."""
        return values if values.shape[0] == self.lanes else np.broadcast_to(values, (self.lanes,))

    def mask(self) -> Array:
        """The active lanes, as truth values."""
        return self.every if self.active is None else self.active

    def chosen(self) -> Array:
        """The numbers of the active lanes."""
        return self.number if self.active is None else np.flatnonzero(self.active)

    def among(self, values: Array, lanes: Array) -> Array:
        """The values of some lanes."""
        whole = self.full(values)
        return whole if lanes.shape[0] == self.lanes else whole[lanes]

    def defined(self) -> None:
        """Refuse that the instruction read a register that has no value."""
        if self.undefined is not None:
            lane = int(self.undefined.argmax())
            raise self.error(f"register {self.missing} is read and was never written", lane)

    def error(self, reason: str, lane: int | None = None, address: int | None = None) -> PtxError:
        """What is refused, where."""
        at = self.current
        place = f"kernel {self.code.name}" + (f", line {at.line} ({at.source}) `{at.text}`" if at else "")
        if lane is not None:
            program, thread = divmod(int(lane), self.threads)
            place += f", program {program}, thread {thread}"
        if address is not None:
            place += f", address {int(address):#x}"
        return PtxError(f"{place}: {reason}")


def unknown(code: Code, instruction: Instruction, reason: str = "the machine does not know it") -> PtxError:
    """An instruction that is not known."""
    return PtxError(
        f"kernel {code.name}, line {instruction.line}: {instruction.name} in `{instruction.text}`: {reason}"
    )


def reader(code: Code, operand: Operand, dtype: Any) -> Reader:
    """What reads an operand as an array of a type, over all lanes or of one element."""
    dtype = np.dtype(dtype)
    if isinstance(operand, Register):
        return _register_reader(operand, dtype)
    if isinstance(operand, Negated):
        inner = _register_reader(operand.register, dtype)
        return lambda state: ~inner(state)
    if isinstance(operand, Immediate):
        value = _constant(operand, dtype)
        return lambda state: value
    if isinstance(operand, Special):
        return _special_reader(operand.name, dtype)
    if isinstance(operand, Symbol) and operand.name in code.shared:
        place = np.array([SHARED_BASE + code.shared[operand.name]], np.uint64).astype(dtype)
        return lambda state: place
    raise PtxError(f"kernel {code.name}: operand {operand} is none of this instruction's")


def _constant(operand: Immediate, dtype: Any) -> Array:
    if dtype.kind == "b":
        return np.array([operand.value != 0])
    size = dtype.itemsize
    if operand.bits and operand.bits != 8 * size:
        if dtype.kind == "f":
            given = np.array([operand.value], BITS[operand.bits]).view(f"f{operand.bits // 8}")
            return np.asarray(given.astype(dtype))
        raise PtxError(f"a constant of {operand.bits} bits stands where {8 * size} are read")
    if dtype.kind == "f" and not operand.bits:
        return np.array([operand.value], dtype)
    return np.array([operand.value % (1 << 8 * size)], f"u{size}").view(dtype)


def _register_reader(register: Register, dtype: Any) -> Reader:
    slot, stored = register.slot, BITS[register.bits]
    if dtype.itemsize < stored.itemsize:  # a narrower type reads the lower bits
        narrow = np.dtype(f"u{dtype.itemsize}")

        def read_lower(state: State) -> Array:
            return _value(state, slot, register).astype(narrow).view(dtype)

        return read_lower
    if dtype.itemsize > stored.itemsize or (dtype.kind == "b") != (register.bits == 1):
        raise PtxError(f"register {register.name} has {register.bits} bits where {dtype} is read")
    if dtype == stored:
        return lambda state: _value(state, slot, register)
    return lambda state: _value(state, slot, register).view(dtype)


def _value(state: State, slot: int, register: Register) -> Array:
    value = state.registers[slot]
    if value is None:
        raise state.error(f"register {register.name} is read and was never written")
    if state.flying and slot in state.flying:
        busy = np.repeat(state.flying[slot] > 0, WARP) & state.mask()
        if busy.any():
            reason = f"register {register.name} is read while an asynchronous instruction writes it"
            raise state.error(reason, int(busy.argmax()))
    if state.partial and slot in state.partial:
        missing = state.mask() & ~state.partial[slot]
        if missing.any():
            state.undefined = missing if state.undefined is None else state.undefined | missing
            state.missing = register.name
    return value


def _special_reader(name: str, dtype: Any) -> Reader:
    if name == "%tid.x":
        return lambda state: state.thread.astype(dtype)
    if name.startswith("%ctaid."):
        axis = "xyz".index(name[-1])
        return lambda state: (state.place // math.prod(state.grid[:axis]) % state.grid[axis]).astype(dtype)
    if name == "%laneid":
        return lambda state: (state.thread % WARP).astype(dtype)
    if name == "%warpid":
        return lambda state: (state.thread // WARP).astype(dtype)
    if name.startswith("%nctaid."):
        return lambda state: np.array([state.grid["xyz".index(name[-1])]], dtype)
    if name == "%ntid.x":
        return lambda state: np.array([state.threads], dtype)
    value = 1 if name.startswith("%n") else 0  # the threads of a program have one dimension
    return lambda state: np.array([value], dtype)


def writer(code: Code, operand: Operand, dtype: Any) -> Writer:
    """What writes an array of a type to a register, in the active lanes."""
    if isinstance(operand, Sink):
        return lambda state, values: None
    if not isinstance(operand, Register):
        raise PtxError(f"kernel {code.name}: result {operand} is no register")
    dtype, slot, stored = np.dtype(dtype), operand.slot, BITS[operand.bits]
    if dtype.itemsize > stored.itemsize or (dtype.kind == "b") != (operand.bits == 1):
        raise PtxError(f"kernel {code.name}: register {operand.name} has {operand.bits} bits where {dtype} is written")
    widened = dtype.itemsize < stored.itemsize
    signed = np.dtype(f"i{stored.itemsize}") if dtype.kind == "i" else stored

    def write(state: State, values: Array) -> None:
        if widened:
            values = values.astype(signed).view(stored)
        elif values.dtype != stored:
            values = values.view(stored)
        if state.active is None:
            state.registers[slot] = values
            if state.undefined is not None:
                state.partial[slot] = ~state.undefined
            elif state.partial:
                state.partial.pop(slot, None)
            return
        before = state.registers[slot]
        if before is None:
            before = np.zeros(1, stored)
            state.partial[slot] = state.active
        elif slot in state.partial:
            state.partial[slot] = state.partial[slot] | state.active
        if state.undefined is not None:
            state.partial[slot] = state.partial.get(slot, state.every) & ~state.undefined
        state.registers[slot] = np.where(state.active, values, before)

    return write
