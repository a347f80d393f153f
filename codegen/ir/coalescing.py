"""Whether neighbouring lanes of a kernel access neighbouring elements of memory, and why not.

Input: a ``Kernel``. Output: what the launcher tells the schedule, and the reasons in the table of the static gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from svertka.codegen.ir.kernel import Kernel, Load, Name, Node, walk_node

__all__ = ["hindrances", "is_side_by_side"]

SIDE_BY_SIDE = "side by side"
STEPPED = "steps or shifts"
SHARED = "values that lanes share"
APART = "neighbours far apart"
SINGLE = "one value a row"
UNEVEN = "extents that 16 bytes do not divide"


def is_side_by_side(kernel: Kernel, fastest: str) -> bool:
    """Whether the index that changes fastest from lane to lane is an index by itself in every access to memory.

    It is not where it has a step or a shift, as in a window, or where an index is itself read from a tensor.
    """
    return all(index.alone or fastest not in index.names for access in _accesses(kernel) for index in access.indices)


def hindrances(kernel: Kernel, last: bool, unit: Mapping[str, str], wide: bool) -> list[str]:
    """Why a lane's narrow accesses do not move 16 bytes at once.

    Args:
        kernel: a kernel that has such accesses.
        last: whether channels come last.
        unit: for each tensor the axis along which its elements are neighbours, if it has one.
        wide: whether the kernel has wide accesses too. If it has none, its accesses to neighbours are narrow because of
            their extents.
    """
    axes = (kernel.columns, kernel.rows) if kernel.columns.order else (kernel.rows,)
    candidates = [(axis.last if last else axis.order)[-1].index for axis in axes if axis.order]
    found = [[_kind(kernel, access, fastest, unit) for access in _accesses(kernel)] for fastest in candidates]
    best = max(found, key=lambda kinds: kinds.count(SIDE_BY_SIDE), default=[])
    uneven = SIDE_BY_SIDE in best and STEPPED not in best and not wide  # with steps a lane's elements are not adjacent
    return sorted({*best, *([UNEVEN] if uneven else [])} - {SIDE_BY_SIDE}) or [UNEVEN]


@dataclass(frozen=True)
class _Index:
    """An index of an access: the names that it depends on, and whether it is one of these names by itself."""

    names: frozenset[str]
    alone: bool


@dataclass(frozen=True)
class _Access:
    """A load or a store."""

    tensor: str
    indices: tuple[_Index, ...]


def _accesses(kernel: Kernel) -> Iterator[_Access]:
    """Every load and store; a statement's name counts as the names that it is computed from."""
    meaning: dict[str, frozenset[str]] = {}

    def names(node: Node) -> frozenset[str]:
        found = (part.name for part in walk_node(node) if isinstance(part, Name))
        return frozenset().union(*(meaning.get(name, {name}) for name in found))

    def access(tensor: str, indices: tuple[Node, ...]) -> _Access:
        alone = (isinstance(index, Name) and index.name not in meaning for index in indices)
        return _Access(tensor, tuple(map(_Index, map(names, indices), alone)))

    for section in kernel.sections:
        for let in section.lets:
            if isinstance(let.value, Load):
                yield access(let.value.tensor, let.value.indices)
            meaning[let.name] = names(let.value)
        yield from (access(store.tensor, store.indices) for store in section.stores)


def _kind(kernel: Kernel, access: _Access, fastest: str, unit: Mapping[str, str]) -> str:
    if kernel.columns.order and not any(kernel.columns.names & index.names for index in access.indices):
        return SINGLE
    axes = next(argument.axes for argument in kernel.tensors if argument.name == access.tensor)
    moving = {axis: index for axis, index in zip(axes, access.indices, strict=True) if fastest in index.names}
    if not moving:
        return SHARED
    if not all(index.alone for index in moving.values()):
        return STEPPED
    return SIDE_BY_SIDE if unit.get(access.tensor) in moving else APART
