"""Formulas to Triton kernels: derive, lower, print, validate, write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svertka.codegen.driver.from_python import certificate_of, layer_function, layer_module

__all__ = ["certificate_of", "layer_function", "layer_module"]


def __getattr__(name: str) -> Any:
    """Import the generator on first use: importing only ``svertka.codegen`` stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from svertka.codegen.driver import from_python

    return getattr(from_python, name)
