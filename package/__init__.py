"""GPU layers that are derived, proven and generated from formulas.

``svertka.generated`` has the layers, ``svertka.networks`` networks of them, ``svertka.codegen`` what makes layers of
formulas, ``svertka.spec`` the notation of formulas, ``svertka.reference`` the same layers in plain NumPy.
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
"""Public names, each with the module that has it; a module is imported when its name is asked for."""


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import svertka`` alone brings in no torch."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join((*__all__, *_LAZY))}")
