"""Checks of arguments, and the normal forms of sizes, strides and paddings.

An error message names the argument, its value, the rule and the remedy, in this order.
"""

import math
import operator
from collections.abc import Sequence
from typing import TypeAlias

Sizes: TypeAlias = int | Sequence[int]
Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = str | int | Sequence[int] | Sequence[Pair]


def complaint(argument: str, value: object, rule: str, remedy: str) -> str:
    """Compose an error message."""
    return f"{argument}={value!r}: {rule}. {remedy}."


def require(condition: bool, argument: str, value: object, rule: str, remedy: str) -> None:
    """Raise ValueError with a complete error message unless `condition` holds."""
    if not condition:
        raise ValueError(complaint(argument, value, rule, remedy))


def whole_number(argument: str, value: object, minimum: int | None = None) -> int:
    """Return `value` as an int.

    Raises:
        TypeError: `value` is not an integer (a bool is not an integer here).
        ValueError: `value` is less than `minimum`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        rule = "must be an integer"
        raise TypeError(complaint(argument, value, rule, "Pass an int")) from None
    if minimum is not None:
        rule, remedy = f"must be at least {minimum}", "Pass a larger int"
        require(number >= minimum, argument, value, rule, remedy)
    return number


def real_number(argument: str, value: object) -> float:
    """Return `value` as a finite float.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is infinite or NaN.
    """
    try:
        if isinstance(value, bool | str):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except TypeError:
        rule = "must be a real number"
        raise TypeError(complaint(argument, value, rule, "Pass a float")) from None
    require(math.isfinite(number), argument, value, "must be finite", "Pass a float")
    return number


def axis_number(argument: str, value: object, rank: int) -> int:
    """Return the axis `value`, which may count from the end, as a number from 0."""
    axis = whole_number(argument, value)
    rule = f"must lie between {-rank} and {rank - 1}, the input having {rank} axes"
    require(-rank <= axis < rank, argument, value, rule, "Name an axis of the input")
    return axis % rank


def per_axis(argument: str, value: object, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return one integer per spatial axis.

    Args:
        argument: Name of the argument, for messages.
        value: An int for all axes, or a sequence of 1 or `rank` ints.
        rank: Number of spatial axes.
        minimum: The smallest value allowed.

    Raises:
        TypeError: An entry is not an integer.
        ValueError: An entry is too small, or their number is wrong.
    """
    entries = _repeated(argument, value, rank)
    return tuple(_entry(argument, value, entry, minimum) for entry in entries)


def padding_pairs(
    value: object,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Pair, ...]:
    """Return the (low, high) padding of each spatial axis of a convolution.

    Args:
        value: 'valid', 'same', an int, ints per axis, or (low, high) pairs per axis.
        kernel: The kernel's extents.
        stride: The strides; 'same' requires that they are 1.
        dilation: The dilations.

    Raises:
        TypeError: An entry is not an integer.
        ValueError: Unknown word, negative entry, wrong number of entries, or 'same' with a stride.
    """
    if isinstance(value, str):
        return _worded_padding(value, kernel, stride, dilation)
    entries = _repeated("padding", value, len(kernel))
    return tuple(_pair(value, entry) for entry in entries)


def _worded_padding(
    word: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Pair, ...]:
    remedy = "Pass 'valid', 'same' or integers"
    require(word in ("valid", "same"), "padding", word, "unknown word", remedy)
    if word == "valid":
        return ((0, 0),) * len(kernel)
    rule = f"needs stride 1, but stride={tuple(stride)}"
    require(set(stride) <= {1}, "padding", word, rule, "Pass integers or stride=1")
    totals = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _pair(value: object, entry: object) -> Pair:
    if not isinstance(entry, Sequence):
        both = _entry("padding", value, entry, 0)
        return both, both
    rule, remedy = "each pair must be (low, high)", "Give each axis two ints"
    require(len(entry) == 2, "padding", value, rule, remedy)
    low, high = (_entry("padding", value, side, 0) for side in entry)
    return low, high


def _repeated(argument: str, value: object, rank: int) -> list[object]:
    entries = list(value) if isinstance(value, Sequence) else [value]
    rule = f"must be an int or a sequence of {rank}, one per spatial axis"
    remedy = f"Pass one entry or {rank}"
    require(len(entries) in (1, rank), argument, value, rule, remedy)
    return entries * rank if len(entries) == 1 else entries


def _entry(argument: str, value: object, entry: object, minimum: int) -> int:
    """Return one entry of `value`; error messages show the whole of it."""
    try:
        number = whole_number(argument, entry)
    except TypeError:
        rule = "every entry must be an integer"
        raise TypeError(complaint(argument, value, rule, "Pass ints")) from None
    rule, remedy = f"every entry must be at least {minimum}", "Pass larger ints"
    require(number >= minimum, argument, value, rule, remedy)
    return number
