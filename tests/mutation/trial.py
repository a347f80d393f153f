"""The trial of one fault: derive, print and check what it may change. Runs in a separate process.

Each step (generation, or a level on a layer) is reported at its begin and at its end, so that the observer knows the
step in which a process hangs.

Input: a ``Mutant`` and a temporary folder. Output: one JSON line per event, on a stream.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from os import symlink
from pathlib import Path
from typing import Any

from .faults import REPOSITORY, Mutant
from .second_order import second_order_sources

__all__ = ["FOLDERS", "GENERATION", "LEVELS_OF", "Report", "baseline", "emitted_trial", "tree_trial"]

GENERATION = "generation"
OF_KERNELS = ("source", "exact", "rounding")
LEVELS_OF = {
    "emitted": OF_KERNELS,
    "second order": OF_KERNELS,
    "template": (GENERATION, *OF_KERNELS),
    "printer": (GENERATION, *OF_KERNELS),
    "calculus": (GENERATION, "adjoint", "reference", *OF_KERNELS),
    "schedule": (GENERATION, *OF_KERNELS),
}
"""Levels that can detect a kind of fault; the first two levels run no kernel."""

FOLDERS = ("spec", "reference", "codegen", "generated")
MOST_LAYERS, MOST_OTHERS = 6, 3
VARIED = ("center_crop", "cross_entropy", "resize", "average_pooling_2d", "max_pooling_2d", "image_input", "dropout")

Report = Callable[..., None]
"""Called with the fields of an event."""


def emitted_trial(mutant: Mutant, scratch: Path, done: Collection[tuple[str, str]], report: Report) -> None:
    """Check the formulas that launch a faulty kernel. The fault-free package is already imported in this process."""
    package = scratch / "package"
    (name,) = mutant.layers
    faulty = f"kernels/{name}.py"
    if mutant.kind == "second order":
        _linked(REPOSITORY / "generated", package)
        every = second_order_sources()
        _written({path: text for path, text in every.items() if path.endswith(f"/{name}.py")}, package)
        (package / faulty).write_text(mutant.applied(every[faulty]), encoding="utf-8")
    else:
        _linked(REPOSITORY / "generated", package, faulty, mutant)
    _checked(package, [name], LEVELS_OF[mutant.kind], done, report, mutant.scope)


def tree_trial(
    mutant: Mutant, scratch: Path, done: Collection[tuple[str, str]], report: Report, sound: Mapping[str, str]
) -> None:
    """Generate with a faulty stage and check the layers whose kernels differ from the fault-free ones.

    Nothing of svertka is imported in this process yet; the import uses a tree of links with the faulty file in it.
    """
    for folder in FOLDERS:
        if mutant.file.startswith(f"{folder}/"):
            _linked(REPOSITORY / folder, scratch / "svertka" / folder, mutant.file.removeprefix(f"{folder}/"), mutant)
        else:
            (scratch / "svertka").mkdir(exist_ok=True)
            symlink(REPOSITORY / folder, scratch / "svertka" / folder)
    symlink(REPOSITORY / "package" / "__init__.py", scratch / "svertka" / "__init__.py")
    sys.path.insert(0, str(scratch))
    os.environ["SVERTKA_CACHE"] = str(scratch / "cache")  # what a faulty generator makes is no one else's
    importlib.invalidate_caches()
    levels = LEVELS_OF[mutant.kind][1:]
    changed: list[str] = []
    for number, names in enumerate((mutant.layers, _others(mutant))):
        report(step=GENERATION, layer="")
        try:
            definitions = importlib.import_module("svertka.spec.layers").DEFINITIONS
            sources = _generated(definitions, names)
        except Exception as error:
            report(step=GENERATION, layer="", failure=f"{type(error).__name__}: {error}")
            return
        differing = _differing(sources, sound, names)
        changed += differing
        report(step=GENERATION, layer="", failure="", changed=changed)
        package = scratch / f"package_{number}"
        _written(sources, package)
        if _checked(package, differing[: MOST_OTHERS if changed != differing else MOST_LAYERS], levels, done, report):
            return


def _others(mutant: Mutant) -> list[str]:
    """The layers to try if the chosen ones reveal nothing: those with the most different features first."""
    definitions = importlib.import_module("svertka.spec.layers").DEFINITIONS
    rest = [name for name in definitions if name not in mutant.layers]
    return sorted(rest, key=lambda name: VARIED.index(name) if name in VARIED else len(VARIED))


def baseline() -> dict[str, str]:
    """The output of the imported stages, by path."""
    definitions = importlib.import_module("svertka.spec.layers").DEFINITIONS
    return _generated(definitions, list(definitions))


def _generated(definitions: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    generate = importlib.import_module("svertka.codegen.driver.generate")
    once = [dataclasses.replace(definitions[name], orders=1) for name in names]  # gradients' gradients take minutes
    # Each module has all its kernels: what is compared does not depend on the other layers of a package.
    sources: dict[str, str] = generate.generate_package(once, pooled=False).sources
    return sources


def _differing(sources: Mapping[str, str], sound: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Layers whose kernels, or shared functions, differ from those of the fault-free stages."""
    shared = importlib.import_module("svertka.codegen.driver.generate").SHARED
    if any(_body(sources[path]) != _body(sound[path]) for path in shared):
        return list(names)
    paths = {name: f"kernels/{name}.py" for name in names}
    return [name for name, path in paths.items() if _body(sources[path]) != _body(sound[path])]


def _body(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "sha256" not in line)


def _written(sources: Mapping[str, str], folder: Path) -> None:
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _linked(original: Path, copy: Path, faulty: str = "", mutant: Mutant | None = None) -> None:
    """A folder of links to another, with one faulty file in it."""
    shutil.copytree(original, copy, copy_function=symlink, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is None:
        return
    path = copy / faulty
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.write_text(mutant.applied(text), encoding="utf-8")


def _checked(
    package: Path,
    names: Sequence[str],
    levels: Sequence[str],
    done: Collection[tuple[str, str]],
    report: Report,
    scope: str = "",
) -> bool:
    """Check layer after layer at every level, up to the first one that a level refuses; whether one was refused."""
    gradient = importlib.import_module("svertka.spec.gradient")
    layers = importlib.import_module("svertka.spec.layers").DEFINITIONS.values()
    definitions = {definition.name: definition for definition in gradient.with_gradients(list(layers))}
    load_package = importlib.import_module("svertka.codegen.verify.validate").load_package
    with load_package(package) as imported:
        for name in names:
            refused = any(step in levels and layer == name for step, layer in done)
            for level in levels:
                if (level, name) in done:
                    continue
                report(step=level, layer=name)
                failure, inapplicable = _level(level, definitions[name], imported, scope)
                report(step=level, layer=name, failure=failure, inapplicable=inapplicable)
                refused = refused or bool(failure)
            if refused:
                return True
    return False


def _level(level: str, definition: Any, package: str, scope: str) -> tuple[str, str]:
    """The first failure of a level on a layer's formulas, and why it does not apply to them (or "")."""
    import numpy as np

    levels = importlib.import_module("svertka.codegen.verify.levels")
    build = importlib.import_module("svertka.codegen.lowering.build").build
    reasons = []
    try:
        module = build(definition)
        for variant in _concerned(module, scope):
            with np.errstate(all="ignore"):
                outcome = levels.LEVELS[level](levels.Subject(module, variant, package))
            if outcome.failures:
                return outcome.failures[0], ""
            reasons.append(outcome.inapplicable)
    except Exception as error:
        return f"it does not run: {type(error).__name__}: {error}", ""
    return "", (reasons[0] if reasons and all(reasons) else "")


def _concerned(module: Any, scope: str) -> Iterator[Any]:
    """Variants that launch a kernel, or whose launcher it is; all if there is none."""
    found = []
    for programs, variant in zip(module.programs, module.definition.variants, strict=True):
        kernels = {launch.kernel.name for program in programs for launch in program.launches}
        hosts = {f"{variant.layer.name}_forward", f"_{variant.layer.name}_saving", f"{variant.layer.name}_backward"}
        if scope in kernels | hosts:
            found.append(variant)
    yield from found or module.definition.variants


def spoken(stream: Any) -> Report:
    """A report that writes events as JSON lines."""

    def report(**event: Any) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    return report
