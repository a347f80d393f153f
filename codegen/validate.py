"""Validate generated kernels against their formulas before anything is written, or at any time after.

A candidate package is put into a scratch folder, imported from there, and each program is run at the
definition's cases. A
kernel that misses its formula is an error that names the element, both values and how far they may differ.

Input: sources by path and the modules they were printed from. Output: ``Verdict``s.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

from svertka.codegen.build import KernelModule, build
from svertka.codegen.cases import Case, cases
from svertka.spec.definition import Definition, Variant

__all__ = ["ValidationError", "Verdict", "load_package", "validate_module", "validate_package"]

Progress = Callable[[str], None]


class ValidationError(Exception):
    """A kernel does not compute its formula."""


@dataclass(frozen=True)
class Verdict:
    """How a definition's kernels compare with their formulas.

    Attributes:
        definition: its name.
        cases: how many cases ran; ``elements``: how many elements were compared.
        tightness: largest |got - expected| / bound; at most 1 if all hold.
        failures: one line each.
    """

    definition: str
    cases: int
    elements: int
    tightness: float
    failures: tuple[str, ...]


@contextmanager
def load_package(folder: Path) -> Iterator[str]:
    """Import a generated package from any folder under a name of its own; yields that name."""
    name = f"svertka_candidate_{abs(hash(str(folder)))}"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ValidationError(f"folder {folder}: it holds no generated package; run `svertka generate --into {folder}`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield name
    finally:
        for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[loaded]


def validate_module(
    module: KernelModule, kernels: ModuleType, dtypes: Sequence[str] = ("float32",), device: str = "cpu"
) -> Verdict:
    """Compare every variant's forward and backward with its formula."""
    ran, elements, tightness = 0, 0, 0.0
    failures: list[str] = []
    for variant in module.definition.variants:
        for case, dtype in product(cases(module.definition, variant), dtypes):
            ran += 1
            for result in _results(module, variant, kernels, case, dtype, device):
                if isinstance(result, str):
                    failures.append(f"{case.name} {dtype}: {result}")
                    continue
                elements += result.elements
                tightness = max(tightness, result.ratio)
                if not result.holds:
                    failures.append(f"{case.name} {dtype}: {result}")
    return Verdict(module.definition.name, ran, elements, tightness, tuple(failures))


def _results(
    module: KernelModule, variant: Variant, kernels: ModuleType, case: Case, dtype: str, device: str
) -> Iterator[Any]:
    """Comparisons of a case; a kernel that cannot run is a failure with its reason."""
    import numpy as np
    import torch
    from triton.runtime.errors import InterpreterError

    from svertka.codegen.equivalence import compare

    try:
        # Lanes behind a tile's end compute with what they have; they store nothing.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            yield from compare(module, variant, kernels, case, getattr(torch, dtype), device=device)
    except InterpreterError as error:
        yield f"the kernel does not run: {error}"


def validate_package(
    sources: Mapping[str, str],
    definitions: Sequence[Definition],
    progress: Progress = lambda name: None,
    processes: int = 2,
) -> list[Verdict]:
    """Validate the kernels of some definitions of a package that is not written yet."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "package"
        for name, text in sources.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return validate_folder(root, definitions, progress, processes)


def validate_folder(
    folder: Path,
    definitions: Sequence[Definition],
    progress: Progress = lambda name: None,
    processes: int = 2,
) -> list[Verdict]:
    """Validate the kernels of some definitions of a package on disk, several at a time."""
    work = [(folder, definition) for definition in definitions]
    if processes < 2 or len(work) < 2:
        verdicts = []
        for item in work:
            verdicts.append(_validate_one(item))
            progress(item[1].name)
        return verdicts
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        verdicts = []
        for verdict in pool.map(_validate_one, work):
            verdicts.append(verdict)
            progress(verdict.definition)
    return verdicts


def _validate_one(item: tuple[Path, Definition]) -> Verdict:
    folder, definition = item
    with load_package(folder) as name:
        kernels = importlib.import_module(f"{name}.kernels.{definition.name}")
        return validate_module(build(definition), kernels)
