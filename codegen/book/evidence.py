"""The validation results of a definition's kernels, read from their certificate.

A certificate is valid only if it belongs to the current formula and to the kernels on disk.

Input: a ``Definition``, a generated package's folder. Output: ``Evidence``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

from svertka.codegen.driver.certificate import certificate_path, is_current
from svertka.codegen.driver.generate import SHARED, kernels_path
from svertka.codegen.driver.on_demand import made_sources
from svertka.codegen.driver.record import recorded
from svertka.codegen.ptx.targets import NAME
from svertka.codegen.verify.levels import LEVELS, Outcome
from svertka.codegen.verify.levels.numbers import largest_tightness
from svertka.spec.definition import Definition
from svertka.spec.layers import DEFINITIONS

__all__ = ["Evidence", "evidence", "in_short", "summary"]


@dataclass(frozen=True)
class Evidence:
    """The state of a certificate.

    Attributes:
        path: of the certificate within the package; ``kernels``: of the kernels.
        problem: why it is not valid, with the remedy; empty if it is valid.
        content: what it says, by formula and level.
    """

    path: str
    kernels: str
    problem: str
    content: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def levels(self, layer: str) -> dict[str, str]:
        """What each level showed about a formula, in words; empty if the certificate is not valid."""
        return {name: summary(outcome) for name, outcome in self.content.get(layer, {}).items()}

    def short(self, layer: str) -> dict[str, str]:
        """The same for a table's cells."""
        return {name: in_short(outcome) for name, outcome in self.content.get(layer, {}).items()}


def evidence(definition: Definition, package: Path) -> Evidence:
    """Read a definition's certificate and compare it with formula and kernels."""
    path, kernels = certificate_path(definition), kernels_path(definition)
    remedy = f"run `svertka generate {definition.name}`"
    if definition.name not in DEFINITIONS:
        remedy = "write its package with `svertka generate FILE.py --into DIR` and name it with `--package DIR`"
    paths = (kernels, *SHARED)
    missing = [name for name in (*paths, path) if not (package / name).is_file()]
    if missing:
        return Evidence(path, kernels, f"there is no {missing[0]}; {remedy}", {})
    text = (package / path).read_text(encoding="utf-8")
    sources = {str(file.relative_to(package)): file.read_text(encoding="utf-8") for file in package.rglob("*.py")}
    if (package / "on_demand.py").is_file():  # it is evidence of the gradient's gradient too, which is not on disk
        sources |= made_sources(definition)
    if not is_current(text, sources, definition):
        return Evidence(path, kernels, f"{path} is not of this formula and these kernels; {remedy}", {})
    formulas = loads(text)["formulas"]
    compiled = _compiled(text, sources, definition)
    content = {n: {k: found[k] for k in LEVELS} | {NAME: compiled[n]} for n, found in formulas.items()}
    return Evidence(path, kernels, "", content)


def _compiled(text: str, sources: Mapping[str, str], definition: Definition) -> dict[str, dict[str, Any]]:
    """What is on record of the level "compiled", by formula, for all targets together."""
    found: dict[str, list[Outcome]] = {}
    for outcome in recorded(text, sources, definition):
        found.setdefault(outcome.layer, []).append(outcome)
    return {layer: _together(outcomes) for layer, outcomes in found.items()}


def _together(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    if outcomes[0].inapplicable:
        return {"inapplicable": outcomes[0].inapplicable}
    cases, elements = (sum(getattr(one, name) for one in outcomes) for name in ("cases", "elements"))
    return {"cases": cases, "elements": elements, "tightness": largest_tightness(outcomes)}


def summary(outcome: Mapping[str, Any]) -> str:
    """What a level showed, in words."""
    if "inapplicable" in outcome:
        return f"says nothing here: {outcome['inapplicable']}"
    words = f"{outcome['elements']:,} elements in {outcome['cases']} case{'s' if outcome['cases'] != 1 else ''}"
    if "error_probability" in outcome:
        probability = outcome["error_probability"]
        words += ", certain" if not probability else f", error probability below {probability:.0e}"
    if "statements" in outcome:
        words += f"; all {outcome['statements']:,} statements of the kernels ran"
    tightness = {name: value for name, value in outcome.get("tightness", {}).items() if value}
    if tightness:
        words += "; largest error / bound: " + ", ".join(f"{name} {value:g}" for name, value in tightness.items())
    return words


def in_short(outcome: Mapping[str, Any]) -> str:
    """What a level showed, for a table's cell."""
    if "inapplicable" in outcome:
        return str(outcome["inapplicable"]).rpartition(": ")[2]
    words = f"{outcome['elements']:,}"
    if "error_probability" in outcome:
        probability = outcome["error_probability"]
        return words + (", certain" if not probability else f", wrong < {probability:.0e}")
    tightness = max(outcome.get("tightness", {}).values(), default=0)
    return words + (f", {tightness:.2g} of the bound" if tightness else "")
