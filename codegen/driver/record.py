"""What certificates say of the level "compiled", read without compiling, torch or Triton.

A certificate's section ``compiled`` has, for each formula and target, digests of the PTX that was executed, and of the
runs. It holds as long as the digest of the compiler's input and those of the runs do. A record of another version of
Triton says nothing of this one's PTX. The part ``symbols`` of each says what was shown on expressions; a record without
it holds for numbers.

Input: a certificate's text, a package's sources. Output: ``Outcome``s, or why there are none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from svertka.codegen.driver.certificate import COMPILED, kernel_digests
from svertka.codegen.lowering.built import built, definition_digest
from svertka.codegen.ptx.targets import NAME, SYMBOLS, TARGETS
from svertka.codegen.user_cache import digest, kept
from svertka.codegen.verify.levels import Outcome
from svertka.spec.definition import Definition

__all__ = [
    "MISSING",
    "OF_COMPILER",
    "followed",
    "inputs_digest",
    "outcome_of",
    "outcomes_of",
    "problem",
    "recorded",
    "section_of",
    "without_symbols",
]

MISSING = "not executed"
OF_COMPILER = "stale: executed as"
NOT_LAUNCHED = "no small case in float32 launches it"


def section_of(text: str) -> dict[str, Any]:
    """A certificate's section of executed kernels; empty if there is none."""
    try:
        found = json.loads(text).get(COMPILED, {})
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def inputs_digest(sources: Mapping[str, str], definition: Definition) -> str:
    """A digest of all that the compiler is given, except at which sizes, and the versions of tools."""
    return digest("\n".join([*kernel_digests(sources, definition).values(), sources["tables.py"]]))


def _planned(definition: Definition) -> dict[str, str]:
    """A digest of what is executed, by formula."""

    def digests() -> dict[str, str]:
        from svertka.codegen.ptx.level import digest_of_runs, planned  # torch: only where plans are not kept

        module = built(definition)
        return {variant.layer.name: digest_of_runs(planned(module, variant)) for variant in definition.variants}

    return kept("planned", definition_digest(definition), digests)


def problem(section: Mapping[str, Any], sources: Mapping[str, str], definition: Definition) -> str:
    """Why a certificate's section does not hold for these sources and this compiler; empty if it does."""
    if not section:
        return MISSING
    if section.get("triton") != version("triton"):
        return f"{OF_COMPILER} Triton {section.get('triton')} compiles it, this is {version('triton')}"
    wanted = {variant.layer.name for variant in definition.variants}
    whole = section.get("formulas", {}).keys() == wanted
    if not whole or any(one.keys() != {*TARGETS} for one in section["formulas"].values()):
        return "not executed for every formula and target"
    sizes = _planned(definition)
    same = all(one.get("runs") == sizes[layer] for layer, by in section["formulas"].items() for one in by.values())
    same = same and section.get("inputs") == inputs_digest(sources, definition)
    return "" if same else "stale: kernels, tiles or sizes have changed since"


def without_symbols(section: Mapping[str, Any]) -> bool:
    """Whether some formula of a section was not executed on expressions for some target."""
    return any(SYMBOLS not in one for by in section.get("formulas", {}).values() for one in by.values())


def followed(outcomes: Iterable[Outcome]) -> tuple[int, dict[str, str]]:
    """Of the kernels of some outcomes, how many are proven on expressions, and why the others are not, by name.

    A kernel that several formulas or targets execute is proven if each that follows its launches proves it.
    """
    proven: set[str] = set()
    others: dict[str, str] = {}
    for outcome in outcomes:
        proof = outcome.figures.get(SYMBOLS)
        if proof is not None:
            proven |= proof["kernels"].keys()
            others |= dict.fromkeys(outcome.figures["kernels"].keys() - proof["kernels"].keys(), NOT_LAUNCHED)
            others |= proof["unfollowed"]
    refused = {name: why for name, why in others.items() if why != NOT_LAUNCHED or name not in proven}
    return len(proven - refused.keys()), refused


def recorded(text: str, sources: Mapping[str, str], definition: Definition) -> tuple[Outcome, ...]:
    """The outcomes on record, one per formula and target; or why there is none that holds."""
    return outcomes_of(section_of(text), sources, definition)


def outcomes_of(section: Mapping[str, Any], sources: Mapping[str, str], definition: Definition) -> tuple[Outcome, ...]:
    """The outcomes of a section, one per formula and target; or why it does not hold."""
    wrong = problem(section, sources, definition)
    return tuple(
        Outcome(f"{NAME} {target}", variant.layer.name, inapplicable=wrong)
        if wrong
        else outcome_of(variant.layer.name, target, section["formulas"][variant.layer.name][target])
        for variant in definition.variants
        for target in TARGETS
    )


def outcome_of(layer: str, target: str, entry: Mapping[str, Any]) -> Outcome:
    """What an entry of a section says of a formula and a target."""
    figures = {name: value for name, value in entry.items() if name not in ("cases", "elements")}
    return Outcome(f"{NAME} {target}", layer, entry["cases"], entry["elements"], figures)
