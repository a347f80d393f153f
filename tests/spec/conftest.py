"""What the tests of ``spec`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from svertka.spec.definition import Definition, TensorArgument
from svertka.spec.evaluate import whole
from svertka.spec.layer import Layer
from svertka.spec.layers import DEFINITIONS


@pytest.fixture(scope="session")
def complete() -> Callable[[Definition, Mapping[str, Any]], dict[str, Any]]:
    """Adds the extents that a definition computes to those that are given."""

    def add(definition: Definition, sizes: Mapping[str, Any]) -> dict[str, Any]:
        known = dict(sizes)
        for name, expression in definition.extents.items():
            known[name] = whole(expression, known)
        return known

    return add


@pytest.fixture(scope="session")
def differentiable() -> Callable[[Definition, Layer], list[str]]:
    """Names of the inputs whose gradients a definition offers."""

    def names(definition: Definition, layer: Layer) -> list[str]:
        offered = {a.bound for a in definition.arguments if isinstance(a, TensorArgument) and a.differentiable}
        return [t.name for t in layer.inputs if t.kind == "real" and t.name in offered]

    return names


@pytest.fixture(scope="session")
def owner() -> Callable[[str], Definition]:
    """The definition that a formula belongs to, by the formula's name."""
    found = {v.layer.name: d for d in DEFINITIONS.values() for v in d.variants}
    return found.__getitem__
