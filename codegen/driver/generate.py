"""Generate a package: derive, print, format, validate, write.

Input: definitions and a folder. Output: the package in that folder, or an error and no change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import svertka
from svertka.codegen.driver.write import MARK
from svertka.codegen.emit.formatting import formatted
from svertka.codegen.emit.launcher import module_source
from svertka.codegen.emit.render import environment
from svertka.codegen.emit.tables import schedule_sources
from svertka.codegen.emit.torch_printer import formula_functions
from svertka.codegen.frontend.supported import check_supported
from svertka.codegen.lowering.build import KernelModule, build
from svertka.codegen.torch_api.convertible import convertible_source
from svertka.codegen.torch_api.public_names import check_definitions
from svertka.codegen.torch_api.sources import (
    functional_source,
    gradients_source,
    kernels_package_sources,
    modules_source,
    package_source,
    runtime_sources,
)
from svertka.spec.definition import Definition
from svertka.spec.gradient import with_gradients

__all__ = [
    "PACKAGE",
    "SHARED",
    "VERSION",
    "Package",
    "digest",
    "formula_text",
    "generate_package",
    "host_path",
    "kernels_path",
]

VERSION = svertka.__version__
SHARED = ("launching.py", "schedule.py", "kernels/primitives.py")  # what kernels call
PACKAGE = Path(__file__).resolve().parents[2] / "generated"


@dataclass(frozen=True)
class Package:
    """A generated package before it is written.

    Attributes:
        sources: text by path.
        modules: kernels by definition name.
    """

    sources: dict[str, str]
    modules: dict[str, KernelModule] = field(repr=False)


def kernels_path(definition: Definition) -> str:
    """Path of a definition's kernels within the package."""
    return f"kernels/{definition.name}.py"


def generate_package(
    definitions: Sequence[Definition],
    chosen: Sequence[str] = (),
    progress: Callable[[str], None] = lambda name: None,
    layout: Callable[[Mapping[str, str]], dict[str, str]] = formatted,
) -> Package:
    """Derive and print a package.

    Args:
        definitions: the layers of the package; they determine its functions and modules.
        chosen: names of those whose kernels are wanted; all if empty.
        progress: called with each definition's name when its kernels are printed.
        layout: how sources are formatted; ``formatted`` gives the same bytes on every machine.

    Raises:
        ValueError: a name is not allowed, see ``public_names``; or the formatter is not installed.
        TypeError: a formula has a construct that kernels do not support, see ``supported``.
    """
    check_definitions(definitions)
    for definition in definitions:
        for variant in definition.variants:
            check_supported(variant.layer)
    sources: dict[str, str] = {}
    modules: dict[str, KernelModule] = {}
    formulas: dict[str, str] = {}
    every: dict[str, KernelModule] = {}
    for definition in with_gradients(definitions):
        every[definition.name] = module = build(definition)
        if chosen and definition.name not in chosen:
            continue
        modules[definition.name] = module
        path = kernels_path(definition)
        sources[path] = module_source(module)
        formulas[path] = formula_text(definition)
        if not definition.reference:
            sources[host_path(definition)] = _formula_source(definition)
        progress(definition.name)
    sources |= _support(definitions, every)
    return Package({path: _headed(text, formulas.get(path)) for path, text in layout(sources).items()}, modules)


def _support(definitions: Sequence[Definition], modules: Mapping[str, KernelModule]) -> dict[str, str]:
    """All sources except the kernels."""
    templates = environment()
    sources = {
        "__init__.py": package_source(definitions),
        "functional.py": functional_source(definitions, modules),
        "modules.py": modules_source(definitions),
        "convertible.py": convertible_source(definitions),
        "launching.py": templates.get_template("launching.py.jinja").render(),
        **schedule_sources(),
        **kernels_package_sources(),
    }
    if any(definition.orders > 1 for definition in definitions):
        sources["gradients.py"] = gradients_source(definitions, modules)
    if any(not definition.reference for definition in with_gradients(definitions)):
        sources["formulas/__init__.py"] = '"""Formulas for CPU tensors: one module a layer."""\n'
        sources["formulas/evaluation.py"] = templates.get_template("evaluation.py.jinja").render()
    return sources | runtime_sources()


def host_path(definition: Definition) -> str:
    """Path of a definition's formulas as evaluated for CPU tensors, where there is no reference."""
    return f"formulas/{definition.name}.py"


def _formula_source(definition: Definition) -> str:
    functions = [text for variant in definition.variants for text in formula_functions(definition, variant)]
    return environment().get_template("formulas.py.jinja").render(definition=definition, functions=functions)


def formula_text(definition: Definition) -> str:
    """All formulas of a definition as text, for digests."""
    lines = []
    for variant in definition.variants:
        layer = variant.layer
        lines.append(f"layer {layer.name}: {', '.join(layer.outputs)}")
        lines += [f"{e.target[e.target.axes]} = {e.value}" for e in layer.equations]
    return "\n".join(lines)


def _headed(text: str, formula: str | None) -> str:
    """The source with a header: the generator, its input, and a digest of the rest."""
    lines = [f"{MARK} {VERSION}. Do not edit: change the formula and run `svertka generate`."]
    if formula is not None:
        lines.append(f"# formula sha256 {digest(formula)}")
    lines.append(f"# source sha256 {digest(text)}")
    return "\n".join(lines) + "\n" + text


def digest(text: str) -> str:
    """The digest of a text that headers and certificates show."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
