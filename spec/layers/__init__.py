"""The layers of the lecture, one file per layer; ``DEFINITIONS`` holds them by name, in the lecture's order."""

from __future__ import annotations

from dataclasses import replace

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

_MODULES = (
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

DEFINITIONS: dict[str, Definition] = {
    definition.name: replace(definition, reference=definition.function, orders=2)
    for module in _MODULES
    for definition in module.DEFINITIONS
}
