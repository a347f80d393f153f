"""Level "compiled" of a package: execute what is not on record, and keep the outcome in the certificates.

What is on record (``record``) is read without compiling anything. Where the compiler's input or the runs changed,
kernels are compiled, and executed if their PTX or the runs changed too. What is shown on expressions is shown anew
then, and where a record has none of it.

Input: a generated package's folder, definitions. Output: ``Verdict``s; the certificates' sections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from svertka.codegen.driver.certificate import COMPILED, certificate_path, is_of_kernels, rounded
from svertka.codegen.driver.on_demand import made_sources
from svertka.codegen.driver.record import (
    inputs_digest,
    outcome_of,
    outcomes_of,
    problem,
    recorded,
    section_of,
    without_symbols,
)
from svertka.codegen.lowering.built import built
from svertka.codegen.ptx.level import check, check_forced, check_symbols
from svertka.codegen.ptx.targets import NAME, SYMBOLS, TARGETS
from svertka.codegen.verify.levels import Outcome
from svertka.codegen.verify.recording import PRODUCTS, entries
from svertka.codegen.verify.validate import Verdict, side_by_side
from svertka.spec.definition import Definition

__all__ = [
    "Executions",
    "package_sources",
    "recorded_verdicts",
    "validate_compiled",
]


@dataclass(frozen=True)
class Executions:
    """What level "compiled" did.

    Attributes:
        verdicts: one per definition; with what is on record for what was not executed.
        executed: how many formulas were executed, once per target.
        forced: entries of tables of tiles that were executed now, or why they fail.
        missing: entries that no formula has executed, once per target.
        unkept: definitions without a certificate of their kernels, whose outcome is not kept.
    """

    verdicts: tuple[Verdict, ...]
    executed: int
    forced: tuple[Outcome, ...] = ()
    missing: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()

    @property
    def failures(self) -> int:
        """How many comparisons fail."""
        return sum(len(one.failures) for one in self.verdicts) + sum(len(one.failures) for one in self.forced)


def package_sources(folder: Path, definitions: Iterable[Definition]) -> dict[str, str]:
    """The modules of a package by path, with those of some gradients that are made on demand."""
    sources = {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in folder.rglob("*.py")}
    if (folder / "on_demand.py").is_file():
        for definition in definitions:
            sources |= made_sources(definition)
    return sources


def recorded_verdicts(definitions: Sequence[Definition], folder: Path) -> list[Verdict]:
    """What is on record of some definitions; nothing is executed."""
    sources = package_sources(folder, [d for d in definitions if not d.gradient])
    return [Verdict(d.name, recorded(_read(folder / certificate_path(d)), sources, d)) for d in definitions]


def validate_compiled(
    folder: Path,
    definitions: Sequence[Definition],
    progress: Callable[[str], None] = lambda name: None,
    every: bool = False,
    tables: bool = False,
) -> Executions:
    """Execute what is not on record, and keep the outcomes.

    Args:
        folder: the package.
        definitions: with their gradients, if these are wanted.
        progress: called with a formula's name when it is done.
        every: whether what is on record is executed anew.
        tables: whether entries of the tables of tiles that no formula took are forced on one.

    Raises:
        ValidationError: the folder holds no package.
    """
    sources = package_sources(folder, [d for d in definitions if not d.gradient])
    texts = {d.name: _read(folder / certificate_path(d)) for d in definitions}
    sections = {name: section_of(text) for name, text in texts.items()}
    numbers = {d.name for d in definitions if every or problem(sections[d.name], sources, d)}
    due = [d for d in definitions if d.name in numbers or without_symbols(sections[d.name])]
    found: dict[tuple[str, str], Outcome] = {}
    unkept: dict[str, None] = {}
    executed = 0

    def keep(definition: Definition, section: dict[str, Any]) -> None:
        sections[definition.name] = section
        if section != section_of(texts[definition.name]):
            done = _written(folder, definition, texts[definition.name], section, sources)
            unkept.update({} if done else {definition.name: None})

    for definition, layer, by_target, count in _executed(folder, due, numbers, {} if every else sections):
        found |= {(layer, target): outcome for target, outcome in by_target.items()}
        executed += count
        progress(layer)
        mine = [found.get(formula) for formula in _formulas(definition)]
        if all(one is not None and not one.failures for one in mine):  # kept at once: a killed run goes on where it was
            keep(definition, _renewed(definition, sources, found))
    forced = _forced(folder, definitions, sections) if tables else []
    for done, definition in forced:
        if not done.failures:
            keep(definition, _with_forced(sections[definition.name], done))
    verdicts = []
    for d in definitions:
        outcomes = [found[f] for f in _formulas(d)] if d in due else [*outcomes_of(sections[d.name], sources, d)]
        verdicts.append(Verdict(d.name, tuple(outcomes)))
    missing = [f"{target} {entry}" for target in TARGETS for entry in _untaken(target, sections)] if tables else []
    return Executions(tuple(verdicts), executed, tuple(one for one, _ in forced), tuple(missing), tuple(unkept))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _formulas(definition: Definition) -> list[tuple[str, str]]:
    return [(variant.layer.name, target) for variant in definition.variants for target in TARGETS]


def _executed(
    folder: Path, due: Sequence[Definition], numbers: Set[str], sections: Mapping[str, Any]
) -> Iterator[tuple[Definition, str, dict[str, Outcome], int]]:
    """Formulas with their outcomes by target, and how many of these were executed; others have the PTX on record.

    Definitions that ``numbers`` does not name lack what is shown on expressions alone.
    """
    work = []
    for definition in due:
        known = sections.get(definition.name, {}).get("formulas", {})
        for place, variant in enumerate(definition.variants):
            work.append((definition, place, known.get(variant.layer.name, {}), definition.name in numbers))
    for (definition, place, known, _), (outcomes, proofs) in side_by_side(folder, _judge, work):
        layer = definition.variants[place].layer.name
        every = {target: outcomes.get(target) or outcome_of(layer, target, known[target]) for target in TARGETS}
        for target, (figures, failures) in proofs.items():
            one = every[target]
            told = {**one.figures, SYMBOLS: figures}
            every[target] = replace(one, figures=told, failures=(*one.failures, *failures))
        yield definition, layer, every, len(outcomes)


def _judge(package: str, definition: Definition, place: int, known: Mapping[str, Any], numbers: bool) -> Any:
    """Execute a formula's kernels for the targets for which their PTX is not on record, and on expressions."""
    module = built(definition)
    variant = module.definition.variants[place]
    outcomes = check(module, variant, TARGETS, package, known) if numbers else {}
    targets = [target for target in TARGETS if numbers or SYMBOLS not in known[target]]
    return outcomes, check_symbols(module, variant, targets, package)


def _renewed(definition: Definition, sources: Mapping[str, str], found: Mapping[Any, Outcome]) -> dict[str, Any]:
    """A definition's section."""
    formulas: dict[str, dict[str, Any]] = {}
    for layer, target in _formulas(definition):
        formulas.setdefault(layer, {})[target] = _kept(found[layer, target])
    return {"triton": version("triton"), "inputs": inputs_digest(sources, definition), "formulas": formulas}


def _kept(outcome: Outcome) -> dict[str, Any]:
    figures = {name: value for name, value in outcome.figures.items() if name not in ("seconds", "entry")}
    return {"cases": outcome.cases, "elements": outcome.elements, **rounded(figures)}


def _untaken(target: str, sections: Mapping[str, Any]) -> list[str]:
    """Entries of a target's tables of tiles that no formula has executed."""
    taken = set()
    for section in sections.values():
        for formula in section.get("formulas", {}).values():
            one = formula.get(target, {})
            taken |= {*one.get("entries", ()), *one.get("forced", ())}
    return [entry for entry in entries(target) if entry not in taken]


def _forced(
    folder: Path, definitions: Sequence[Definition], sections: Mapping[str, Any]
) -> list[tuple[Outcome, Definition]]:
    """Execute entries that no formula took, each on the formula that takes its table with the fewest launches."""
    work = []
    for target in TARGETS:
        takers: dict[str, tuple[int, str, Definition, int]] = {}
        for definition in definitions:
            for place, variant in enumerate(definition.variants):
                one = sections[definition.name].get("formulas", {}).get(variant.layer.name, {}).get(target, {})
                for entry in one.get("entries", ()):
                    if entry.startswith(f"{PRODUCTS}/"):
                        taker = one["launches"], variant.layer.name, definition, place
                        table = entry.rpartition("/")[0]
                        takers[table] = min(takers.get(table, taker), taker, key=lambda some: some[:2])
        for entry in _untaken(target, sections):
            if (table := entry.rpartition("/")[0]) in takers:
                _, _, definition, place = takers[table]
                work.append((definition, place, target, entry))
    return [
        (outcome, definition) for (definition, *_), outcome in side_by_side(folder, _force, work) if outcome is not None
    ]


def _force(package: str, definition: Definition, place: int, target: str, entry: str) -> Outcome | None:
    module = built(definition)
    return check_forced(module, module.definition.variants[place], target, entry, package)


def _with_forced(section: Mapping[str, Any], done: Outcome) -> dict[str, Any]:
    """A section with an entry of the tables of tiles that was forced on one of its formulas."""
    changed: dict[str, Any] = json.loads(json.dumps(section))
    place = changed["formulas"][done.layer][done.level.removeprefix(f"{NAME} ")]
    place["forced"] = {**place.get("forced", {}), done.figures["entry"]: _kept(done)}
    return changed


def _written(
    folder: Path, definition: Definition, text: str, section: Mapping[str, Any], sources: Mapping[str, str]
) -> bool:
    """Write a section into a certificate; whether there is one of these kernels."""
    if not is_of_kernels(text, sources, definition):
        return False
    content = json.loads(text) | {COMPILED: section}
    path = folder / certificate_path(definition)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return True
