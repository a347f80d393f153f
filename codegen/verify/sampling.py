"""Evaluate equations at some positions only, and the equations that they read only where they are read.

Input: a layer's equations. Output: elements on demand; and the work that some elements need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from svertka.spec import Equation, Layer, Reduction, normal_form
from svertka.spec.evaluate import whole
from svertka.spec.layer import reads
from svertka.spec.running_error import Bounded

__all__ = ["Partly", "at", "lanes_needed"]


class Partly:
    """The result of an equation whose elements are computed when they are first read."""

    def __init__(self, shape: Sequence[int], compute: Callable[[torch.Tensor], Any], device: torch.device) -> None:
        self.shape, self._compute = tuple(shape), compute
        self._places = torch.empty(0, dtype=torch.int64, device=device)
        self._values: Any = None

    def read(self, wanted: torch.Tensor) -> Any:
        """Elements at some positions, in the shape of the positions."""
        found, there = self._find(wanted)
        if not bool(there.all()):
            missing: torch.Tensor = wanted.reshape(-1)[~there.reshape(-1)].unique()  # type: ignore[no-untyped-call]
            computed = self._compute(missing)
            places = torch.cat([self._places, missing])
            order = places.argsort()
            self._places = places[order]
            self._values = at(computed if self._values is None else _joined(self._values, computed), order)
            found, _ = self._find(wanted)
        return at(self._values, found)

    def _find(self, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of positions among the known ones, and whether they are known."""
        if not len(self._places):
            return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
        found = torch.searchsorted(self._places, wanted.contiguous()).clamp(max=len(self._places) - 1)
        return found, self._places[found] == wanted


def at(values: Any, places: torch.Tensor) -> Any:
    """Elements of a result at flat positions."""
    if isinstance(values, Bounded):
        return Bounded(values.value.reshape(-1)[places], values.error.reshape(-1)[places])
    return values.reshape(-1)[places]


def _joined(left: Any, right: Any) -> Any:
    if isinstance(left, Bounded):
        return Bounded(torch.cat([left.value, right.value]), torch.cat([left.error, right.error]))
    return torch.cat([left, right])


def lanes_needed(layer: Layer, sizes: Mapping[str, Any], samples: int) -> int:
    """Upper bound of the loop elements that are evaluated for some elements of every output.

    Args:
        layer: the layer.
        sizes: all extents and parameters by name.
        samples: how many elements of each output.
    """
    wanted = dict.fromkeys(layer.outputs, samples)
    total = 0
    for equation in reversed(normal_form(layer).equations):
        places = math.prod(_extents(equation.target.axes, sizes))
        count = min(wanted.get(equation.target.name, 0), places)
        summed = _summed(equation, sizes)
        total += count * math.prod(summed.values())
        for read in reads(equation.value):
            names = {symbol.name for index in read.indices for symbol in index.free_symbols}
            reached = math.prod(extent for name, extent in summed.items() if name in names)
            wanted[read.tensor] = wanted.get(read.tensor, 0) + count * reached
    return total


def _extents(axes: Any, sizes: Mapping[str, Any]) -> list[int]:
    return [whole(index.extent, sizes) for index in axes]


def _summed(equation: Equation, sizes: Mapping[str, Any]) -> dict[str, int]:
    """Extents of the reduction of an equation."""
    if not isinstance(equation.value, Reduction):
        return {}
    indices = equation.value.indices
    return dict(zip((index.name for index in indices), _extents(indices, sizes), strict=True))
