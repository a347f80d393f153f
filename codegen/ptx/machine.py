"""The machine: executes a parsed kernel for all programs at once.

All threads of all programs step together. Where a branch parts them, those with the smallest program counter go first,
so that they meet again behind the branch; the others keep their registers. A barrier stops threads until all of their
program are there.

Input: ``Code``, memory and arguments. Output: the memory, changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from svertka.codegen.ptx import asynchronous, boxes, matrix, mbarriers, moves, warps, wgmma
from svertka.codegen.ptx.arithmetic import TABLE
from svertka.codegen.ptx.counts import Counts
from svertka.codegen.ptx.memory import Arena, Shared
from svertka.codegen.ptx.program import Code, Immediate, Instruction, Symbol
from svertka.codegen.ptx.state import WARP, Array, State, Step, reader, unknown
from svertka.codegen.ptx.types import DTYPES

__all__ = ["Linked", "Special", "execute", "link"]

Factory = Callable[[Code, Instruction], Step]
Special = Callable[[Code, Instruction], Step | None]
FACTORIES: dict[str, Factory] = {
    "mov": moves.move,
    "ld": moves.load,
    "st": moves.store,
    "setp": moves.compare_halves,
    "cvta": moves.convert_address,
    "shfl": warps.shuffle,
    "redux": warps.reduce,
    "vote": warps.vote,
    "elect": warps.elect,
    "ldmatrix": warps.load_matrix,
    "stmatrix": warps.store_matrix,
    "mma": matrix.multiply,
    "mbarrier": mbarriers.mbarrier,
    "wgmma": wgmma.warpgroup,
}
BY_NAME: dict[str, Factory] = {
    "cp.async.ca": asynchronous.copy,
    "cp.async.cg": asynchronous.copy,
    "cp.async.commit_group": asynchronous.commit,
    "cp.async.wait_group": asynchronous.wait,
    "cp.async.wait_all": asynchronous.wait,
    "cp.async.bulk": boxes.bulk_copy,
    "fence.proxy.async": mbarriers.fence,
    "fence.proxy.tensormap::generic": boxes.fence_map,
    "tensormap.replace": boxes.replace_field,
    "tensormap.cp_fenceproxy": boxes.copy_map,
}
BARRIERS = ("bar.sync", "barrier.sync", "barrier.cta.sync", "barrier.sync.aligned", "bar.warp.sync")
LONGEST = 50_000_000  # instructions; a launch that takes more does not end


@dataclass(frozen=True)
class _Branch:
    """A jump, for all or for those of a predicate."""

    target: int


@dataclass(frozen=True)
class _Barrier:
    """A barrier of a program, or of a warp."""

    number: int
    warp: bool


@dataclass(frozen=True)
class _Return:
    """The end of a thread."""


Action = Step | _Branch | _Barrier | _Return


@dataclass
class Linked:
    """A kernel that is ready to run.

    Attributes:
        code: the kernel.
        actions: what executes each instruction; ``guards``: its predicate.
        meeting: where threads may meet again; ``together``: where all threads of a warp execute at once.
        units: bytes of the narrowest access of shared, and of the narrowest store to global memory.
    """

    code: Code
    actions: list[Action]
    guards: list[Callable[[State], Array] | None]
    meeting: frozenset[int]
    together: frozenset[int]
    units: tuple[int, int]


def link(code: Code, special: Special | None = None) -> Linked:
    """Prepare a kernel.

    Args:
        code: the kernel.
        special: what executes some instructions in another way; it gives None for the others.

    Raises:
        PtxError: an instruction that the machine does not know.
    """
    actions = [_action(code, instruction, special) for instruction in code.instructions]
    guards = [reader(code, one.guard, bool) if one.guard is not None else None for one in code.instructions]
    together = frozenset(place for place, one in enumerate(code.instructions) if one.operation in OF_WARPS)
    return Linked(code, actions, guards, frozenset(code.labels.values()), together, _narrowest(code))


OF_WARPS = {"shfl", "vote", "redux", "elect", "mma", "ldmatrix", "stmatrix", "wgmma"}
"""Instructions of whole warps: their threads wait for one another."""


def _narrowest(code: Code) -> tuple[int, int]:
    """Bytes of the narrowest access of shared, and of the narrowest store to global memory, at most 4."""
    shared, stored = [4], [4]
    for one in code.instructions:
        if one.operation in ("ld", "st"):
            space, _, kind = moves.spaces(code, one)
            if space == "shared":
                shared.append(DTYPES[kind].itemsize)
            elif space == "global" and one.operation == "st":
                stored.append(DTYPES[kind].itemsize)
        elif one.name.endswith(".bulk_group"):
            stored.append(1)
    return min(shared), min(stored)


def _action(code: Code, instruction: Instruction, special: Special | None) -> Action:
    name, operation = instruction.name, instruction.operation
    own = special(code, instruction) if special is not None else None
    if own is not None:
        return own
    if operation == "selp" and name in TABLE:
        return moves.select(code, instruction)
    if name in TABLE:
        return moves.arithmetic(code, instruction)
    if operation == "bra":
        (target,) = instruction.operands
        if name not in ("bra", "bra.uni") or not isinstance(target, Symbol) or target.name not in code.labels:
            raise unknown(code, instruction)
        return _Branch(code.labels[target.name])
    if name in ("ret", "exit"):
        return _Return()
    if name in BARRIERS:
        return _barrier(code, instruction)
    for prefix, factory in BY_NAME.items():
        if name == prefix or name.startswith(prefix + "."):
            return factory(code, instruction)
    if operation in FACTORIES:
        return FACTORIES[operation](code, instruction)
    raise unknown(code, instruction)


def _barrier(code: Code, instruction: Instruction) -> _Barrier:
    number = instruction.operands[0]
    warp = instruction.name == "bar.warp.sync"
    if not isinstance(number, Immediate) or len(instruction.operands) > 1 or (warp and number.value not in EVERY):
        raise unknown(code, instruction, "barriers of a part of the threads are not known")
    return _Barrier(0 if warp else number.value, warp)


EVERY = (-1, 0xFFFFFFFF)


@dataclass
class _Groups:
    """Threads by their program counter; those at barriers; those that wait for something, or for their warps."""

    running: dict[int, Array] = field(default_factory=dict)
    waiting: dict[int, list[tuple[int, Array]]] = field(default_factory=dict)
    blocked: list[tuple[int, Array, int, str]] = field(default_factory=list)
    parted: dict[int, Array] = field(default_factory=dict)

    def add(self, counter: int, lanes: Array) -> None:
        """Let lanes go on at a program counter."""
        known = self.running.get(counter)
        self.running[counter] = lanes if known is None else known | lanes

    def gathered(self, counter: int, lanes: Array) -> Array | None:
        """Lanes that come to an instruction of whole warps, with those that wait there.

        None if lanes of their warps are still to come: these now wait.
        """
        lanes = lanes | self.parted.pop(counter, False)
        warps = lanes.reshape(-1, WARP)
        if not self.running or bool((warps.any(1) == warps.all(1)).all()):
            return lanes
        self.parted[counter] = lanes
        return None


def execute(
    linked: Linked,
    programs: int | tuple[int, int, int],
    arena: Arena,
    shared_bytes: int,
    parameters: Mapping[str, Array],
    counts: Counts | None = None,
    sample: Array | None = None,
) -> State:
    """Run all programs to their end.

    Args:
        linked: the kernel.
        programs: how many, or how many along each of three axes.
        arena: global memory.
        shared_bytes: dynamic shared memory of a program.
        parameters: arguments by name, each an array of one bit pattern.
        counts: where to count what is executed.
        sample: numbers of the programs that run, in a grid of one axis; all if None.

    Raises:
        PtxError: what the machine refuses.
    """
    code = linked.code
    size = code.static_shared + shared_bytes
    grid = (programs, 1, 1) if isinstance(programs, int) else programs
    total = math.prod(grid) if sample is None else len(sample)
    if counts is not None:
        counts.threads = code.threads
    shared = Shared(total, size, linked.units[0])
    state = State(code, total, arena, shared, dict(parameters), counts=counts, grid=grid, sample=sample)
    groups = _Groups({0: state.every})
    with np.errstate(all="ignore"):
        while groups.running or _resumed(state, groups):
            counter = min(groups.running)
            _run(linked, state, groups, counter, groups.running.pop(counter))
    _ended(state)
    if counts is not None:
        counts.finish()
    return state


def _resumed(state: State, groups: _Groups) -> bool:
    """Nothing runs: let threads go on that wait for their warps, or try again that wait for an mbarrier.

    If nothing can go on, say what is missing.
    """
    if groups.parted:
        counter = min(groups.parted)
        groups.add(counter, groups.parted.pop(counter))
        return True
    if groups.blocked and all(progress == state.progress for _, _, progress, _ in groups.blocked):
        counter, lanes, _, stuck = groups.blocked[0]
        state.current = state.code.instructions[counter - 1]
        raise state.error(stuck, int(lanes.argmax()))
    for counter, lanes, _, _ in groups.blocked:
        groups.add(counter, lanes)
    groups.blocked.clear()
    if groups.running:
        return True
    for number, waiting in groups.waiting.items():
        for counter, lanes in waiting:
            state.current = state.code.instructions[counter - 1]
            lane = int(lanes.argmax())
            raise state.error(f"barrier {number} is not reached by all threads of the program", lane)
    return False


def _run(linked: Linked, state: State, groups: _Groups, counter: int, lanes: Array) -> None:
    """Run threads until they part, wait or end."""
    state.active = None if lanes.all() else lanes
    instructions = state.code.instructions
    following: int | None = counter
    while following is not None:
        counter = following
        if counter in linked.together and (groups.running or groups.parted):
            gathered = groups.gathered(counter, state.mask())
            if gathered is None:
                return
            state.active = None if gathered.all() else gathered
        if counter in linked.meeting and groups.running and min(groups.running) <= counter:
            groups.add(counter, state.mask())
            return
        state.tick += 1
        state.current = instructions[counter]
        if state.tick > LONGEST:
            raise state.error("the launch does not end")
        if state.counts is not None:
            _count(state, instructions[counter])
        guard = linked.guards[counter]
        if guard is None:
            following = _advance(state, groups, linked.actions[counter], counter)
        else:
            following = _advance_some(state, groups, linked.actions[counter], counter, guard)


def _advance(state: State, groups: _Groups, action: Action, counter: int) -> int | None:
    """Execute an instruction for all active threads; where they go on, or None if they do not."""
    if isinstance(action, _Branch):
        return action.target
    if isinstance(action, _Barrier):
        return counter + 1 if _meet(state, groups, action, counter + 1) else None
    if isinstance(action, _Return):
        return None
    action(state)
    if state.undefined is not None:
        _undefined(state, state.code.instructions[counter])
    return None if state.yields and _yield(state, groups, counter + 1) else counter + 1


def _advance_some(
    state: State, groups: _Groups, action: Action, counter: int, guard: Callable[[State], Array]
) -> int | None:
    """Execute an instruction for the active threads whose predicate holds; where all active ones go on, or None."""
    if isinstance(action, _Barrier):
        raise state.error("a barrier under a predicate is not known")
    before = state.mask()
    chosen = before & guard(state)
    state.defined()
    if isinstance(action, _Branch | _Return):
        rest = before & ~chosen
        if not chosen.any():
            return counter + 1
        target = action.target if isinstance(action, _Branch) else None
        if not rest.any():
            return target
        if target is not None:
            groups.add(target, chosen)
        groups.add(counter + 1, rest)
        return None
    kept = state.active
    if chosen.any():
        state.active = None if chosen.all() else chosen
        action(state)
        if state.undefined is not None:
            _undefined(state, state.code.instructions[counter])
        state.active = kept
    return None if state.yields and _yield(state, groups, counter + 1) else counter + 1


PASSING = {"mov", "shfl", "selp", "setp"}
"""Besides arithmetic: instructions whose result has no value where an operand has none; others must have one."""


def _undefined(state: State, instruction: Instruction) -> None:
    """An instruction read a register that has no value in some lanes: their result has none, or it is an error."""
    if instruction.name not in TABLE and instruction.operation not in PASSING:
        state.defined()
    state.undefined = None


def _count(state: State, instruction: Instruction) -> None:
    """Count an instruction once for each warp that executes it."""
    count = state.lanes // WARP if state.active is None else int(state.active.reshape(-1, WARP).any(1).sum())
    name = instruction.operation
    if name in ("ld", "st"):
        name = f"{name}.{moves.spaces(state.code, instruction)[0]}"
    assert state.counts is not None
    state.counts.instructions[name] += count
    state.counts.product(instruction.name, count)


def _yield(state: State, groups: _Groups, counter: int) -> bool:
    """Let others run first: the threads that execute wait for something that is not there."""
    state.yields = False
    groups.blocked.append((counter, state.mask(), state.progress, state.stuck))
    return True


def _meet(state: State, groups: _Groups, barrier: _Barrier, counter: int) -> bool:
    """Threads come to a barrier; whether all that came may go on at once."""
    if barrier.warp:
        arrived = state.warp_tick
        arrived[warps.whole_warps(state)] = state.tick
        return True
    if state.active is None:
        state.program_tick[:] = state.tick
        state.shared.met(state)
        state.arena.met(state)
        return True
    waiting = groups.waiting.setdefault(barrier.number, [])
    waiting.append((counter, state.mask()))
    together = np.logical_or.reduce([lanes for _, lanes in waiting])
    complete = together.reshape(state.programs, -1).all(1)
    if complete.any():
        open_ = np.repeat(complete, state.threads)
        state.program_tick[complete] = state.tick
        state.shared.met(state)
        state.arena.met(state)
        for place, lanes in waiting:
            if (lanes & open_).any():
                groups.add(place, lanes & open_)
        waiting[:] = [(place, lanes & ~open_) for place, lanes in waiting if (lanes & ~open_).any()]
    if not waiting:
        del groups.waiting[barrier.number]
    return False


def _ended(state: State) -> None:
    """Refuse what a kernel leaves open."""
    open_ = asynchronous.pending_copies(state)
    if len(open_):
        raise state.error("a copy to shared memory is never waited for", int(open_[0]))
    if wgmma.pending_products(state):
        raise state.error("a product of a warpgroup is never waited for")
    if (lane := boxes.pending_boxes(state)) is not None:
        raise state.error("a store of a box is never waited for", lane)
    if missing := mbarriers.unfinished(state):
        raise state.error(missing)
