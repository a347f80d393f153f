"""Format generated Python with ruff, then fill its lines (``filling``), so that files look as if written by hand.

Generated files that are kept must have the same bytes on every machine, so they need ruff. A package that is generated
only to be imported does not need it.

Input: sources by path. Output: formatted sources by path.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from svertka.codegen.emit.filling import filled
from svertka.codegen.user_cache import digest, is_kept, kept

__all__ = ["formatted", "formatted_if_possible", "formatter"]

COMPACT = "format.skip-magic-trailing-comma=true"
SETTINGS = ("--isolated", "--line-length", "120", "--target-version", "py311")


def formatter() -> str:
    """The path of ruff's program.

    Raises:
        ValueError: ruff is not installed.
    """
    try:
        from ruff import find_ruff_bin

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError):
        raise ValueError(
            "generated files are formatted by ruff, which is not installed; "
            "install it with `pip install 'svertka[generator]'`"
        ) from None


def formatted(sources: Mapping[str, str]) -> dict[str, str]:
    """Format Python sources, sort their imports, and remove unused imports and redundant parentheses.

    Raises:
        RuntimeError: a source is not valid Python; the message is ruff's.
        ValueError: ruff is not installed.
    """
    ruff = formatter()
    keys = {name: digest(f"{version('ruff')} {name}\n{text}") for name, text in sources.items()}
    missing = {name: text for name, text in sources.items() if not is_kept("formatted", keys[name])}
    made = _formatted(ruff, missing) if missing else {}

    def anew(name: str) -> str:
        return made[name] if name in made else _formatted(ruff, {name: sources[name]})[name]

    return {name: kept("formatted", keys[name], partial(anew, name)) for name in sources}


def _formatted(ruff: str, sources: Mapping[str, str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in sources.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _run([ruff, "check", "--quiet", "--no-cache", "--fix", "--select", "I,F401,UP034", *_isolated(), "."], root)
        _run([ruff, "format", "--quiet", "--no-cache", *SETTINGS, "--config", COMPACT, "."], root)
        return {name: filled((root / name).read_text(encoding="utf-8")) for name in sources}


def formatted_if_possible(sources: Mapping[str, str]) -> dict[str, str]:
    """``formatted`` if ruff is installed; otherwise the sources without change, checked to be valid Python.

    Raises:
        RuntimeError: a source is not valid Python.
    """
    try:
        formatter()
    except ValueError:
        for name, text in sources.items():
            _check(name, text)
        return dict(sources)
    return formatted(sources)


def _check(name: str, text: str) -> None:
    try:
        compile(text, name, "exec")
    except SyntaxError as error:
        raise RuntimeError(f"generated source is not valid Python:\n{name}:{error.lineno}: {error.msg}") from None


def _isolated() -> tuple[str, ...]:
    return (*SETTINGS, "--config", "lint.isort.known-first-party=['svertka']")


def _run(command: list[str], folder: Path) -> None:
    """Run a command in the folder, so that messages name files by their paths in the package."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"generated source is not valid Python:\n{done.stdout}{done.stderr}")
