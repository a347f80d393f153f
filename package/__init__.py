"""GPU layers that are derived, proven and generated from formulas.

``svertka.generated`` has the layers, ``svertka.networks`` networks that consist of them, ``svertka.codegen`` the
generator from formulas to layers, ``svertka.spec`` the notation of formulas, ``svertka.reference`` the same layers in
plain NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"

_LAZY: dict[str, str] = {
    "Report": "svertka.generated.convert",
    "convert": "svertka.generated.convert",
    "revert": "svertka.generated.convert",
}
"""Public names with their modules; a module is imported when its name is first used."""


def __getattr__(name: str) -> Any:
    """Import a name on first use: ``import svertka`` alone does not import torch."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join((*__all__, *_LAZY))}")
