"""Kernels of gradients of gradients, in which faults are planted too: made when they are first asked for.

Input: the library's layers. Output: the text of each module, by its path within the package.
"""

from __future__ import annotations

from functools import cache

__all__ = ["FOLDER", "second_order_sources"]

FOLDER = "second_order/"
"""Begins the names of files that do not stand in the repository."""


@cache
def second_order_sources() -> dict[str, str]:
    """The modules of every layer that can be differentiated twice."""
    # Faulty stages are tried in processes that have imported nothing of svertka.
    from svertka.codegen.driver.on_demand import made_sources
    from svertka.spec.layers import DEFINITIONS

    return {path: text for definition in DEFINITIONS.values() for path, text in made_sources(definition).items()}
