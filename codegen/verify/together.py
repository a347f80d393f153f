"""All programs of a launch at once, in Triton's interpreter.

The interpreter runs the programs of a launch one after another, and its own work for an operation takes longer than the
operation. Here a tile's data has one more axis, the first, for the program, while its type keeps the shape that one
program sees. So one operation serves all programs, and what the language checks stays as it is. What all programs have
in common has length 1 along that axis.

Where control flow depends on a value in which the programs differ, the group is split by that value, and each part runs
from the start. A loop runs for all programs together where it has as many steps in each. Nothing is stored before all
programs have run (``Effects``). What cannot run so runs one program after another, as Triton has it, and ``TALLY`` says
why: an operation that is not known here, two programs that store one element, and whatever fails, so that a failure is
told in the words, and of the element, of the first program that has it.

Input: a kernel, its grid, its arguments. Output: what the programs store.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol
from unittest import mock

import numpy as np
import triton.language as tl
from triton.runtime import interpreter as engine

from svertka.codegen.verify.together_builder import AloneError, Boxes, Programs, Scans

__all__ = [
    "MOST",
    "TALLY",
    "Effects",
    "answered",
    "numbered",
    "one_after_another",
    "ranged",
    "run",
    "running",
    "transposed",
]

_BUILDER = engine.interpreter_builder
MOST = 128  # programs of a group; more take memory, and save little
_LEAST = 2  # programs of a group, on average; with fewer, their parts that run again take what is saved


@dataclass
class Tally:
    """How launches ran.

    Attributes:
        single: how many had one program alone, by kernel.
        together: how many ran together, by kernel; ``groups``: how many groups they ran in.
        alone: how many ran one program after another, by kernel and reason.
    """

    single: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)
    groups: int = 0
    alone: Counter[tuple[str, str]] = field(default_factory=Counter)


TALLY = Tally()


class Effects(Protocol):
    """What programs that run together store, kept until all have run.

    Attributes:
        pending: what was stored, in order; None where no programs run together.
    """

    pending: list[Any] | None

    @property
    def builder(self) -> type:
        """The interpreter's builder for them."""

    @property
    def reductions(self) -> type:
        """Its reductions."""

    def finish(self) -> None:
        """Store what is pending.

        Raises:
            AloneError: the order of the programs would tell in what is stored; nothing was stored.
        """

    def drop(self) -> None:
        """Forget what the programs did, for they run again, one after another."""


class _ApartError(BaseException):  # no Exception, for Triton wraps those that leave a function of a kernel
    """Programs of a group differ in a value on which control flow depends."""

    def __init__(self, values: Any) -> None:
        super().__init__()
        self.values = values


class _State:
    """Whether programs may run together."""

    allowed = True


def running() -> bool:
    """Whether programs run together at this moment."""
    return bool(Programs.count)


@contextmanager
def one_after_another() -> Iterator[None]:
    """Let programs of launches inside run one after another, as Triton has it."""
    with mock.patch.object(_State, "allowed", False):
        yield


def run(name: str, grid: tuple[int, int, int], program: Callable[[], None], effects: Effects) -> None:
    """Run all programs of a launch.

    Args:
        name: of the kernel, for ``TALLY``.
        grid: how many programs there are.
        program: runs the kernel; the builder says which program it is.
        effects: what is done with stores of programs that run together.
    """
    _BUILDER.set_grid_dim(*grid)
    if prod(grid) == 1:
        TALLY.single[name] += 1
    elif _State.allowed:
        reason = _attempt(name, grid, program, effects)
        if reason is None:
            return
        TALLY.alone[name, reason] += 1
    for place in np.ndindex(*grid):
        _BUILDER.set_grid_idx(*place)
        program()


def _attempt(name: str, grid: tuple[int, int, int], program: Callable[[], None], effects: Effects) -> str | None:
    """Run all programs in groups; why that cannot be, or None."""
    effects.pending, reason = [], None
    try:
        groups = _in_groups(np.indices(grid, dtype=np.int32).reshape(3, -1), program, effects)
        effects.finish()
        TALLY.together[name] += 1
        TALLY.groups += groups
    except AloneError as alone:
        reason = str(alone)
    except Exception as error:  # if it is a fault of the kernel, one of the programs raises it again
        reason = repr(error)
    finally:
        effects.pending = None
    if reason is not None:
        effects.drop()
    return reason


def _in_groups(places: Any, program: Callable[[], None], effects: Effects) -> int:
    """Run programs in groups, which are split where control flow takes several ways; how many groups began."""
    waiting = [places[:, start : start + MOST] for start in range(0, places.shape[1], MOST)]
    most, begun = len(waiting) + places.shape[1] // _LEAST, 0
    while waiting:
        group, begun = waiting.pop(), begun + 1
        if begun > most:
            raise AloneError("programs take too many ways")
        kept = len(effects.pending or ())
        try:
            with _group(group, effects):
                program()
        except _ApartError as apart:
            del (effects.pending or [])[kept:]
            ways = np.unique(apart.values, return_inverse=True)[1]
            waiting += [group[:, ways == way] for way in range(int(ways.max()) + 1)]
    return begun


@contextmanager
def _group(places: Any, effects: Effects) -> Iterator[None]:
    """Let the interpreter's tiles be those of a group of programs."""
    kept = engine.ReduceOps, engine.ScanOps, engine.TensorDescHandle
    kind = type(_BUILDER)
    Programs.places, Programs.count = places, places.shape[1]
    engine.ReduceOps, engine.ScanOps, engine.TensorDescHandle = effects.reductions, Scans, Boxes
    _BUILDER.__class__ = effects.builder
    try:
        yield
    finally:
        _BUILDER.__class__ = kind
        engine.ReduceOps, engine.ScanOps, engine.TensorDescHandle = kept
        Programs.places, Programs.count = None, 0


# Values that Python sees ---------------------------------------------------------------------------------------------


def _common(values: Any) -> Any:
    """The value that all programs have."""
    if (values != values[0]).any():
        raise _ApartError(values)
    return values[0]


def answered(look: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a tile is true, also for programs that run together."""

    def answer(tile: Any) -> bool:
        if not Programs.count:
            return look(tile)
        data = tile.handle.data
        return bool(_common(data.reshape(-1).astype(bool))) if data[0].size == 1 else True  # as Triton has it

    return answer


def numbered(look: Callable[[Any], int]) -> Callable[[Any], int]:
    """A tile's number, also for programs that run together."""

    def number(tile: Any) -> int:
        return int(_common(_numbers(tile))) if Programs.count else look(tile)

    return number


def _numbers(value: Any) -> Any:
    """A bound of a loop, for one or every program."""
    if not isinstance(value, tl.tensor):
        return np.array([operator.index(value)])
    if not value.handle.dtype.scalar.is_int() or value.handle.data[0].size != 1:
        raise AloneError("a number that is no integer")
    return value.handle.data.reshape(-1).astype(np.int64)


def ranged(plain: Callable[..., Any]) -> Callable[..., Any]:
    """The steps of a loop, also for programs that run together: numbers where these are the same in all of them."""

    def steps(first: Any, last: Any = None, step: Any = None, **keywords: Any) -> Any:
        if not Programs.count:
            return plain(first, last, step, **keywords)
        bounds = (0, first) if last is None else (first, last)
        start, end, stride = (_numbers(value) for value in (*bounds, 1 if step is None else step))
        if all((part == part[0]).all() for part in (start, end, stride)):
            return range(int(start[0]), int(end[0]), int(stride[0]))
        if (stride == 0).any():
            raise AloneError("a loop's step of 0")
        count = _common(np.maximum(-((start - end) // stride), 0))
        return (_integers(start + number * stride) for number in range(int(count)))

    return steps


def _integers(values: Any) -> Any:
    """A number of every program, of the type that Triton gives a number of Python."""
    narrow = values.astype(np.int32)
    if (narrow != values).any():
        raise AloneError("a number beyond 32 bits")
    return tl.tensor(engine.TensorHandle(narrow, tl.int32), tl.int32)


def transposed(plain: Any) -> Any:
    """A tile's ``T``, which programs that run together do not have."""

    def turned(tile: Any) -> Any:
        if Programs.count:
            raise AloneError("T of a tile")
        return plain.fget(tile)

    return property(turned)
