"""Packages that ``layer_module`` has made, as modules that any process can import.

``svertka.codegen.cached.NAME.DIGEST.proven`` is the folder ``NAME/DIGEST/proven`` of the user's cache. So the classes
of a model of such layers are found when it is loaded, or sent to a worker: ``pickle`` imports them by name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from svertka.codegen.user_cache import cache_folder

__all__ = ["imported"]


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


class _Missing(MetaPathFinder):
    """The last finder, used when no cache has a package: its error names the package and how to make it."""

    depth = len(__name__.split(".")) + len(("NAME", "DIGEST", "proven"))

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> None:
        """None for a module that is not a package in the cache.

        Raises:
            ModuleNotFoundError: it would be one.
        """
        if not fullname.startswith(f"{__name__}.") or len(fullname.split(".")) > self.depth:
            return
        missing = "/".join(fullname.removeprefix(f"{__name__}.").split("."))
        raise ModuleNotFoundError(
            f"{missing} is not in {', '.join(__path__)}: layer_module made this package elsewhere; "
            "call layer_module with the same formula here, or copy its cache and name the copy in SVERTKA_CACHE",
            name=fullname,
        )


_MISSING: MetaPathFinder = globals().get("_MISSING") or _Missing()
"""One instance, also when this module is loaded again."""
if _MISSING not in sys.meta_path:
    sys.meta_path.append(_MISSING)
__path__.append(str(cache_folder()))
