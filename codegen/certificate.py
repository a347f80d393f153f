"""Certificates: what validation showed of a definition's kernels, as a file beside them.

A certificate names the formulas and the sources it is of by their digests. It is evidence, not derived text: it also
says which versions of which tools it was made with, and stays valid when these change.

Input: a package's sources and a ``Verdict``. Output: JSON text.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from svertka.codegen.generate import SHARED, VERSION, Package, digest, formula_text, kernels_path
from svertka.codegen.levels import LEVELS, Outcome
from svertka.codegen.validate import Verdict
from svertka.codegen.write import MARK
from svertka.spec.definition import Definition

__all__ = ["TOOLS", "certificate", "certificate_path", "is_current", "outdated"]

TOOLS = ("numpy", "sympy", "torch", "triton")


def certificate_path(definition: Definition) -> str:
    """Path of a definition's certificate within the package: beside its kernels."""
    return kernels_path(definition).removesuffix(".py") + ".json"


def digests(sources: Mapping[str, str], definition: Definition) -> dict[str, str]:
    """What a certificate is of: the formulas, the kernels, and what all kernels call."""
    return {
        "formulas": digest(formula_text(definition)),
        "kernels": digest(sources[kernels_path(definition)]),
        "shared": digest("".join(sources[path] for path in SHARED)),
    }


def certificate(sources: Mapping[str, str], definition: Definition, verdict: Verdict) -> str:
    """The text of a certificate.

    Raises:
        ValueError: some level fails; nothing is certified then.
    """
    if verdict.failures:
        raise ValueError(f"layer {definition.name}: {len(verdict.failures)} comparisons fail; it gets no certificate")
    formulas = {
        layer: {level: _level(outcomes[level]) for level in LEVELS if level in outcomes}
        for layer, outcomes in verdict.by_formula().items()
    }
    content = {
        "written_by": f"{MARK.removeprefix('# ')} {VERSION}",
        "layer": definition.name,
        "digests": digests(sources, definition),
        "tools": {"python": platform.python_version(), **{name: version(name) for name in TOOLS}},
        "formulas": formulas,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _level(outcome: Outcome) -> dict[str, Any]:
    if outcome.inapplicable:
        return {"inapplicable": outcome.inapplicable}
    return {"cases": outcome.cases, "elements": outcome.elements, **_rounded(outcome.figures)}


def _rounded(value: Any) -> Any:
    """Figures to three digits: what lies behind depends on the machine."""
    if isinstance(value, float):
        return float(f"{value:.3g}")
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def is_current(text: str, sources: Mapping[str, str], definition: Definition) -> bool:
    """Whether a certificate is of these kernels, whole, and shows every level."""
    try:
        content = json.loads(text)
        formulas = content["formulas"]
        same: bool = content["digests"] == digests(sources, definition)
    except (ValueError, KeyError, TypeError):
        return False
    return (
        same
        and formulas.keys() == {v.layer.name for v in definition.variants}
        and all(map(_shows_all, formulas.values()))
    )


def _shows_all(levels: Any) -> bool:
    return isinstance(levels, dict) and levels.keys() == LEVELS.keys()


def outdated(package: Package, existing: Mapping[str, str]) -> list[str]:
    """Names of the definitions that have no certificate of the kernels that were just derived."""
    return [
        name
        for name, module in package.modules.items()
        if not is_current(existing.get(certificate_path(module.definition), ""), package.sources, module.definition)
    ]


def certificates(package: Package, existing: Mapping[str, str], verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Certificates by path: new ones of what was validated, the existing ones of everything else."""
    found = {}
    fresh = {verdict.definition: verdict for verdict in verdicts}
    for name, module in package.modules.items():
        path = certificate_path(module.definition)
        if name in fresh:
            found[path] = certificate(package.sources, module.definition, fresh[name])
        elif path in existing:
            found[path] = existing[path]
    return found
