"""The torch API of a package as source: functions, modules, and the support code that they call.

Input: ``Definition``s. Output: unformatted Python, by file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from svertka.codegen.emit.render import environment
from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.torch_api.function_source import FacadeSource, FunctionSource
from svertka.codegen.torch_api.lines import helpers_in
from svertka.codegen.torch_api.module_source import ModuleSource
from svertka.codegen.torch_api.operators import (
    gradient_operator,
)
from svertka.spec.definition import Definition, facades_of, with_facades

__all__ = [
    "function_path",
    "functional_sources",
    "gradients_source",
    "kernels_package_sources",
    "modules_source",
    "package_source",
    "runtime_sources",
]

SUPPORT = (
    "arguments",
    "runtime",
    "library",
    "transforms",
    "autograd",
    "forward_mode",
    "saving",
    "roads",
    "host",
    "views",
    "memory",
    "plans",
    "exporting",
    "convert",
    "fusing",
    "holding",
    "traced",
    "tracing",
)


def runtime_sources() -> dict[str, str]:
    """Support code that is the same for all layers, by path."""
    return {f"{name}.py": environment().get_template(f"{name}.py.jinja").render() for name in SUPPORT}


def kernels_package_sources() -> dict[str, str]:
    """Modules of the kernels' package that hold no layer's kernels, by path."""
    names = {"__init__": "kernels_package", "primitives": "primitives", "interpreting": "interpreting"}
    templates = environment()
    return {f"kernels/{name}.py": templates.get_template(f"{of}.py.jinja").render() for name, of in names.items()}


def function_path(definition: Definition) -> str:
    """Path of a definition's function and operators."""
    return f"functions/{definition.name}.py"


def functional_sources(definitions: Sequence[Definition], modules: Mapping[str, KernelModule]) -> dict[str, str]:
    """Functions with torch's signatures, one module each, and the operators that they call, with their kernels."""
    functions = [FunctionSource(definition, modules) for definition in definitions]
    facades = facades_of(definitions)
    templates = environment()
    paths = {function.name: function.definition.name for function in functions}
    paths |= {facade.function: facade.function for facade in facades}
    found = {"functional.py": templates.get_template("functional.py.jinja").render(paths=paths)}
    found["functions/__init__.py"] = '"""Functions and their operators: one module a layer."""\n'
    for function in functions:
        imports = {module: helpers_in(module, set(function.body.reads)) for module in ("arguments", "runtime")}
        source = templates.get_template("function.py.jinja").render(function=function, **imports)
        found[function_path(function.definition)] = source
    for facade in facades:
        template = templates.get_template("facade.py.jinja")
        found[f"functions/{facade.function}.py"] = template.render(function=FacadeSource(facade, paths))
    return found


def gradients_source(definition: Definition, module: KernelModule) -> str:
    """Operators of the gradients of a definition that can be differentiated twice, with their kernels."""
    operators = []
    for place in range(len(definition.variants)):
        name, operator = gradient_operator(definition, place)
        operators.append((name, operator.keeping(module, place)))
    template = environment().get_template("gradients.py.jinja")
    return template.render(operators=operators, function=definition.function)


def modules_source(definitions: Sequence[Definition]) -> str:
    """Modules; those that torch has too are drop-in replacements."""
    modules = [ModuleSource(one, module) for one in with_facades(definitions) for module in one.modules]
    return environment().get_template("modules.py.jinja").render(modules=modules)


def package_source(definitions: Sequence[Definition], on_demand: bool) -> str:
    """The package's ``__init__``: modules by name, imported at their first access."""
    names = sorted(module.name for one in with_facades(definitions) for module in one.modules)
    return environment().get_template("package.py.jinja").render(names=names, on_demand=on_demand)
