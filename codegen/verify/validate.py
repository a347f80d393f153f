"""Validate generated kernels against their formulas before anything is written, or at any later time.

A candidate package is written to a temporary folder and imported from there, and every level (``levels``) is checked
for each of its formulas, several at a time. A kernel that differs from its formula is an error; the message names the
element, the kernel's value and the formula's value.

Input: a package and definitions. Output: ``Verdict``s.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.lowering.built import PROCESSES, built
from svertka.codegen.verify.levels import LEVELS, Outcome, Subject
from svertka.codegen.verify.replay import replaying_on
from svertka.spec import normal_form
from svertka.spec.definition import Definition, Variant
from svertka.spec.notation import Reduction

__all__ = ["ValidationError", "Verdict", "load_package", "side_by_side", "validate_folder", "validate_package"]

Item = TypeVar("Item", bound=tuple[Any, ...])
Result = TypeVar("Result")
Progress = Callable[[str], None]


class ValidationError(Exception):
    """A folder contains no package to validate."""


@dataclass(frozen=True)
class Verdict:
    """What the levels showed of a definition's formulas and kernels."""

    definition: str
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """One line each, with the level's name; empty if all holds."""
        return tuple(f"{outcome.level}: {text}" for outcome in self.outcomes for text in outcome.failures)

    def by_formula(self) -> dict[str, dict[str, Outcome]]:
        """Outcomes by formula and level."""
        found: dict[str, dict[str, Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.layer, {})[outcome.level] = outcome
        return found

    def of(self, level: str) -> list[Outcome]:
        """The outcomes of a level."""
        return [outcome for outcome in self.outcomes if outcome.level == level]


@contextmanager
def load_package(folder: Path) -> Iterator[str]:
    """Import a generated package from any folder under a unique name; yields that name."""
    name = f"svertka_candidate_{abs(hash(str(folder)))}"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None or not (folder / "__init__.py").exists():
        raise ValidationError(f"folder {folder}: it holds no generated package; run `svertka generate --into {folder}`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield name
    finally:
        for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[loaded]


def validate_package(
    sources: Mapping[str, str],
    definitions: Sequence[Definition],
    progress: Progress = lambda name: None,
    levels: Sequence[str] = tuple(LEVELS),
    processes: int = PROCESSES,
) -> list[Verdict]:
    """Validate the kernels of some definitions of a package that is not written yet."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "package"
        for name, text in sources.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return validate_folder(root, definitions, progress, levels, processes)


def validate_folder(
    folder: Path,
    definitions: Sequence[Definition],
    progress: Progress = lambda name: None,
    levels: Sequence[str] = tuple(LEVELS),
    processes: int = PROCESSES,
) -> list[Verdict]:
    """Validate the kernels of some definitions of a package on disk, several at a time.

    Args:
        folder: the package.
        definitions: what to validate.
        progress: called with a formula's name when it is done.
        levels: names of the levels to check.
        processes: how many formulas are validated in parallel.

    Raises:
        ValueError: there is no such level.
        ValidationError: the folder holds no package.
    """
    for level in levels:
        if level not in LEVELS:
            raise ValueError(f"level {level!r}: there is no such level; use {', '.join(LEVELS)}")
    work = [(one, place, tuple(levels)) for one in definitions for place in range(len(one.variants))]
    work.sort(key=lambda item: -_loops(item[0].variants[item[1]]))  # the longest first, so that none ends alone
    found: dict[str, tuple[Outcome, ...]] = {}
    for (definition, place, _), outcomes in side_by_side(folder, _validate_one, work, processes):
        found[definition.variants[place].layer.name] = outcomes
        progress(definition.variants[place].layer.name)
    return [
        Verdict(definition.name, tuple(outcome for v in definition.variants for outcome in found[v.layer.name]))
        for definition in definitions
    ]


def side_by_side(
    folder: Path, judge: Callable[..., Result], work: Sequence[Item], processes: int = PROCESSES
) -> Iterator[tuple[Item, Result]]:
    """Judge several parts of a package at a time, in processes that have imported it.

    Args:
        folder: the package.
        judge: a function of a module; called with the name under which the package is imported, and an item's parts.
        work: the items, as they are begun.
        processes: how many are judged in parallel.

    Yields:
        Items with their results, as they are done.

    Raises:
        ValidationError: the folder holds no package.
    """
    if processes < 2 or len(work) < 2:
        with load_package(folder) as package:
            for item in work:
                yield item, judge(package, *item)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _open, (folder,)) as pool:
        futures = {pool.submit(_judge_one, judge, item): item for item in work}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _loops(variant: Variant) -> int:
    """Depth of the formula's deepest loop nest."""
    layer = normal_form(variant.layer)
    return max(
        len(equation.target.axes) + sum(len(r.indices) for r in equation.value.atoms(Reduction))
        for equation in layer.equations
    )


def _outcomes(package: str, module: KernelModule, variant: Variant, levels: Sequence[str]) -> tuple[Outcome, ...]:
    """Check a formula at each level; a kernel that cannot run is a failure with its reason."""
    import numpy as np

    subject = Subject(module, variant, package)
    try:
        subject.cases, subject.small_cases  # noqa: B018 - what every level begins with
    except ValueError as error:
        told = f"there are no sizes to judge it at: {error}"
        first, *others = levels
        left = [
            Outcome(level, variant.layer.name, inapplicable="there are no sizes to judge it at") for level in others
        ]
        return (Outcome(first, variant.layer.name, failures=(told,)), *left)
    found = []
    for level in levels:
        try:
            # Masked lanes at a tile's end compute with arbitrary values; they store nothing.
            with np.errstate(all="ignore"), replaying_on(subject.device):
                found.append(LEVELS[level](subject))
        except Exception as error:
            text = f"the kernel does not run: {type(error).__name__}: {error}"
            found.append(Outcome(level, variant.layer.name, failures=(text,)))
    return tuple(found)


_worker: dict[str, Any] = {}


def _open(folder: Path) -> None:
    """Import the package once per process; it stays imported until the process ends."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker["stack"] = stack = ExitStack()
    _worker["package"] = stack.enter_context(load_package(folder))


def _end_with_parent() -> None:
    """End a worker whose parent was killed; it would otherwise wait for work forever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _judge_one(judge: Callable[..., Result], item: tuple[Any, ...]) -> Result:
    return judge(_worker["package"], *item)


def _validate_one(package: str, definition: Definition, place: int, levels: Sequence[str]) -> tuple[Outcome, ...]:
    module = built(definition)
    return _outcomes(package, module, module.definition.variants[place], levels)
