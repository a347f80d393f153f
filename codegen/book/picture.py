"""The layout of a worked example: tensors as panels of cells, and the cells that each step highlights.

A tensor is drawn in the shape that users see: its last two dimensions are a panel's rows and columns, with one panel
for each value of the others. Positions outside a tensor (padding) are drawn around it if some step reads them.

Input: a ``Worked`` layer and the tensor whose elements are computed step by step. Output: a ``Picture``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from svertka.codegen.book.worked import Step, Worked
from svertka.spec.layer import reads
from svertka.spec.notation import Tensor

__all__ = ["Block", "Frame", "Panel", "Picture", "picture"]

MOST_CELLS = 150  # of a tensor that is drawn
MOST_STEPS = 64

Place = tuple[int, ...]
Spot = tuple[str, Place]
Shape = Callable[[Tensor], tuple[int, ...]]


@dataclass(frozen=True)
class Panel:
    """A matrix of a tensor.

    Attributes:
        outer: indices of the dimensions before the last two.
        rows, columns: their numbers.
    """

    outer: Place
    rows: int
    columns: int


@dataclass(frozen=True)
class Block:
    """A tensor in the picture.

    Attributes:
        name: of the tensor; ``role``: ``"given"``, ``"between"`` or ``"result"``.
        panels: its matrices.
        margin: how far outside it the steps read: above, right, below, left.
        values: its elements by position.
    """

    name: str
    role: str
    panels: tuple[Panel, ...]
    margin: tuple[int, int, int, int]
    values: dict[Place, Any]


@dataclass(frozen=True)
class Frame:
    """A step in the picture.

    Attributes:
        step: the step.
        here: the element that is computed; ``read``: cells it reads; ``outside``: positions outside a tensor.
        through: cells of the inputs on which it depends through other tensors.
        filled: number of the result's elements computed so far, this one included.
    """

    step: Step
    here: Spot
    read: frozenset[Spot]
    outside: frozenset[Spot]
    through: frozenset[Spot]
    filled: int


@dataclass(frozen=True)
class Picture:
    """Blocks from left to right, frames in order, and steps that come before (means, sums, positions)."""

    blocks: tuple[Block, ...]
    frames: tuple[Frame, ...]
    before: tuple[Step, ...]
    total: int


def picture(worked: Worked, result: str, shape: Shape) -> Picture:
    """Compute the layout of a worked layer.

    Args:
        worked: the layer with numbers.
        result: the tensor whose elements are the steps.
        shape: a tensor's shape as users see it.
    """
    steps = worked.steps(result)
    tensors = worked.layer.tensors
    drawn = {name: _Drawn(tensors[name], worked, shape(tensors[name])) for name in worked.values}
    read = {name for step in steps for name, _ in (*step.reads, *step.outside)}
    needed = {r.tensor for e in worked.layer.only((result,)).equations for r in reads(e.value)}
    given = [t.name for t in worked.layer.inputs if t.name in needed and t.name in worked.values]
    made = [e.target.name for e in worked.layer.equations if e.target.name != result]
    between = [name for name in made if name in read]
    kept = steps[:MOST_STEPS]
    frames = tuple(_frame(step, worked, drawn, number) for number, step in enumerate(kept, 1))
    blocks = [_block(drawn[name], "given", frames) for name in given]
    blocks += [_block(drawn[name], "between", frames) for name in between]
    blocks.append(_block(drawn[result], "result", ()))
    before = [step for name in made if name in _needed(worked, result) for step in _few(worked, name)]
    return Picture(tuple(b for b in blocks if len(b.values) <= MOST_CELLS), frames, tuple(before), len(steps))


def _few(worked: Worked, name: str) -> Sequence[Step]:
    """The steps of a tensor, if it has few elements."""
    few = prod(worked.values[name].shape) <= 16
    return worked.steps(name) if few else ()


def _needed(worked: Worked, result: str) -> set[str]:
    return {equation.target.name for equation in worked.layer.only((result,)).equations} - {result}


class _Drawn:
    """A tensor with its positions in the drawing."""

    def __init__(self, tensor: Tensor, worked: Worked, shape: tuple[int, ...]) -> None:
        self.name = tensor.name
        self.array = worked.values[tensor.name]
        self.shape = shape or (1,)
        self.tensor = tensor

    @property
    def values(self) -> dict[Place, Any]:
        places = product(*map(range, self.shape))
        return dict(zip(places, self.array.values, strict=True))

    def place(self, indices: Place) -> Place | None:
        """Position of an element in the drawing; None if it is outside along an axis that is drawn without margin."""
        if all(0 <= i < e for i, e in zip(indices, self.array.shape, strict=True)):
            return _unravelled(_position(indices, self.array.shape), self.shape)
        plain = [dim for dim in self.tensor.dims if not (len(dim) == 1 and dim[0].many)]
        if len(plain) != len(self.shape) or any(len(dim) > 1 for dim in self.tensor.dims[-2:]):
            return None
        return self._outside(indices)

    def _outside(self, indices: Place) -> Place | None:
        found: list[int] = []
        rest = list(zip(indices, self.array.shape, strict=True))
        for dim in self.tensor.dims:
            own, rest = rest[: len(dim)], rest[len(dim) :]
            if not (len(dim) == 1 and dim[0].many):
                found.append(own[0][0] if len(own) == 1 else _position([i for i, _ in own], [e for _, e in own]))
        inner = len(found) - 2
        lying = all(0 <= i < e for i, e in zip(found[: max(inner, 0)], self.shape, strict=False))
        return tuple(found) if lying else None


def _position(indices: Sequence[int], extents: Sequence[int]) -> int:
    position = 0
    for index, extent in zip(indices, extents, strict=True):
        position = position * extent + index
    return position


def _unravelled(position: int, shape: Sequence[int]) -> Place:
    found: list[int] = []
    for extent in reversed(shape):
        position, index = divmod(position, extent)
        found.append(index)
    return tuple(reversed(found))


def _frame(step: Step, worked: Worked, drawn: dict[str, _Drawn], filled: int) -> Frame:
    (here,) = _spots([(step.tensor, step.place)], drawn)
    read, outside, through = (_spots(found, drawn) for found in (step.reads, step.outside, worked.origins(step)))
    return Frame(step, here, read, outside, through, filled)


def _spots(found: Iterable[Spot], drawn: dict[str, _Drawn]) -> frozenset[Spot]:
    places = ((name, drawn[name].place(place)) for name, place in found)
    return frozenset((name, place) for name, place in places if place is not None)


def _block(drawn: _Drawn, role: str, frames: Sequence[Frame]) -> Block:
    shape = drawn.shape
    rows, columns = (1, *shape)[-2], shape[-1]
    panels = tuple(Panel(outer, rows, columns) for outer in product(*map(range, shape[:-2])))
    outside = [place for frame in frames for name, place in frame.outside if name == drawn.name]
    across = [place[-1] for place in outside] or [0]
    down = [place[-2] for place in outside if len(place) > 1] or [0]
    margin = (
        max(0, -min(down)),
        max(0, max(across) - columns + 1),
        max(0, max(down) - rows + 1),
        max(0, -min(across)),
    )
    return Block(drawn.name, role, panels, margin, drawn.values)
