"""What ``svertka list`` says of every layer.

It follows from the files of formulas. SymPy, which these import, takes most of a second to load. Therefore it is kept
in the user's cache, by the digest of these files.
"""

from __future__ import annotations

from svertka.codegen.user_cache import kept

__all__ = ["listed"]


def listed() -> list[tuple[str, ...]]:
    """Name, function, modules, number of formulas and source of every layer."""
    return kept("listed", "layers", _rows)


def _rows() -> list[tuple[str, ...]]:
    from svertka.spec.layers import DEFINITIONS

    return [
        (
            definition.name,
            definition.function,
            ", ".join(face.name for face in definition.modules),
            str(len(definition.variants)),
            definition.source,
        )
        for definition in DEFINITIONS.values()
    ]
