"""Adapters of ONNX's convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from .answers import Answer, NotRun, agree
from .roads import REFERENCE, Road
from .suite import Array, Case

__all__ = ["average_pooling", "convolution", "global_average", "global_maximum", "max_pooling", "transposed"]

Pair: TypeAlias = tuple[int, int]

# Cases whose inputs and outputs ONNX has written with so many decimals.
DECIMALS = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 4}


def _pairs(flat: Sequence[int]) -> list[Pair]:
    """ONNX's pads, all low ones first, as pairs."""
    half = len(flat) // 2
    return [(int(low), int(high)) for low, high in zip(flat[:half], flat[half:], strict=True)]


def _reach(kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    return [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]


def _split(total: int, upper: bool) -> Pair:
    """Padding of both sides together, with the odd element behind if ``upper``."""
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def _padding(case: Case, extents: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int], list[Pair]]:
    """Strides, dilations and (low, high) paddings of a window."""
    rank = len(extents)
    strides = list(case.get("strides", [1] * rank))
    dilations = list(case.get("dilations", [1] * rank))
    word = case.get("auto_pad", "NOTSET")
    if word == "NOTSET":
        return strides, dilations, _pairs(case.get("pads", [0] * 2 * rank))
    if word == "VALID":
        return strides, dilations, [(0, 0)] * rank
    reach = _reach(kernel, dilations)
    totals = [
        (-(-size // step) - 1) * step + long - size for size, step, long in zip(extents, strides, reach, strict=True)
    ]
    return strides, dilations, [_split(max(total, 0), word == "SAME_UPPER") for total in totals]


def _absolute(values: Array | None) -> Array | None:
    return None if values is None else np.abs(values.astype(np.float64))


def convolution(case: Case, road: Road) -> list[Answer]:
    input, weight, bias = case.input(0), case.input(1), case.optional(2)
    kernel = weight.shape[2:]
    strides, dilations, padding = _padding(case, input.shape[2:], kernel)
    options: dict[str, Any] = {"stride": strides, "padding": padding, "dilation": dilations}
    options["groups"] = case.get("group", 1)
    function = f"conv{len(kernel)}d"
    (value,) = road(function, input=input, weight=weight, bias=bias, **options)
    absolutes: dict[str, Any] = {"input": _absolute(input), "weight": _absolute(weight), "bias": _absolute(bias)}
    (magnitude,) = REFERENCE(function, **absolutes, **options)
    return [Answer(value, magnitude, prod(weight.shape[1:]) + 2)]


def transposed(case: Case, road: Road) -> list[Answer]:
    """The function, of which the caller cuts a padding that is uneven; and the gradient of a convolution's input."""
    grad, weight = case.input(0), case.input(1)
    assert case.optional(2) is None, "a bias would be added by the caller"
    kernel, extents = weight.shape[2:], grad.shape[2:]
    rank = len(kernel)
    strides, dilations = case.get("strides", [1] * rank), case.get("dilations", [1] * rank)
    extra, groups = case.get("output_padding", [0] * rank), case.get("group", 1)
    word, padding = case.get("auto_pad", "NOTSET"), _pairs(case.get("pads", [0] * 2 * rank))
    whole = [
        step * (size - 1) + more + long
        for step, size, more, long in zip(strides, extents, extra, _reach(kernel, dilations), strict=True)
    ]
    shape = case.get("output_shape")
    if shape is None and word.startswith("SAME"):
        shape = [size * step for size, step in zip(extents, strides, strict=True)]
    if shape is not None:  # elements beyond the shape are cut off, missing ones become output padding
        totals = [max(long - size, 0) for long, size in zip(whole, shape, strict=True)]
        padding = [_split(total, word == "SAME_UPPER") for total in totals]
    else:
        shape = [long - low - high for long, (low, high) in zip(whole, padding, strict=True)]
    input = np.zeros((len(grad), weight.shape[1] * groups, *shape), np.float32)
    options: dict[str, Any] = {"stride": strides, "padding": padding, "dilation": dilations, "groups": groups}
    function = f"conv{rank}d"
    value = road.gradient(function, "input", grad, input=input, weight=weight, **options)
    magnitude = REFERENCE.gradient(function, "input", np.abs(grad), input=input, weight=np.abs(weight), **options)
    roundings = weight.shape[0] // groups * prod(kernel) + 1
    if rank == 3:  # there is no conv_transpose3d; what it sums is the gradient of conv3d
        return [Answer(value, magnitude, roundings)]
    agree(Answer(value, magnitude, roundings), case.outputs[0], road)
    reached = [long - more for long, more in zip(whole, extra, strict=True)]
    behind = [max(low + size - far, 0) for (low, _), size, far in zip(padding, shape, reached, strict=True)]
    told = {"stride": strides, "output_padding": behind, "dilation": dilations, "groups": groups}
    (full,) = road(f"conv_transpose{rank}d", input=grad, weight=weight, **told)
    cut = tuple(slice(low, low + size) for (low, _), size in zip(padding, shape, strict=True))
    return [Answer(full[(..., *cut)], magnitude, roundings)]


def _laid_out(input: Array, padding: Sequence[Pair], kernel: Sequence[int], value: float) -> tuple[Array, list[int]]:
    """The input and the padding for a pooling function, which takes one number per axis, at most half the window.

    The caller pads the input for the rest, as with torch's functions.
    """
    if all(low == high and 2 * low <= size for (low, high), size in zip(padding, kernel, strict=True)):
        return input, [low for low, _ in padding]
    return np.pad(input, [(0, 0), (0, 0), *padding], constant_values=value), [0] * len(kernel)


def max_pooling(case: Case, road: Road) -> list[Answer]:
    """Exact; integers of 8 bits pass through float32 unchanged."""
    input, kernel = case.input(0), case.attributes["kernel_shape"]
    extents = input.shape[2:]
    strides, dilations, padding = _padding(case, extents, kernel)
    given, sides = _laid_out(input.astype(np.float32), padding, kernel, -np.inf)
    options: dict[str, Any] = {"stride": strides, "padding": sides, "dilation": dilations}
    options |= {"ceil_mode": bool(case.get("ceil_mode", 0)), "return_indices": len(case.outputs) > 1}
    value, *indices = road(f"max_pool{len(kernel)}d", input=given, kernel_size=kernel, **options)
    if not indices:
        return [Answer(value)]
    assert given.shape == input.shape, "indices are those of the input that was given"
    return [Answer(value), Answer(_places(indices[0], extents, case.get("storage_order", 0)))]


def _places(indices: Array, extents: Sequence[int], columns: int) -> Array:
    """ONNX counts through the whole tensor, each plane by rows or by columns; svertka counts within a plane by rows."""
    order = "F" if columns else "C"
    in_plane = np.ravel_multi_index(np.unravel_index(indices, extents), extents, order=order)  # type: ignore[call-overload]
    planes = np.arange(prod(indices.shape[:2])).reshape(*indices.shape[:2], *[1] * len(extents))
    return np.asarray(planes * prod(extents) + in_plane)


def average_pooling(case: Case, road: Road) -> list[Answer]:
    input, kernel = case.input(0), case.attributes["kernel_shape"]
    strides, dilations, padding = _padding(case, input.shape[2:], kernel)
    if max(dilations) > 1:
        raise NotRun("dilated averages")
    given, sides = _laid_out(input, padding, kernel, 0.0)
    counted = bool(case.get("count_include_pad", 0))
    options: dict[str, Any] = {"kernel_size": kernel, "stride": strides, "padding": sides}
    options |= {"ceil_mode": bool(case.get("ceil_mode", 0)), "count_include_pad": counted}
    function, roundings = f"avg_pool{len(kernel)}d", prod(kernel) + 4
    (magnitude,) = REFERENCE(function, input=_absolute(given), **options)
    (value,) = road(function, input=given, **options)
    if case.name in DECIMALS:
        half = 0.5 * 10.0 ** -DECIMALS[case.name]
        (printed,) = REFERENCE(function, input=np.full(given.shape, half), **options)
        return [Answer(value, magnitude, roundings, printed + half)]
    if given.shape == input.shape or counted:
        return [Answer(value, magnitude, roundings)]
    # Padding added by the caller must not count: the mean of the input over the share of elements that are input.
    share = np.pad(np.ones_like(input), [(0, 0), (0, 0), *padding])
    (counts,) = road(function, input=share, **options)
    (exact,) = REFERENCE(function, input=share, **options)
    return [Answer(value / counts, magnitude / exact, 2 * roundings)]


def global_average(case: Case, road: Road) -> list[Answer]:
    kernel = case.input(0).shape[2:]
    function = f"avg_pool{len(kernel)}d"
    (value,) = road(function, input=case.input(0), kernel_size=kernel)
    (magnitude,) = REFERENCE(function, input=_absolute(case.input(0)), kernel_size=kernel)
    return [Answer(value, magnitude, prod(kernel) + 1)]


def global_maximum(case: Case, road: Road) -> list[Answer]:
    kernel = case.input(0).shape[2:]
    (value,) = road(f"max_pool{len(kernel)}d", input=case.input(0), kernel_size=kernel)
    return [Answer(value)]
