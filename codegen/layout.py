"""Format generated Python with ruff, so that generated files read like written ones.

Input: sources by path. Output: formatted sources by path.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ruff import find_ruff_bin

__all__ = ["formatted"]

COMPACT = "format.skip-magic-trailing-comma=true"
SETTINGS = ("--isolated", "--line-length", "120", "--target-version", "py311")


def formatted(sources: Mapping[str, str]) -> dict[str, str]:
    """Format Python sources, sort and prune their imports, and drop brackets that say nothing.

    Raises:
        RuntimeError: a source is not valid Python; the message is ruff's.
    """
    ruff = find_ruff_bin()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in sources.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _run([ruff, "check", "--quiet", "--no-cache", "--fix", "--select", "I,F401,UP034", *_isolated(), "."], root)
        _run([ruff, "format", "--quiet", "--no-cache", *SETTINGS, "--config", COMPACT, "."], root)
        return {name: (root / name).read_text(encoding="utf-8") for name in sources}


def _isolated() -> tuple[str, ...]:
    return (*SETTINGS, "--config", "lint.isort.known-first-party=['svertka']")


def _run(command: list[str], folder: Path) -> None:
    """Run inside the folder, so that messages name files as the package does."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"generated source is not valid Python:\n{done.stdout}{done.stderr}")
