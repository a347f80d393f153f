"""``mbarrier``: barriers in shared memory that count arrivals and bytes of asynchronous copies.

A copy of boxes arrives when a thread asks for its barrier a second time, and not before: until then everything that it
writes is in flight. A wait whose phase cannot complete is an error that says how many arrivals and bytes are missing.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx.moves import address_reader
from svertka.codegen.ptx.program import Code, Immediate, Instruction
from svertka.codegen.ptx.space import COPY_ENGINE
from svertka.codegen.ptx.state import Array, Reader, State, Step, reader, unknown, writer

__all__ = ["Flight", "barrier_at", "fence", "mbarrier", "unfinished"]

Factory = Callable[[Code, Instruction], Step]
UNIT = "mbarrier"
SIZE = 8


@dataclass(frozen=True)
class Flight:
    """A copy to shared memory on its way.

    Attributes:
        index: places of its pieces of 16 bytes in the memory of all programs.
        data: the pieces.
        lane: who issued it.
    """

    index: Array
    data: Array
    lane: int

    @property
    def bytes(self) -> int:
        """How many bytes it reports to its barrier."""
        return int(self.data.nbytes)


@dataclass
class Barrier:
    """A barrier: arrivals per phase, those and the bytes still missing, phases completed, copies on their way.

    ``asking`` says when each thread of the program asked for a phase last.
    """

    count: int
    lane: int
    made: int
    missing: int
    asking: Array
    bytes: int = 0
    phase: int = 0
    flights: list[Flight] = field(default_factory=list)
    asked: bool = False

    def advance(self) -> None:
        """Begin the next phase if this one is complete."""
        if self.missing == 0 and self.bytes == 0:
            self.phase += 1
            self.missing = self.count


def _barriers(state: State) -> dict[int, Barrier]:
    found: dict[int, Barrier] = state.unit(UNIT, dict)
    return found


def barrier_at(state: State, lane: int, address: int) -> Barrier:
    """The barrier at an address of a lane's program; it must be initialized, and the lane must know."""
    (index,) = state.shared.place(state, np.array([lane]), np.array([address]), SIZE)
    found = _barriers(state).get(int(index))
    if found is None:
        raise state.error("no mbarrier is initialized there", lane, address)
    if found.lane != lane and found.made >= state.program_tick[state.program[lane]]:
        raise state.error(
            "an mbarrier is used that another thread initialized without a barrier between", lane, address
        )
    return found


def _seen_by_all(state: State, barrier: Barrier, lane: int, address: int, done: str) -> None:
    """Refuse that a lane goes on to another phase, or gives the barrier up, while another may still ask for the last.

    A phase is known by its parity alone: who asks for it when the next one is complete waits forever.
    """
    late = barrier.asking >= state.program_tick[state.program[lane]]
    late[lane % state.threads] = False
    if late.any():
        other = f"thread {int(late.argmax())} of program {int(state.program[lane])}"
        raise state.error(f"an mbarrier is {done} for which {other} asked without a barrier between", lane, address)


def unfinished(state: State) -> str:
    """What barriers still wait for at the end of a launch; "" for nothing."""
    for barrier in _barriers(state).values():
        if barrier.flights:
            return f"a copy of {barrier.flights[0].bytes} bytes is never waited for"
        if barrier.bytes:
            return f"an mbarrier still waits for {barrier.bytes} bytes"
    return ""


def fence(code: Code, instruction: Instruction) -> Step:
    """``fence.proxy.async``: what a thread wrote before is seen by asynchronous instructions after it."""
    if instruction.name not in ("fence.proxy.async.shared::cta", "fence.proxy.async"):
        raise unknown(code, instruction)

    def step(state: State) -> None:
        state.fence_tick[state.mask()] = state.tick

    return step


def mbarrier(code: Code, instruction: Instruction) -> Step:
    """Every ``mbarrier`` instruction, by its name."""
    for prefix, factory in FORMS.items():
        for space in ("shared", "shared::cta"):
            if instruction.name == f"mbarrier.{prefix}.{space}.b64":
                return factory(code, instruction)
    raise unknown(code, instruction)


def _each(state: State, address: Reader) -> Iterator[tuple[int, int]]:
    """Active lanes with their addresses."""
    lanes = state.chosen()
    yield from zip(lanes.tolist(), state.among(address(state), lanes).tolist(), strict=True)


def _initialize(code: Code, instruction: Instruction) -> Step:
    target, count_operand = instruction.operands
    address, count = address_reader(code, target), reader(code, count_operand, np.uint32)

    def step(state: State) -> None:
        counts = state.full(count(state))
        for lane, place in _each(state, address):
            lanes, places = np.array([lane]), np.array([place])
            index = state.shared.place(state, lanes, places, SIZE)
            if int(index[0]) in _barriers(state):
                raise state.error("an mbarrier is initialized that is in use", lane, place)
            state.shared.claim(state, lanes, index, SIZE, places)
            number = int(counts[lane])
            _barriers(state)[int(index[0])] = Barrier(
                number, lane, state.tick, number, np.full(state.threads, -1, np.int64)
            )
            state.shared.hold(index, SIZE, 1)

    return step


def _invalidate(code: Code, instruction: Instruction) -> Step:
    address = address_reader(code, instruction.operands[0])

    def step(state: State) -> None:
        for lane, place in _each(state, address):
            found = barrier_at(state, lane, place)
            if found.flights or found.bytes:
                missing = found.bytes or found.flights[0].bytes
                raise state.error(f"an mbarrier is given up that still waits for {missing} bytes", lane, place)
            _seen_by_all(state, found, lane, place, "given up")
            index = state.shared.place(state, np.array([lane]), np.array([place]), SIZE)
            del _barriers(state)[int(index[0])]
            state.shared.hold(index, SIZE, -1)

    return step


def _arrive(expects: bool, arrives: bool) -> Factory:
    def factory(code: Code, instruction: Instruction) -> Step:
        operands = instruction.operands[1:] if arrives else instruction.operands
        address = address_reader(code, operands[0])
        count = reader(code, operands[1], np.uint32) if expects else None
        if len(operands) != (2 if expects else 1):
            raise unknown(code, instruction, "arrivals of several are not known")

        def step(state: State) -> None:
            state.progress += 1
            sizes = state.full(count(state)) if count is not None else None
            for lane, place in _each(state, address):
                found = barrier_at(state, lane, place)
                if sizes is not None:
                    found.bytes += int(sizes[lane])
                if arrives:
                    _seen_by_all(state, found, lane, place, "used again")
                    if found.missing == 0:
                        raise state.error("more threads arrive at an mbarrier than it counts", lane, place)
                    found.missing -= 1
                    found.advance()

        return step

    return factory


def _wait(code: Code, instruction: Instruction) -> Step:
    target, source, parity_operand, *rest = instruction.operands
    if rest and not isinstance(rest[0], Immediate):
        raise unknown(code, instruction)
    address, parity = address_reader(code, source), reader(code, parity_operand, np.uint32)
    write = writer(code, target, bool)

    def step(state: State) -> None:
        lanes, whole = state.chosen(), np.zeros(state.lanes, bool)
        places, parities = state.among(address(state), lanes), state.among(parity(state), lanes) & 1
        programs, asked = state.program[lanes], False
        for key in np.unique(np.stack([programs, places.astype(np.int64), parities.astype(np.int64)]), axis=1).T:
            same = (programs == key[0]) & (places == key[1]) & (parities == key[2])
            some = lanes[same]
            found = barrier_at(state, int(some[0]), int(key[1]))
            found.asking[some % state.threads] = state.tick
            if found.phase % 2 == key[2] and found.asked:
                _deliver(state, found)
            elif found.phase % 2 == key[2] and found.flights:
                found.asked = asked = True  # the first answer is no: a kernel must ask again
            whole[some] = found.phase % 2 != key[2]
            if not whole[some[0]]:
                missing = f"{found.missing} arrivals and {found.bytes} bytes are missing"
                state.stuck = f"a phase of the mbarrier at {int(key[1]):#x} does not complete: {missing}"
        state.acquire_tick[whole] = state.tick
        state.yields = not whole.any() and not asked
        write(state, whole)

    return step


def _deliver(state: State, barrier: Barrier) -> None:
    """Let copies arrive."""
    for flight in barrier.flights:
        count = len(flight.index)
        words = state.shared.data.view(np.uint64)
        words[(flight.index // 8)[:, None] + np.arange(2)] = flight.data
        state.shared.arrive(state, np.full(count, COPY_ENGINE), flight.index, 16)
        barrier.bytes -= flight.bytes
    barrier.flights.clear()
    barrier.asked = False
    barrier.advance()


FORMS: dict[str, Factory] = {
    "init": _initialize,
    "inval": _invalidate,
    "arrive": _arrive(expects=False, arrives=True),
    "arrive.expect_tx": _arrive(expects=True, arrives=True),
    "expect_tx": _arrive(expects=True, arrives=False),
    "try_wait.parity": _wait,
    "test_wait.parity": _wait,
}
