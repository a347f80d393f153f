"""The layers, one file each: ``DEFINITIONS`` of every file of this folder, by name.

Layers of the lecture come first, in its order, and have a NumPy reference. Those of other files follow by file name.
``ADDING.md`` adds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

from svertka.spec.definition import Definition
from svertka.spec.layers import (
    batch_normalization,
    channel_normalization,
    convolution,
    cross_entropy,
    dropout,
    fused,
    image,
    linear,
    pooling,
    relu,
    softmax,
)

__all__ = ["DEFINITIONS"]

_LECTURE = (
    image,
    convolution,
    relu,
    pooling,
    linear,
    softmax,
    cross_entropy,
    dropout,
    batch_normalization,
    channel_normalization,
    fused,
)


def _others() -> Iterator[Definition]:
    """Layers of files that are not about the lecture."""
    lecture = {module.__name__ for module in _LECTURE}
    for name in sorted(f"{__name__}.{found.name}" for found in iter_modules(__path__)):
        if name not in lecture:
            yield from getattr(import_module(name), "DEFINITIONS", ())


DEFINITIONS: dict[str, Definition] = {
    definition.name: replace(definition, reference=definition.function, orders=2)
    for module in _LECTURE
    for definition in module.DEFINITIONS
} | {definition.name: replace(definition, orders=2) for definition in _others()}
