"""All of an argument that an operation of Triton's language may decide by, as a key of a dictionary.

Input: arguments of an operation. Output: keys; equal keys mean the same types, shapes and constants.
"""

from __future__ import annotations

from typing import Any

import triton.language as tl

__all__ = ["PLAIN", "UnknownError", "described", "key", "repeated"]

PLAIN = frozenset({bool, int, str, type(None), type(tl.PropagateNan.NONE)})
_Tile, _Constant = tl.core.tensor, tl.core.constexpr


class UnknownError(Exception):
    """An argument is of a kind that no plan may depend on."""


def described(argument: Any, handles: list[Any]) -> Any:
    """All of an argument that an operation may decide by; a tile's data goes to ``handles``."""
    kind = type(argument)
    if kind is _Tile:
        handles.append(argument.handle)
        return key(argument)
    if kind in PLAIN:
        return kind, argument
    if kind is float:
        return kind, argument.hex()
    if kind is _Constant:
        return kind, described(argument.value, handles)
    if kind is slice:
        return kind, *[described(part, handles) for part in (argument.start, argument.stop, argument.step)]
    if kind in (list, tuple, tl.core.tuple):
        return kind, *[described(part, handles) for part in argument]
    if isinstance(argument, tl.dtype):
        return _key_of_type(argument)
    raise UnknownError


def repeated(handles: list[Any]) -> tuple[Any, ...]:
    """Which tiles are given more than once: the square of a tile is another plan than a product of two."""
    if len(handles) == 2 and handles[0] is not handles[1]:
        return ()
    numbers = [id(handle) for handle in handles]
    if len(set(numbers)) == len(numbers):
        return ()
    return ("repeated", *[numbers.index(number) for number in numbers])


def key(tile: Any) -> Any:
    """The key of a tile: of its type, and of the kind of its data."""
    known = tile.__dict__.get("_key")
    if known is None:
        described = _key_of_type(tile.type), type(tile.handle)
        known = tile._key = _KINDS.setdefault(described, _Kind())
    return known


class _Kind:
    """Stands for a tile's type; it is found faster than the words for it."""


_KINDS: dict[Any, _Kind] = {}


def _key_of_type(kind: Any) -> Any:
    if isinstance(kind, tl.pointer_type):
        return "pointer", _key_of_type(kind.element_ty), kind.address_space, kind.const
    if isinstance(kind, tl.block_type):
        return "block", _key_of_type(kind.element_ty), tuple(kind.shape)
    if type(kind) is tl.dtype:
        return kind.name
    raise UnknownError
