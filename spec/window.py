"""Which axes of a layer are windows: small ranges that slide along another axis.

A bound index that occurs with another index in an affine index or condition slides a window along it:
``x[stride * p + r]`` summed over ``r``. In a gradient the roles may be exchanged, ``x[stride * p + r]`` summed over
``p`` for every ``r``; there the axis of ``r`` is still the window if another equation of the layer shows it, or if
tensors of examples have ``p`` and none has ``r``.

Input: a ``Layer`` in normal form. Output: names of extents.
"""

from __future__ import annotations

from functools import lru_cache

from sympy import Expr

from svertka.spec.layer import Layer, walk
from svertka.spec.notation import Divides, Index, InRange, Read, Reduction
from svertka.spec.rewrite import conditions, index_set

__all__ = ["window_extents", "windowed_indices"]


def windowed_indices(value: Reduction) -> tuple[Index, ...]:
    """Bound indices that occur with another index in an affine index or condition."""
    found = set().union(*_meetings(value))
    return tuple(index for index in value.indices if index in found)


@lru_cache(maxsize=512)
def window_extents(layer: Layer) -> frozenset[str]:
    """Names of the extents of the windows of a layer."""
    along: dict[str, set[str]] = {}
    for equation in layer.equations:
        if isinstance(equation.value, Reduction):
            for index in windowed_indices(equation.value):
                for meeting in _meetings(equation.value):
                    if index in meeting:
                        along.setdefault(_extent(index), set()).update(_extent(i) for i in meeting - {index})
    counted = {str(i.extent) for t in layer.tensors.values() if any(i.batch for i in t.axes) for i in t.axes}
    plain = {extent for extent, others in along.items() if not (others - {extent}) & along.keys()}
    plain |= {extent for extent, others in along.items() if extent not in counted and others & along.keys() <= counted}
    return frozenset(extent for extent, others in along.items() if extent in plain or not others & plain)


def _meetings(value: Reduction) -> list[frozenset[Index]]:
    """Sets of indices that occur together in an index of a read or a condition."""
    found = [index_set(place) for node in walk(value.body) if isinstance(node, Read) for place in node.indices]
    found += [index_set(c) for c in conditions(value.guard) if isinstance(c, InRange | Divides)]
    return [indices for indices in found if len(indices) > 1]


def _extent(index: Index) -> str:
    extent: Expr = index.extent
    return str(extent)
