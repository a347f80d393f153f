"""Formulas in a user's file: it is run as Python, and every layer in it is used.

The ``Layer``s and ``Definition``s under the module's own names are used, in their order in the file. Names that begin
with an underscore are not used, nor is a ``Layer`` that is part of a ``Definition``. A bare ``Layer`` gets its public
interface from ``define``.

Input: a path. Output: ``Definition``s.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType

from svertka.spec import Layer, define
from svertka.spec.definition import Definition

__all__ = ["definitions_of", "is_formula_file"]

_FUNCTIONS = "; formulas take their functions from SymPy (exp, log, tanh, erf, ...) and from svertka.spec"
_HINTS = {
    "cannot determine truth value": "; use Select(condition, a, b), maximum(a, b) or minimum(a, b) of svertka.spec",
    "Cannot convert expression to float": _FUNCTIONS,
    "loop of ufunc": _FUNCTIONS,
    "must be Tensor, not Read": _FUNCTIONS,
    "Sum requires values": "; use Sum(body, index) of svertka.spec",
}
"""Remedies for error messages of SymPy, NumPy or PyTorch that give none."""


def is_formula_file(name: str) -> bool:
    """Whether a name on the command line is a file and not a layer."""
    return name.endswith(".py") or "/" in name


def definitions_of(path: Path, refused: list[str] | None = None) -> tuple[Definition, ...]:
    """Run a file and collect its layers.

    Args:
        path: the file.
        refused: receives what is wrong with layers that have no public interface, which are then left out.

    Raises:
        ValueError: there is no such file, running it fails, it contains no layer, or a layer has no public interface
            and ``refused`` is not given; the message names file and line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; give the path of a Python file with formulas")
    module = _run(path)
    found = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    faces = [value for value in found.values() if isinstance(value, Definition)]
    inner = {id(variant.layer) for face in faces for variant in face.variants}
    taken: dict[int, Definition] = {}
    for value in found.values():
        if isinstance(value, Definition):
            taken[id(value)] = value
        elif isinstance(value, Layer) and id(value) not in inner:
            try:
                with _told(path):
                    taken[id(value)] = define(value)
            except ValueError as error:
                if refused is None:
                    raise
                refused.append(str(error))
    if refused and not taken:
        raise ValueError(refused[0])
    if not taken:
        raise ValueError(f"{path}: it holds no Layer and no Definition; assign one to a name without underscore")
    return tuple(replace(one, source=one.source or path.name) for one in taken.values())


def _run(path: Path) -> ModuleType:
    """The file as a module, with its folder first on the path, as for ``python FILE``."""
    module = ModuleType(f"svertka_formulas_{path.stem}")
    module.__file__ = str(path)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    linecache.checkcache(str(path))
    try:
        with _told(path):
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    finally:
        sys.path.remove(folder)
    return module


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Convert any error in a file into one sentence with the line that caused it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line(error.__traceback__, path)
        place = f"{path}:{line}" if line else str(path)
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        kind = "" if isinstance(error, ValueError | TypeError) and said else f"{type(error).__name__}: "
        hint = next((hint for words, hint in _HINTS.items() if words in said), "")
        raise ValueError(f"{place}: {kind}{said}{hint}") from None


def _line(found: TracebackType | None, path: Path) -> int | None:
    """The last line of the file that was executed."""
    lines = [frame.lineno for frame in traceback.extract_tb(found) if frame.filename == str(path)]
    return lines[-1] if lines else None
