"""All programs of a launch at once on numbers: the launch, loads and stores, and sums in the order of one program.

Input: launches of kernels in Triton's interpreter. Output: the bits that its programs store one after another.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter as engine

from svertka.codegen.verify import together
from svertka.codegen.verify.together_builder import AloneError, Builder, Reductions, for_all, spread_load

__all__ = ["launching"]

_Handle = engine.TensorHandle


def launching(plain: Callable[..., None]) -> Callable[..., None]:
    """A launch as Triton's ``GridExecutor`` has it, whose programs run together."""

    def launch(executor: Any, *arguments: Any, **keywords: Any) -> None:
        function, grid = executor.fn, executor.grid
        if callable(grid) or prod(grid) < 2:
            together.TALLY.single[function.__name__] += 1
            plain(executor, *arguments, **keywords)
            return
        whole = (*grid, 1, 1)[:3]

        def programs(**bound: Any) -> None:
            together.run(function.__name__, whole, lambda: function(**bound), _NUMBERS)

        programs.__signature__ = _signature(function)  # type: ignore[attr-defined]
        executor.fn, executor.grid = programs, (1,)
        try:
            plain(executor, *arguments, **keywords)
        finally:
            executor.fn, executor.grid = function, grid

    return launch


@lru_cache(maxsize=1 << 10)
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)


class _Builder(Builder):
    """Loads and stores of numbers, and products."""

    def create_masked_load(self, ptrs: Any, mask: Any, other: Any, *more: Any, **keywords: Any) -> Any:
        """Load; the addresses are noted."""
        addresses, live, values = spread_load(ptrs, mask, other)
        _NUMBERS.note_load(addresses, live)
        rest = None if other is None else _Handle(_written(values), other.dtype)
        found = _Handle(_written(addresses), ptrs.dtype), _Handle(_written(live), tl.int1)
        return super().create_masked_load(*found, rest, *more, **keywords)

    def create_masked_store(self, ptrs: Any, value: Any, mask: Any, *more: Any) -> None:
        """Keep what every program stores."""
        addresses, values, live = for_all(ptrs.data, value.data, mask.data)
        _NUMBERS.note_store(_Handle(addresses, ptrs.dtype), _Handle(values, value.dtype), _Handle(live, tl.int1))

    def create_dot(self, a: Any, b: Any, d: Any, *more: Any) -> Any:
        """A product for each program, as a library may sum a stack of products in another order than one."""
        parts = []
        for place in range(max(len(handle.data) for handle in (a, b, d))):
            own = [_Handle(h.data[place if len(h.data) > 1 else 0], h.dtype) for h in (a, b, d)]
            parts.append(super().create_dot(*own, *more).data)
        return _Handle(np.stack(parts), d.dtype.scalar)


def _written(array: Any) -> Any:
    """An array that may be written, as Triton's loads and stores ask for."""
    return array if array.flags.writeable else array.copy()


def _each(reduce: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction of each program's tile, as numpy may sum a stack of tiles in another order than one."""

    def reduced(data: Any, axis: int, keepdims: bool) -> Any:
        own = axis - 1 if axis > 0 else axis
        return np.stack([reduce(part, axis=own, keepdims=keepdims) for part in data])

    return reduced


_sum = _each(np.sum)


class _Reductions(Reductions):
    """Reductions of numbers."""

    def sum(self, input: Any) -> Any:
        """Sums of every program."""
        return self.to_tensor(_sum(input.handle.data, self.axis, self.keep_dims), input.dtype)

    def min_max(self, input: Any, val_reduce_op: Any, idx_reduce_op: Any = None) -> Any:
        """Extremes of every program."""
        return super().min_max(input, _each(val_reduce_op), idx_reduce_op and _each(idx_reduce_op))


class _Numbers:
    """What programs load and store (``together.Effects``)."""

    builder, reductions = _Builder, _Reductions

    def __init__(self) -> None:
        self.pending: list[tuple[Any, Any, Any]] | None = None
        self.loads: list[tuple[int, int]] = []

    def note_load(self, addresses: Any, live: Any) -> None:
        """Note the first and last address that is loaded."""
        read = addresses[live]
        if read.size:
            self.loads.append((int(read.min()), int(read.max())))

    def note_store(self, pointers: Any, value: Any, live: Any) -> None:
        """Keep pointers, values and mask of a store."""
        assert self.pending is not None
        self.pending.append((pointers, value, live))

    def finish(self) -> None:
        """Store what is pending.

        Raises:
            AloneError: an element is stored twice, or what is loaded may be stored too.
        """
        stored = [pointers.data[live.data] for pointers, _, live in self.pending or ()]
        stored = [addresses for addresses in stored if addresses.size]
        if stored:
            self._check(stored)
        for pointers, value, live in self.pending or ():
            handles = [_Handle(_written(handle.data), handle.dtype) for handle in (pointers, value, live)]
            engine.interpreter_builder.create_masked_store(*handles, None, None)
        self.loads = []

    def _check(self, stored: list[Any]) -> None:
        every = np.concatenate(stored)
        if len(np.unique(every)) < len(every):
            raise AloneError("an element is stored twice")
        loads = np.array(self.loads, dtype=np.uint64).reshape(-1, 2)
        for addresses in stored:
            if ((loads[:, 0] <= addresses.max()) & (loads[:, 1] >= addresses.min())).any():
                raise AloneError("an element is loaded and stored")

    def drop(self) -> None:
        """Forget the loads; nothing was stored."""
        self.loads = []


_NUMBERS = _Numbers()
