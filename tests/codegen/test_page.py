"""The examples of the page on the generator, as it prints them, and its table of rooms."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import svertka.codegen

FOLDER = Path(svertka.codegen.__file__).parent
PAGE = FOLDER / "README.md"


def test_the_examples_of_the_page_are_true() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted > 10
    assert not found.failed


def test_every_room_stands_in_the_table() -> None:
    rooms = {path.name for path in FOLDER.iterdir() if (path / "__init__.py").exists()}
    named = re.findall(r"^\| `(\w+)/`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) - {"spec"} == rooms
