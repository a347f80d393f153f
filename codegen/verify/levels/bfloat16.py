"""Correct bfloat16 casts for Triton's interpreter.

Triton's interpreter stores a bfloat16 as its 16 bits in an integer. Up to Triton 3.7.1 its cast from float32 truncates
the lower 16 bits, whereas a GPU rounds to the nearest even: half of all values are one unit too small in magnitude, a
value that should overflow does not, and subnormal numbers are wrong in both directions; a float64 is cast as if it were
an integer (``triton/runtime/interpreter.py``: ``_convert_float``, ``InterpreterBuilder.cast_impl`` and
``create_fp_to_fp``). With the casts below all 65536 values and all roundings equal torch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

__all__ = ["repaired", "repaired_on"]


def _rounded(values: Any) -> Any:
    """float32 to the bits of bfloat16, round to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    nearest = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), nearest)


def _widened(bits: Any) -> Any:
    return (np.ascontiguousarray(bits).astype(np.uint32) << 16).view(np.float32)


@contextmanager
def repaired() -> Iterator[None]:
    """Replace the interpreter's casts from and to bfloat16."""
    cast, convert = InterpreterBuilder.cast_impl, InterpreterBuilder.create_fp_to_fp

    def right_cast(self: Any, source: Any, target: Any) -> Any:
        have, want = source.dtype.scalar, target.scalar
        if have == tl.bfloat16 and want != tl.bfloat16:
            wide = TensorHandle(_widened(source.data), tl.float32)
            return wide if want == tl.float32 else cast(self, wide, target)
        if want == tl.bfloat16 and have != tl.bfloat16:
            return TensorHandle(_rounded(source.data.astype(np.float32)), tl.bfloat16)
        return cast(self, source, target)

    def right_conversion(self: Any, source: Any, target: Any, mode: Any) -> Any:
        if tl.bfloat16 in (source.dtype.scalar, target.scalar):
            return right_cast(self, source, target)
        return convert(self, source, target, mode)

    InterpreterBuilder.cast_impl, InterpreterBuilder.create_fp_to_fp = right_cast, right_conversion
    try:
        yield
    finally:
        InterpreterBuilder.cast_impl, InterpreterBuilder.create_fp_to_fp = cast, convert


def repaired_on(device: str) -> AbstractContextManager[None]:
    """``repaired`` on the CPU, where kernels run in the interpreter; no change on other devices."""
    return repaired() if device == "cpu" else nullcontext()
