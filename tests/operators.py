"""The operators of the library's functions."""

from __future__ import annotations

import importlib

from svertka.generated.runtime import Operator
from svertka.spec.layers import DEFINITIONS

__all__ = ["operators"]


def operators() -> list[Operator]:
    """Of all functions, in the order of the layers."""
    modules = [importlib.import_module(f"svertka.generated.functions.{name}") for name in DEFINITIONS]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Operator)]
