"""Certificates: the result of validating a definition's kernels, as a file beside them.

A certificate identifies its formulas and sources by digests. It is evidence, not derived text: it also records the
versions of the tools that made it, and stays valid when these change.

The result of the level "interface" also depends on the function, the modules and all code between them and the kernels.
If only these changed, only that level must be checked again.

Input: a package's sources and a ``Verdict``. Output: JSON text.
"""

from __future__ import annotations

import ast
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from svertka.codegen.driver.generate import (
    SHARED,
    VERSION,
    Package,
    formula_text,
    gradients_path,
    host_path,
    kernels_path,
    module_path,
)
from svertka.codegen.driver.write import MARK
from svertka.codegen.emit.kernel_pool import imported_kernels
from svertka.codegen.torch_api.sources import function_path, runtime_sources
from svertka.codegen.user_cache import digest
from svertka.codegen.verify.levels import LEVELS, Outcome
from svertka.spec.definition import Definition
from svertka.spec.gradient import gradient_definition

if TYPE_CHECKING:
    from svertka.codegen.verify.validate import Verdict

__all__ = [
    "COMPILED",
    "INTERFACE",
    "TOOLS",
    "certificate",
    "certificate_path",
    "certificates",
    "is_current",
    "is_of_kernels",
    "outdated",
    "rounded",
]

INTERFACE = "interface"
COMPILED = "compiled"  # the section of what was executed as the compiler made it; ``driver.record`` reads it
TOOLS = ("numpy", "sympy", "torch", "triton")


def certificate_path(definition: Definition) -> str:
    """Path of a definition's certificate within the package: beside its kernels."""
    return kernels_path(definition).removesuffix(".py") + ".json"


def digests(sources: Mapping[str, str], definition: Definition) -> dict[str, str]:
    """Digests of a certificate's subject: formulas, kernels, the functions that they call, and interface code."""
    return kernel_digests(sources, definition) | {INTERFACE: digest(_way_in(sources, definition))}


def kernel_digests(sources: Mapping[str, str], definition: Definition) -> dict[str, str]:
    """Digests of a certificate's formulas and kernels, and of the functions that these call."""
    return {
        "formulas": digest(formula_text(definition)),
        "kernels": digest(_kernels(sources, definition)),
        "shared": digest("".join(sources[path] for path in SHARED)),
    }


def _kernels(sources: Mapping[str, str], definition: Definition) -> str:
    """The module of a definition's kernels, and the kernels that it imports from other modules."""
    own = sources[kernels_path(definition)]
    imported = [
        segment
        for module, name in imported_kernels(own)
        for segment in _segments(
            sources[module_path(module)],
            lambda node, name=name: isinstance(node, ast.FunctionDef) and node.name == name,  # type: ignore[misc]
        )
    ]
    return "".join([own, *imported])


def _way_in(sources: Mapping[str, str], definition: Definition) -> str:
    """All source between a call and the kernels; empty for a gradient, which only autograd calls."""
    if function_path(definition) not in sources:
        return ""
    faces = {face.name for face in definition.modules}
    own = _segments(sources["modules.py"], lambda node: isinstance(node, ast.ClassDef) and node.name in faces)
    paths = [function_path(definition), *runtime_sources(), "formulas/evaluation.py", host_path(definition)]
    if definition.orders > 1:
        gradient = gradient_definition(definition)
        paths += [gradients_path(gradient), kernels_path(gradient)]
    return "\n".join([*own, *(sources.get(path, "") for path in paths)])


def _segments(text: str, wanted: Callable[[ast.stmt], bool]) -> list[str]:
    """The source of some statements of a module."""
    lines = text.splitlines()
    return ["\n".join(lines[n.lineno - 1 : n.end_lineno]) for n in ast.parse(text).body if wanted(n)]


def certificate(
    sources: Mapping[str, str],
    definition: Definition,
    verdict: Verdict,
    before: str = "",
    compiled: Mapping[str, Any] | None = None,
) -> str:
    """The text of a certificate.

    Args:
        sources: the package.
        definition: its subject.
        verdict: the result of validation.
        before: the certificate whose other levels are kept, if not all were checked.
        compiled: its section of executed kernels, which holds by digests of its own.

    Raises:
        ValueError: some level fails; nothing is certified then.
    """
    if verdict.failures:
        raise ValueError(f"layer {definition.name}: {len(verdict.failures)} comparisons fail; it gets no certificate")
    kept = json.loads(before) if before else {"formulas": {}}
    formulas = {}
    for layer, outcomes in verdict.by_formula().items():
        known = kept["formulas"].get(layer, {}) | {level: _level(outcome) for level, outcome in outcomes.items()}
        formulas[layer] = {level: known[level] for level in LEVELS if level in known}
    tools = {"python": platform.python_version(), **{name: version(name) for name in TOOLS}}
    content = {
        "written_by": f"{MARK.removeprefix('# ')} {VERSION}",
        "layer": definition.name,
        "digests": digests(sources, definition),
        "tools": kept.get("tools", tools),
        "formulas": formulas,
    }
    if compiled:
        content[COMPILED] = compiled
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _level(outcome: Outcome) -> dict[str, Any]:
    if outcome.inapplicable:
        return {"inapplicable": outcome.inapplicable}
    return {"cases": outcome.cases, "elements": outcome.elements, **rounded(outcome.figures)}


def rounded(value: Any) -> Any:
    """Figures with three digits: further digits depend on the machine."""
    if isinstance(value, float):
        return float(f"{value:.3g}")
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def _parsed(text: str) -> dict[str, Any]:
    """A certificate's content; nothing if it is none."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def is_of_kernels(text: str, sources: Mapping[str, str], definition: Definition) -> bool:
    """Whether a certificate belongs to these formulas and kernels."""
    found = _parsed(text).get("digests", {})
    return all(found.get(part) == one for part, one in kernel_digests(sources, definition).items())


def is_current(text: str, sources: Mapping[str, str], definition: Definition) -> bool:
    """Whether a certificate is complete, belongs to these kernels, and shows every level."""
    return not levels_due(text, sources, definition)


def levels_due(text: str, sources: Mapping[str, str], definition: Definition) -> tuple[str, ...]:
    """Levels that a certificate does not show for these sources: none, the interface alone, or all."""
    try:
        content = json.loads(text)
        formulas, found = content["formulas"], dict(content["digests"])
    except (ValueError, KeyError, TypeError):
        return tuple(LEVELS)
    wanted = digests(sources, definition)
    same_interface = found.pop(INTERFACE, None) == wanted.pop(INTERFACE)
    whole = isinstance(formulas, dict) and formulas.keys() == {v.layer.name for v in definition.variants}
    if found != wanted or not whole or not all(isinstance(levels, dict) for levels in formulas.values()):
        return tuple(LEVELS)
    missing = {name for levels in formulas.values() for name in LEVELS.keys() ^ levels.keys()}
    if missing - {INTERFACE}:
        return tuple(LEVELS)
    return (INTERFACE,) if missing or not same_interface else ()


def outdated(package: Package, existing: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Levels to check, by name of the definitions without a certificate for the derived sources."""
    found = {
        name: levels_due(existing.get(certificate_path(module.definition), ""), package.sources, module.definition)
        for name, module in package.modules.items()
    }
    return {name: levels for name, levels in found.items() if levels}


def certificates(package: Package, existing: Mapping[str, str], verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Certificates by path: new ones for validated definitions, the existing ones for all others."""
    found = {}
    fresh = {verdict.definition: verdict for verdict in verdicts}
    for name, module in package.modules.items():
        path = certificate_path(module.definition)
        if name in fresh:
            whole = {outcome.level for outcome in fresh[name].outcomes} == LEVELS.keys()
            known = existing.get(path, "")
            same = is_of_kernels(known, package.sources, module.definition)
            compiled = _parsed(known).get(COMPILED) if same else None  # other kernels were not executed
            found[path] = certificate(package.sources, module.definition, fresh[name], "" if whole else known, compiled)
        elif path in existing:
            found[path] = existing[path]
    return found
