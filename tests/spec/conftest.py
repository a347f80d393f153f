"""Shared fixtures of the tests of ``spec``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from svertka.spec.definition import Definition
from svertka.spec.evaluate import whole
from svertka.spec.layers import DEFINITIONS


@pytest.fixture(scope="session")
def complete() -> Callable[[Definition, Mapping[str, Any]], dict[str, Any]]:
    """Adds the extents that a definition computes to the given ones."""

    def add(definition: Definition, sizes: Mapping[str, Any]) -> dict[str, Any]:
        known = dict(sizes)
        for name, expression in definition.extents.items():
            known[name] = whole(expression, known)
        return known

    return add


@pytest.fixture(scope="session")
def owner() -> Callable[[str], Definition]:
    """The definition to which a formula belongs, by the formula's name."""
    found = {v.layer.name: d for d in DEFINITIONS.values() for v in d.variants}
    return found.__getitem__
