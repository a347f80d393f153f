"""The user's cache: where it is, and what is kept there between processes.

Whatever is kept there follows from what it is named by: a formula, and the generator's own source. So nothing in it is
ever out of date, and a cache that is removed, or cannot be written to, costs time alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import platform
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

__all__ = ["cache_folder", "digest", "generator_digest", "is_kept", "kept"]

GENERATORS = 4  # whoever works on the generator makes a new one every minute
WHOLE = ("spec", "codegen")
ROOMS = {
    "built": ("spec", "codegen/frontend", "codegen/ir", "codegen/passes", "codegen/lowering"),
    "planned": (
        "spec",
        "codegen/frontend",
        *(f"codegen/{room}" for room in ("ir", "passes", "lowering", "verify", "ptx")),
    ),
    "formatted": ("codegen/emit",),
    "torch": ("codegen/torch_api",),
    "listed": ("spec", "spec/layers", "codegen/driver"),
}
"""What makes each kind of results. A room imports only from rooms before it, so all others may change meanwhile."""
Made = TypeVar("Made")


def cache_folder() -> Path:
    """The folder: ``$SVERTKA_CACHE``, else ``$XDG_CACHE_HOME/svertka``, else ``~/.cache/svertka``."""
    told = os.environ.get("SVERTKA_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svertka"


def digest(text: str) -> str:
    """The digest of a text that headers, certificates and names of folders show."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def generator_digest(rooms: tuple[str, ...] = WHOLE) -> str:
    """A digest of the generator's own source, and of what computes with it; without the library's formulas.

    Args:
        rooms: folders of the source, as in ``ROOMS``.
    """
    parts = [version("sympy"), platform.python_version()]
    for place in rooms:
        package, _, room = place.partition("/")
        spec = importlib.util.find_spec(f"svertka.{package}")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent / room
        files = (path for suffix in ("py", "jinja", "json") for path in folder.rglob(f"*.{suffix}"))
        parts += [path.read_text(encoding="utf-8") for path in sorted(files) if path.parent != folder / "layers"]
    return digest("\0".join(parts))


def kept(kind: str, name: str, make: Callable[[], Made]) -> Made:
    """What this generator made before under a name, from the cache; else it is made now, and kept.

    Args:
        kind: one of ``ROOMS``; a folder within the cache.
        name: what the result follows from, as a digest.
        make: makes it. The result must be equal after pickling.
    """
    path = _path(kind, name)
    with suppress(Exception):  # absent, cut off, or of another library's classes: any of them is made anew
        return pickle.loads(path.read_bytes())  # type: ignore[no-any-return]
    made = make()
    with suppress(OSError):  # a cache that cannot be written to costs time alone
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            _forget_old(path.parents[1])
        _write(pickle.dumps(made), path)
    return made


def is_kept(kind: str, name: str) -> bool:
    """Whether the cache has something under a name; arguments as ``kept``'s."""
    return _path(kind, name).exists()


def _path(kind: str, name: str) -> Path:
    return cache_folder() / kind / generator_digest(ROOMS[kind]) / f"{name}.pickle"


def _write(content: bytes, path: Path) -> None:
    """Write a file whole or not at all: other processes may read it at any time."""
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(scratch).replace(path)


def _forget_old(folder: Path) -> None:
    """Remove what generators before the last few made."""
    old = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-GENERATORS]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
