"""What is known of torch's modules, without importing torch, which takes seconds: looked up once for each version.

Input: a module's name. Output: names.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import version
from inspect import signature

from svertka.codegen.user_cache import kept

__all__ = ["attributes", "forward_parameters"]


@cache
def attributes() -> frozenset[str]:
    """Names of attributes that every module of torch has."""
    return kept("torch", f"attributes-{version('torch')}", lambda: frozenset(dir(import_module("torch.nn").Module())))


@cache
def forward_parameters(module: str) -> tuple[str, ...]:
    """Parameters of a module's ``forward``, ``self`` first; ``module``: as in ``"Conv2d"``."""

    def found() -> tuple[str, ...]:
        return tuple(signature(getattr(import_module("torch.nn"), module).forward).parameters)

    return kept("torch", f"{module}-{version('torch')}", found)
