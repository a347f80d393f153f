"""Array types, and conversion to and from float64.

Every function of the reference takes float16, float32 or float64 arrays, computes in float64, and rounds its result
once, to the type of its input.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from svertka.reference.arguments import complaint, require

Array: TypeAlias = NDArray[np.floating[Any]]
Float64Array: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.int64]

ACCEPTED = ("float16", "float32", "float64")


def as_float64(argument: str, array: object) -> Float64Array:
    """Return `array` in float64.

    Raises:
        TypeError: `array` is not a NumPy array of float16, float32 or float64.
    """
    if not isinstance(array, np.ndarray | np.generic):
        rule = "must be a NumPy array"
        raise TypeError(complaint(argument, array, rule, "Convert it with np.asarray"))
    if array.dtype.name not in ACCEPTED:
        rule = f"must be one of {', '.join(ACCEPTED)}"
        remedy = "Convert the array with .astype(np.float32)"
        raise TypeError(complaint(f"{argument}.dtype", array.dtype.name, rule, remedy))
    return np.asarray(array, dtype=np.float64)


def as_float64_with_rank(argument: str, array: object, *ranks: int) -> Float64Array:
    """Return `array` in float64 after checking that its rank is one of `ranks`."""
    values = as_float64(argument, array)
    require(
        values.ndim in ranks,
        f"{argument}.shape",
        values.shape,
        f"must have {' or '.join(map(str, ranks))} axes, not {values.ndim}",
        "Reshape the array",
    )
    return values


def as_float64_with_shape(argument: str, array: object, shape: tuple[int, ...], reason: str) -> Float64Array:
    """Return `array` in float64 after checking its shape; `reason` says why it must have this shape."""
    values = as_float64(argument, array)
    require(
        values.shape == shape,
        f"{argument}.shape",
        values.shape,
        f"must be {shape}, {reason}",
        "Pass an array of that shape",
    )
    return values


def as_gradient(grad_output: object, shape: tuple[int, ...]) -> Float64Array:
    """Return `grad_output` in float64 after checking it against the output's shape."""
    return as_float64_with_shape("grad_output", grad_output, shape, "the shape of the forward's output")


def held(values: Float64Array, dtype: DTypeLike) -> Float64Array:
    """Replace by infinity the values that sums in `dtype`'s accumulator (float32, or float64 for float64) cannot hold.

    The values keep their float64 accuracy. So squares of numbers like 1e30 overflow here as they do on a GPU, whose
    sums are float32.
    """
    if np.dtype(dtype) == np.float64:
        return values
    return np.where(np.abs(values) > np.finfo(np.float32).max, np.copysign(np.inf, values), values)


def rounded(array: Array, dtype: DTypeLike) -> Array:
    """Round `array` to `dtype`; values that are too large become infinite, without a warning."""
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=dtype)
