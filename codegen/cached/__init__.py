"""Packages that ``layer_module`` has made, as modules that any process can import.

``svertka.codegen.cached.NAME.DIGEST.proven`` is the folder ``NAME/DIGEST/proven`` of the user's cache, so that a model
of such layers that was saved, or sent to a worker, finds its classes: ``pickle`` imports them by name.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

__all__ = ["cache_folder", "imported"]


def cache_folder() -> Path:
    """Where packages lie: ``$SVERTKA_CACHE``, else ``$XDG_CACHE_HOME/svertka``, else ``~/.cache/svertka``."""
    told = os.environ.get("SVERTKA_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svertka"


def imported(folder: Path) -> ModuleType:
    """A package in the cache, imported under its own name.

    Args:
        folder: ``NAME/DIGEST/proven`` below some cache.
    """
    *_, name, digest, proven = folder.parts
    root = str(folder.parents[2])
    if root not in __path__:
        __path__.append(root)
    importlib.invalidate_caches()
    return importlib.import_module(f"{__name__}.{name}.{digest}.{proven}")


__path__.append(str(cache_folder()))
