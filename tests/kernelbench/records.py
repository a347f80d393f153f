"""What is proven of the formulas in ``examples/kernelbench``, kept as certificates in ``build/kernelbench``.

A certificate belongs to a formula and its kernels, which it names by digests. So a formula is proven again when it or
its kernels change, and a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from svertka.codegen.driver.certificate import certificate, certificate_path, levels_due
from svertka.codegen.driver.generate import PACKAGE, Package, generate_package
from svertka.codegen.emit.formatting import formatted_if_possible
from svertka.codegen.frontend.formula_file import definitions_of
from svertka.codegen.user_cache import digest
from svertka.codegen.verify.validate import load_package, validate_package
from svertka.spec.definition import Definition

__all__ = ["FORMULAS", "Generated", "formulas", "generated", "levels_of", "library_certificates", "prove", "recorded"]

ROOT = Path(__file__).parents[2]
FORMULAS = ROOT / "examples" / "kernelbench"
RECORDS = ROOT / "build" / "kernelbench"


@dataclass(frozen=True)
class Generated:
    """A package of formulas that was written to a folder and imported.

    Attributes:
        definitions: the formulas by name.
        package: its sources.
        folder: where they stand.
        module: the imported package.
    """

    definitions: Mapping[str, Definition]
    package: Package
    folder: Path
    module: ModuleType


def formulas() -> dict[str, tuple[Path, Definition]]:
    """File and definition of every formula in ``examples/kernelbench``, by name."""
    return {one.name: (file, one) for file in sorted(FORMULAS.glob("*.py")) for one in definitions_of(file)}


@contextmanager
def generated(definitions: Sequence[Definition]) -> Iterator[Generated]:
    """A package of some definitions, none of which shares a kernel with another: so each has a certificate alone."""
    package = generate_package(definitions, layout=formatted_if_possible, pooled=False)
    with TemporaryDirectory() as root:
        folder = Path(root) / "package"
        for name, text in package.sources.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        with load_package(folder) as name:
            named = {definition.name: definition for definition in definitions}
            yield Generated(named, package, folder, importlib.import_module(name))


def prove(given: Generated, name: str) -> dict[str, Any]:
    """The levels that hold for a formula's kernels, by formula: from its record, or validated now and recorded.

    Raises:
        ValueError: a level fails.
    """
    definition, sources = given.definitions[name], given.package.sources
    record = RECORDS / certificate_path(definition)
    before = record.read_text(encoding="utf-8") if record.exists() else ""
    if levels_due(before, sources, definition):
        [verdict] = validate_package(sources, [definition], processes=1)
        if verdict.failures:
            raise ValueError(f"formula {name}: {verdict.failures[0]}")
        before = certificate(sources, definition, verdict)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(before, encoding="utf-8")
    return levels_of(before)


def recorded(name: str, key: str, measure: Callable[[], list[str]]) -> list[str]:
    """What was measured before for a key, or is measured now and recorded.

    Args:
        name: of the record; it holds what was measured last.
        key: all that the measurement follows from.
        measure: measures.
    """
    path = RECORDS / f"{name}.json"
    with suppress(OSError, ValueError):
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["key"] == digest(key):
            cells: list[str] = before["cells"]
            return cells
    cells = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"key": digest(key), "cells": cells}), encoding="utf-8")
    return cells


def levels_of(text: str) -> dict[str, Any]:
    """The levels of a certificate, by formula."""
    found: dict[str, Any] = json.loads(text)["formulas"]
    return found


def library_certificates(definition: Definition) -> dict[str, Any]:
    """The levels of a library's layer, by formula, from the certificate beside its kernels."""
    return levels_of((PACKAGE / certificate_path(definition)).read_text(encoding="utf-8"))
