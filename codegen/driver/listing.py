"""What ``svertka list`` says of every layer.

It follows from the files of formulas. SymPy, which these import, takes most of a second to load. Therefore it is kept
in the user's cache, by the digest of these files.
"""

from __future__ import annotations

from svertka.codegen.user_cache import kept

__all__ = ["listed"]


def listed() -> list[tuple[str, ...]]:
    """Name, function, modules, number of formulas and source of every layer, and of functions over several of them."""
    return kept("listed", "layers", _rows)


def _rows() -> list[tuple[str, ...]]:
    from svertka.spec.definition import Definition, with_facades
    from svertka.spec.layers import DEFINITIONS

    return [
        (
            one.name if isinstance(one, Definition) else "",
            one.function,
            ", ".join(face.name for face in one.modules),
            str(len(one.variants)) if isinstance(one, Definition) else f"{len(one.calls)} functions",
            one.source,
        )
        for one in with_facades(list(DEFINITIONS.values()))
    ]
