"""Operations on whole tiles: arrays of node numbers in, arrays of node numbers out.

Many lanes of a tile hold the same values (zeros outside a tensor, one value broadcast over a row), so each distinct
combination is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from svertka.codegen.verify.symbolic.graph import ZERO, Graph

__all__ = ["Lanes"]

_SHIFT = np.int64(32)


class Lanes:
    """Tile operations over one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def unary(self, operation: Callable[[int], int], values: Any) -> Any:
        """Apply a function of one node."""
        distinct, places = np.unique(values, return_inverse=True)
        found = np.array([operation(node) for node in distinct.tolist()], dtype=np.int64)
        return found[places].reshape(np.shape(values))

    def binary(self, operation: Callable[[int, int], int], left: Any, right: Any) -> Any:
        """Apply a function of two nodes."""
        left, right = np.broadcast_arrays(left, right)
        keys = (left.astype(np.int64) << _SHIFT) | right.astype(np.int64)
        distinct, places = np.unique(keys, return_inverse=True)
        pairs = zip((distinct >> _SHIFT).tolist(), (distinct & 0xFFFFFFFF).tolist(), strict=True)
        found = np.array([operation(*pair) for pair in pairs], dtype=np.int64)
        return found[places].reshape(left.shape)

    def numbers(self, values: Any) -> Any:
        """Nodes of an array of integers."""
        distinct, places = np.unique(values, return_inverse=True)
        found = np.array([self.graph.number(int(value)) for value in distinct.tolist()], dtype=np.int64)
        return found[places].reshape(np.shape(values))

    def samples(self, values: Any) -> Any:
        """Sample values of an array of nodes."""
        distinct, places = np.unique(values, return_inverse=True)
        found = np.array([self.graph.samples[node] for node in distinct.tolist()])
        return found[places].reshape(np.shape(values))

    def total(self, values: Any, axis: int | None, keep: bool) -> Any:
        """Sum along an axis."""
        return self._along(self.graph.total, values, axis, keep, ZERO)

    def extreme(self, choose: Callable[[int, int], int], values: Any, axis: int | None, keep: bool) -> Any:
        """Largest or smallest along an axis; NaN is ignored, as Triton's own reduction does."""

        def chosen(nodes: list[int]) -> int:
            present = [node for node in nodes if self.graph.samples[node] == self.graph.samples[node]] or nodes
            best = present[0]
            for node in present[1:]:
                best = choose(best, node)
            return best

        return self._along(chosen, values, axis, keep)

    def running(self, combine: Callable[[int, int], int], values: Any, axis: int) -> Any:
        """What is combined along an axis up to each place."""
        found = np.array(values, dtype=np.int64)
        along = np.moveaxis(found, axis, 0)
        for place in range(1, len(along)):
            along[place] = self.binary(combine, along[place - 1], along[place])
        return found

    def _along(
        self, reduce: Callable[[list[int]], int], values: Any, axis: int | None, keep: bool, same: int = -1
    ) -> Any:
        """Reduce along an axis; a row of nothing but ``same`` is the same."""
        shape = values.shape
        rows = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, -1).reshape(-1, shape[axis])
        found = np.full(len(rows), same, dtype=np.int64)
        others = np.flatnonzero((rows != same).any(axis=1))
        found[others] = [reduce(row) for row in rows[others].tolist()]
        if axis is None:
            return found.reshape((1,) * len(shape)) if keep else found[0]
        rest = shape[:axis] + shape[axis:][1:]
        found = found.reshape(rest)
        return np.expand_dims(found, axis) if keep else found

    def dot(self, left: Any, right: Any, start: Any) -> Any:
        """Matrix product plus ``start``."""
        products = self.binary(self.graph.multiply, left[..., :, :, None], right[..., None, :, :])
        first = np.expand_dims(start, -2)
        together = np.broadcast_shapes(first.shape[:-3], products.shape[:-3])  # of programs that run together
        parts = [np.broadcast_to(part, together + part.shape[-3:]) for part in (first, products)]
        return self.total(np.concatenate(parts, axis=-2), len(together) + 1, False)
