"""Seeded faults, and the choice of a representative number among many.

Input: texts and the edits that operators propose for them. Output: ``Mutant``s whose identifiers do not depend on line
numbers, so that a recorded reason stays with its fault.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import re
import tokenize
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["KERNELS", "KINDS", "REPOSITORY", "Edit", "Mutant", "chosen", "difference", "mutants_of"]

CONSIDERED = 60  # proposals of an operator, in each choice
REPOSITORY = Path(__file__).resolve().parents[2]
KERNELS = ("emitted", "second order")
"""Kinds of faults in kernels themselves; the others are in what makes them."""
KINDS = (*KERNELS, "template", "printer", "calculus", "schedule")


@dataclass(frozen=True)
class Edit:
    """One replacement in a text.

    Attributes:
        start, end: the replaced range, in characters.
        new: the replacement.
        operator: which operator proposes it.
        scope: the function that contains it.
    """

    start: int
    end: int
    new: str
    operator: str
    scope: str


FIRST_PATHS = {
    "codegen/emit/templates/lanes.jinja": "codegen/templates/lanes.jinja",
    "codegen/emit/templates/row.jinja": "codegen/templates/row.jinja",
    "codegen/emit/templates/contraction.jinja": "codegen/templates/contraction.jinja",
    "codegen/emit/templates/boxes.jinja": "codegen/templates/boxes.jinja",
    "codegen/emit/templates/macros.jinja": "codegen/templates/macros.jinja",
    "codegen/emit/templates/kernels.py.jinja": "codegen/templates/kernels.py.jinja",
    "codegen/emit/templates/primitives.py.jinja": "codegen/templates/primitives.py.jinja",
    "codegen/emit/triton_printer.py": "codegen/triton_printer.py",
    "codegen/emit/launcher_printer.py": "codegen/host_printer.py",
    "codegen/emit/launcher.py": "codegen/host.py",
    "codegen/lowering/lower.py": "codegen/lower.py",
    "codegen/lowering/expressions.py": "codegen/door.py",
    "codegen/lowering/common_subexpressions.py": "codegen/share.py",
    "codegen/passes/inline.py": "codegen/inline.py",
    "codegen/passes/saved_conditions.py": "codegen/recall.py",
    "codegen/passes/stabilize.py": "codegen/stabilize.py",
    "codegen/passes/exponents.py": "codegen/exponents.py",
    "codegen/lowering/fusion.py": "codegen/partition.py",
    "codegen/lowering/tensor_descriptors.py": "codegen/boxes.py",
    "codegen/passes/split.py": "codegen/split.py",
    "codegen/passes/centered_sums.py": "codegen/deviation.py",
    "codegen/ir/loop_patterns.py": "codegen/classify.py",
    "codegen/emit/templates/schedule.py.jinja": "codegen/templates/schedule.py.jinja",
    "codegen/emit/templates/launching.py.jinja": "codegen/templates/launching.py.jinja",
    "codegen/emit/schedules/interpreter.json": "codegen/schedules/interpreter.json",
}
"""Paths of files when their faults were first identified: a moved file keeps its faults and their recorded reasons."""


@dataclass(frozen=True)
class Mutant:
    """A seeded fault.

    Attributes:
        identifier: kind and digest of the file's first path, scope, line or statement of text, and replacement.
        kind: one of ``KINDS``.
        file: path below the repository.
        line: of its first changed character.
        old, new: the replaced text and the replacement.
        layers: definitions that should reveal it, the cheapest first.
        pattern, direction: loop pattern and direction of the kernel, for emitted ones.
    """

    identifier: str
    kind: str
    file: str
    line: int
    scope: str
    operator: str
    start: int
    end: int
    old: str
    new: str
    layers: tuple[str, ...]
    pattern: str = ""
    direction: str = ""

    def applied(self, text: str) -> str:
        """The file's text with the fault."""
        assert text[self.start : self.end] == self.old, f"{self.file} has changed since the mutants were made"
        return text[: self.start] + self.new + text[self.end :]


def difference(mutant: Mutant, text: str) -> str:
    """The fault as a unified diff."""
    lines = difflib.unified_diff(
        text.splitlines(), mutant.applied(text).splitlines(), mutant.file, mutant.file, lineterm="", n=2
    )
    return "\n".join(lines)


def mutants_of(
    kind: str,
    file: str,
    text: str,
    edits: Iterable[Edit],
    layers: tuple[str, ...],
    place_of: Callable[[Edit], tuple[str, str]] = lambda edit: ("", ""),
) -> list[Mutant]:
    """Edits of a file as mutants, each with its identifier.

    Args:
        kind: of the mutants.
        file: path below the repository.
        text: the content of the file.
        edits: the proposals.
        layers: definitions that should reveal the faults.
        place_of: loop pattern and direction of the kernel that contains an edit.
    """
    found = []
    seen: Counter[str] = Counter()
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end, edit.new, edit.operator))
    for edit in {(edit.start, edit.end, edit.new): edit for edit in ordered}.values():
        old = text[edit.start : edit.end]
        if old == edit.new:
            continue
        before, behind = _statement(text, edit) if kind in KERNELS else _line(text, edit)
        around = f"{before}\0{edit.new}\0{behind}"
        key = "\n".join((FIRST_PATHS.get(file, file), edit.scope, old, around))
        seen[key] += 1
        digest = hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:8]
        found.append(
            Mutant(
                f"{kind}-{digest}",
                kind,
                file,
                text.count("\n", 0, edit.start) + 1,
                edit.scope,
                edit.operator,
                edit.start,
                edit.end,
                old,
                edit.new,
                layers,
                *place_of(edit),
            )
        )
    return found


def _line(text: str, edit: Edit) -> tuple[str, str]:
    """What stands before and behind an edit on its lines."""
    end = text.find("\n", edit.end)
    return text[text.rfind("\n", 0, edit.start) + 1 : edit.start].lstrip(), text[edit.end : end if end >= 0 else None]


def _statement(text: str, edit: Edit) -> tuple[str, str]:
    """The same of its statement without spaces and line ends: where lines of emitted code break says nothing."""
    ends = _statement_ends(text)
    place = bisect_right(ends, edit.start)
    begin, end = ends[place - 1] if place else 0, ends[place] if place < len(ends) else len(text)
    return "".join(text[begin : edit.start].split()), "".join(text[edit.end : end].split())


@lru_cache(maxsize=4)
def _statement_ends(text: str) -> list[int]:
    """Where the statements of a Python text end."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [starts[token.end[0] - 1] + token.end[1] for token in tokens if token.type == tokenize.NEWLINE]


def chosen(mutants: Sequence[Mutant], quota: int, acceptable: Callable[[Mutant], bool]) -> list[Mutant]:
    """The given number of mutants, spread over operators and functions; the same ones every time.

    The order is that of the identifiers' digests, so that an edit elsewhere in a file changes few of the choices.
    """
    by_operator: dict[str, list[Mutant]] = {}
    for mutant in sorted(mutants, key=lambda mutant: mutant.identifier):
        by_operator.setdefault(mutant.operator, []).append(mutant)
    operators: Counter[str] = Counter()
    scopes: Counter[str] = Counter()
    places: set[int] = set()
    taken: list[Mutant] = []
    while len(taken) < quota and any(by_operator.values()):
        some = [mutant for rest in by_operator.values() for mutant in rest[:CONSIDERED]]
        mutant = min(some, key=lambda m: (m.start in places, operators[m.operator] + scopes[m.scope], m.identifier))
        by_operator[mutant.operator].remove(mutant)
        if not acceptable(mutant):
            continue
        operators[mutant.operator] += 1
        scopes[mutant.scope] += 1
        places.add(mutant.start)
        taken.append(mutant)
    return taken
