"""What ``svertka list`` says of every layer.

It follows from the files of formulas. SymPy, which these import, takes most of a second to load. Therefore it is kept
in the user's cache, by the digest of these files.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from svertka.codegen.user_cache import cache_folder

__all__ = ["listed"]

_FORMULAS = Path(__file__).parents[2] / "spec"
_COLUMNS = 5


def listed() -> list[tuple[str, ...]]:
    """Name, function, modules, number of formulas and source of every layer."""
    path = cache_folder() / "listed" / f"{_digest()}.json"
    with suppress(OSError, ValueError):
        kept = [(*map(str, row),) for row in json.loads(path.read_text(encoding="utf-8"))]
        if kept and all(len(row) == _COLUMNS for row in kept):
            return kept
    rows = _rows()
    with suppress(OSError):  # a cache that cannot be written to costs time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def _digest() -> str:
    """Of every file that formulas are made of."""
    files = sorted(_FORMULAS.rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:32]


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
