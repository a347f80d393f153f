"""Packages of the examples' files, generated as by ``svertka generate FILE.py --into`` and imported."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.frontend.formula_file import definitions_of
from svertka.codegen.verify.validate import load_package
from svertka.spec.definition import Definition

torch.set_num_threads(1)

FILES = tuple(sorted((Path(__file__).parents[2] / "examples").glob("*.py")))


def examples() -> dict[str, Definition]:
    """Every example by name."""
    return {definition.name: definition for file in FILES for definition in definitions_of(file)}


@contextmanager
def packaged(folder: Path, definitions: list[Definition]) -> Iterator[ModuleType]:
    """A package of some definitions, imported from a folder."""
    for name, text in generate_package(definitions).sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with load_package(folder) as name:
        yield importlib.import_module(name)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One package with all examples."""
    with ExitStack() as stack:
        yield stack.enter_context(packaged(tmp_path_factory.mktemp("examples") / "all", list(examples().values())))
