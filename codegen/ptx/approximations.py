"""Instructions that approximate: any result within the error that the PTX documentation states.

The exact result is computed in float64 (long double for float64) and moved by a share of the documented error that
depends on its bits: deterministic, and different from one number to the next. Where the exact result is representable
it is given: powers of two divide exactly on every GPU. So a kernel that holds its bound here does not hold it by the
luck of correctly rounded functions.

Source: PTX ISA 8.7, "Floating Point Instructions". Input: arrays. Output: arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from svertka.codegen.ptx.rounding import flushed
from svertka.codegen.ptx.state import Array

__all__ = ["APPROXIMATIONS", "divided", "gross_reciprocal"]

ULP = 2.0**-23  # the largest relative size of a unit in the last place of float32
ERRORS = {"rcp": ULP, "sqrt": ULP, "rsqrt": 2.0**-22.9, "ex2": 2.0**-22, "lg2": 2.0**-22.6, "tanh": 2.0**-11}
"""Largest relative errors; ``lg2`` has it as an absolute error between 0.5 and 2."""
ABSOLUTE = {"sin": 2.0**-20.9, "cos": 2.0**-20.9}


def _share(values: Array) -> Array:
    """A number in (-1, 1) that depends on the bits of each float32, as a hash does."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    mixed = (bits * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return mixed.astype(np.float64) / 2.0**23 - 1.0


def _moved(exact: Array, error: Any, by: Array) -> Array:
    """A float32 within an error of the exact float64; the number itself where float32 holds it."""
    near = exact.astype(np.float32)
    room = error - np.abs(near.astype(np.float64) - exact)  # what rounding has left
    other = (exact + _share(by) * np.maximum(room - np.abs(exact) * ULP / 2, 0)).astype(np.float32)
    held = (near.astype(np.float64) == exact) | ~np.isfinite(exact) | (np.abs(exact) < 2.0**-125)
    return np.where(held, near, other)


def divided(left: Array, right: Array) -> Array:
    """Left / right in float32 within two units in the last place, as ``div.full`` and ``div.approx`` give it."""
    exact = left.astype(np.float64) / right
    return _moved(exact, np.abs(exact) * ULP, left + right)  # 2**-23 is at most two units


def gross_reciprocal(values: Array) -> Array:
    """1 / x of float64 with the upper 32 bits alone, as ``rcp.approx.ftz.f64`` gives it; subnormal numbers are 0."""
    exact = 1.0 / flushed(values)
    return flushed((exact.view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64))


def _function(name: str, exact: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def approximate(values: Array) -> Array:
        right = exact(values.astype(np.float64))
        if name in ABSOLUTE:
            error: Any = ABSOLUTE[name]
        elif name == "lg2":
            error = np.where((values > 0.5) & (values < 2), ERRORS[name], ERRORS[name] * np.abs(right))
        else:
            error = ERRORS[name] * np.abs(right)
        return _moved(right, error, values)

    return approximate


APPROXIMATIONS: dict[str, Callable[[Array], Array]] = {
    "rcp": _function("rcp", lambda x: 1.0 / x),
    "sqrt": _function("sqrt", np.sqrt),
    "rsqrt": _function("rsqrt", lambda x: 1.0 / np.sqrt(x)),
    "ex2": _function("ex2", np.exp2),
    "lg2": _function("lg2", np.log2),
    "tanh": _function("tanh", np.tanh),
    "sin": _function("sin", np.sin),
    "cos": _function("cos", np.cos),
}
