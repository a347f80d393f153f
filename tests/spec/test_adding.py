"""The page that adds a layer keeps its word: one file is written by hand, one command does the rest."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import svertka

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "spec" / "layers" / "ADDING.md").read_text(encoding="utf-8")
LAYER, USE = re.findall(r"```python\n(.*?)```", PAGE, re.S)
(COMMAND,) = re.findall(r"```\n(svertka .*?)\n```", PAGE)
FILE = "minimum_pooling"


@pytest.mark.slow
def test_a_layer_is_added_by_one_file_and_one_command(tmp_path: Path) -> None:
    package = _copied(tmp_path)
    before = _contents(package)
    added = package / "spec" / "layers" / f"{FILE}.py"
    added.write_text(LAYER, encoding="utf-8")
    assert f"`spec/layers/{FILE}.py`" in PAGE
    _run(tmp_path, "-m", "svertka.codegen", *COMMAND.split()[1:])
    _run(tmp_path, "-c", USE)
    changed = {path for path, text in _contents(package).items() if before.get(path) != text}
    assert changed - {added} != set()
    for path in changed - {added}:
        assert path.parts[len(package.parts)] == "generated"
        assert f"`generated/{path.parent.name}/`" in PAGE or f"`{path.name}`" in PAGE, path


def _copied(into: Path) -> Path:
    """The package in a folder of its own, so that nothing here is changed."""
    package = into / "svertka"
    package.mkdir()
    for part in ("spec", "reference", "codegen", "generated", "networks"):
        shutil.copytree(ROOT / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
    for module in Path(svertka.__file__).parent.glob("*.py"):
        shutil.copy(module, package)
    return package


def _contents(package: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def _run(folder: Path, *arguments: str) -> Sequence[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "SVERTKA_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
