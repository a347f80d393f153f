"""Generate a package: derive, print, format, validate, write.

Input: definitions and a folder. Output: the package in that folder, or an error and no change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import svertka
from svertka.codegen.driver.write import MARK
from svertka.codegen.emit.formatting import formatted
from svertka.codegen.emit.kernel_pool import KernelPool, imported_modules
from svertka.codegen.emit.launcher import module_source
from svertka.codegen.emit.render import environment
from svertka.codegen.emit.tables import schedule_sources
from svertka.codegen.emit.torch_printer import formula_functions
from svertka.codegen.frontend.supported import check_supported
from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.lowering.built import built_together
from svertka.codegen.torch_api.convertible import convertible_source
from svertka.codegen.torch_api.public_names import check_definitions
from svertka.codegen.torch_api.sources import (
    functional_sources,
    gradients_source,
    kernels_package_sources,
    modules_source,
    package_source,
    runtime_sources,
)
from svertka.codegen.user_cache import digest
from svertka.spec.definition import Definition
from svertka.spec.gradient import gradient_definition, gradient_name, with_gradients

__all__ = [
    "PACKAGE",
    "SHARED",
    "VERSION",
    "Package",
    "formula_text",
    "generate_package",
    "gradients_path",
    "headed",
    "host_path",
    "kernels_path",
    "module_path",
    "second_order_sources",
]

VERSION = svertka.__version__
SHARED = ("launching.py", "memory.py", "schedule.py", "kernels/primitives.py")  # what kernels call
PACKAGE = Path(__file__).resolve().parents[2] / "generated"


@dataclass(frozen=True)
class Package:
    """A generated package before it is written.

    Attributes:
        sources: text by path.
        modules: kernels by definition name.
        on_demand: paths of what is made when it is first imported, and not written.
    """

    sources: dict[str, str]
    modules: dict[str, KernelModule] = field(repr=False)
    on_demand: frozenset[str] = frozenset()

    @property
    def written(self) -> dict[str, str]:
        """The sources that stand on disk."""
        return {path: text for path, text in self.sources.items() if path not in self.on_demand}


def kernels_path(definition: Definition) -> str:
    """Path of a definition's kernels within the package."""
    return module_path(definition.name)


def module_path(name: str) -> str:
    """Path of a module of kernels within the package."""
    return f"kernels/{name}.py"


def generate_package(
    definitions: Sequence[Definition],
    chosen: Sequence[str] = (),
    progress: Callable[[str], None] = lambda name: None,
    layout: Callable[[Mapping[str, str]], dict[str, str]] = formatted,
    on_demand: bool = False,
    pooled: bool = True,
    processes: int = 1,
) -> Package:
    """Derive and print a package.

    Args:
        definitions: the layers of the package; they determine its functions and modules.
        chosen: names of those whose kernels are wanted; all if empty.
        progress: called with each definition's name when its kernels are built.
        layout: how sources are formatted; ``formatted`` gives the same bytes on every machine.
        on_demand: whether gradients of gradients are made when they are first imported. Only a package that always
            stands beside the generator can do so.
        pooled: whether a kernel that several modules need is defined in one of them alone.
        processes: how many build kernels side by side, as for ``built_together``.

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
    second: dict[str, str] = {}
    pool = KernelPool()
    twice = {d.name: d for d in definitions if d.orders > 1 and (not chosen or gradient_name(d) in chosen)}
    gradients = [gradient_definition(definition) for definition in twice.values()]
    every = built_together(
        [*definitions, *gradients], lambda name: progress(name) if name in chosen or not chosen else None, processes
    )
    printed = {d.name: module_source(every[d.name], pool if pooled else None) for d in definitions}
    for definition in definitions:
        if not chosen or definition.name in chosen:
            modules[definition.name] = every[definition.name]
            names = _with_imported(definition.name, printed)
            sources |= {module_path(name): printed[name] for name in names} | _host_sources(definition)
    for definition in twice.values():
        module = modules[gradient_name(definition)] = every[gradient_name(definition)]
        second |= second_order_sources(definition, module)
    sources |= _support(definitions, every, on_demand)
    # What is made on demand is not formatted: it must have the same bytes on machines that have no formatter.
    sources = layout(sources) | second if on_demand else layout(sources | second)
    made = frozenset(second if on_demand else ())
    return Package(headed(sources, every.values()), modules, made)


def _with_imported(name: str, printed: Mapping[str, str]) -> list[str]:
    """A module of kernels with those that it imports, and those that these import."""
    found = [name]
    for one in found:  # it grows
        found += [other for other in imported_modules(printed[one]) if other not in found]
    return found


def second_order_sources(definition: Definition, module: KernelModule) -> dict[str, str]:
    """All that the gradient of a definition's gradient is: kernels, formulas and operators of ``module``."""
    gradient = module.definition
    kernels = {kernels_path(gradient): module_source(module)}
    return kernels | _host_sources(gradient) | {gradients_path(gradient): gradients_source(definition, module)}


def _support(definitions: Sequence[Definition], modules: Mapping[str, KernelModule], on_demand: bool) -> dict[str, str]:
    """All sources except the kernels."""
    templates = environment()
    sources = {
        "__init__.py": package_source(definitions, on_demand),
        **functional_sources(definitions, modules),
        "modules.py": modules_source(definitions),
        "convertible.py": convertible_source(definitions),
        "launching.py": templates.get_template("launching.py.jinja").render(),
        **schedule_sources(),
        **kernels_package_sources(),
        "gradients/__init__.py": '"""Gradients as operators that autograd can differentiate: one module a layer."""\n',
    }
    if on_demand:
        names = tuple(gradient_name(definition) for definition in definitions if definition.orders > 1)
        sources["on_demand.py"] = templates.get_template("on_demand.py.jinja").render(names=names)
    if any(not definition.reference for definition in with_gradients(definitions)):
        sources["formulas/__init__.py"] = '"""Formulas for CPU tensors: one module a layer."""\n'
        sources["formulas/evaluation.py"] = templates.get_template("evaluation.py.jinja").render()
    return sources | runtime_sources()


def host_path(definition: Definition) -> str:
    """Path of a definition's formulas as evaluated for CPU tensors, where there is no reference."""
    return f"formulas/{definition.name}.py"


def gradients_path(gradient: Definition) -> str:
    """Path of a gradient's operators."""
    return f"gradients/{gradient.name}.py"


def _host_sources(definition: Definition) -> dict[str, str]:
    """The formulas for CPU tensors of a definition that has no reference, by path."""
    if definition.reference:
        return {}
    functions = [text for variant in definition.variants for text in formula_functions(definition, variant)]
    text = environment().get_template("formulas.py.jinja").render(definition=definition, functions=functions)
    return {host_path(definition): text}


def formula_text(definition: Definition) -> str:
    """All formulas of a definition as text, for digests."""
    lines = []
    for variant in definition.variants:
        layer = variant.layer
        lines.append(f"layer {layer.name}: {', '.join(layer.outputs)}")
        lines += [f"{e.target[e.target.axes]} = {e.value}" for e in layer.equations]
    return "\n".join(lines)


def headed(sources: Mapping[str, str], modules: Iterable[KernelModule]) -> dict[str, str]:
    """Sources with headers: the generator, the formula if there is one, and a digest of the rest."""
    formulas = {kernels_path(module.definition): formula_text(module.definition) for module in modules}
    return {path: _header(text, formulas.get(path)) + text for path, text in sources.items()}


def _header(text: str, formula: str | None) -> str:
    lines = [f"{MARK} {VERSION}, source sha256 {digest(text)}. Do not edit: run `svertka generate`."]
    if formula is not None:
        lines.append(f"# formula sha256 {digest(formula)}")
    return "\n".join(lines) + "\n"
