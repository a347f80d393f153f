"""The table of KernelBench's problems, as Markdown."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from svertka.codegen.lowering.built import definition_digest
from svertka.codegen.user_cache import generator_digest
from svertka.codegen.verify.levels import LEVELS
from svertka.spec.definition import Definition
from svertka.spec.layers import DEFINITIONS

from .chain import Composed, composed
from .level_1 import PROBLEMS
from .level_2 import CHAINS
from .lines import lines_of
from .measured import Run, apart, of_kernels, of_torch
from .records import FORMULAS, formulas, generated, library_certificates, prove, recorded

__all__ = ["TABLE", "counts", "known", "levels", "named", "parts", "refused", "rows", "text"]

TABLE = FORMULAS / "TABLE.md"
HEAD = """# KernelBench's problems by formulas

[KernelBench](https://github.com/ScalingIntelligence/KernelBench) has operations in PyTorch for which kernels are to be
written. Here every kernel follows from a formula: of the library, under its function's name, or of one of the files in
this folder. `python -m tests.kernelbench` writes this table; it proves the formulas of this folder one by one and keeps
the certificates in `build/kernelbench`, so that a second run takes a minute.

- **lines**: of the formula's file that the formula needs, from its first axis to its last bracket.
- **launches**: of kernels, forward and backward, where every input that can have a gradient has one.
- **levels**: what is proven of every formula of the function. *exact*, equality to the last bit on whole numbers, does
  not apply to formulas that round whole numbers, as those with an exponential, a root or a quotient; *adjoint* does not
  apply to positions, which have no gradient.
- **result, gradient**: the largest difference from PyTorch, as a share of PyTorch's largest element, in float64, at
  shapes with sides that differ. The kernels ran in Triton's interpreter.

## Level 1: single operations

| | problem | computed by | lines | launches | levels | result | gradient |
|--:|---|---|--:|---|---|--:|--:|
"""
MIDDLE = """
The gradient of `hardsigmoid` is 1/6 times what comes in; PyTorch rounds 1/6 to float32, in float64 too. The running
products of `cumprod` are of positive factors.

## Level 2: chains of operations, the first fifty

Brackets hold what `svertka.spec.compose.fuse` makes one formula, which is differentiated and lowered as a whole. A
chain is one formula as far as composition allows. Results have no dimensions of extent 1, and steps over these are left
out. 20 and 40 are missing: they read a tensor once with and once without gradient, which no formula says. 41,
`Gemm_BatchNorm_GELU_ReLU`, is missing because printing its formulas takes minutes.

| | problem | formulas | launches | result | gradient |
|--:|---|---|---|--:|--:|
"""
REFUSED = """
Why chains are more than one formula:

"""


def text(progress: Callable[[str], None] = lambda line: None) -> str:
    """The whole table: every problem is measured, and every formula proven that is not proven yet."""
    return HEAD + _first_level(progress) + MIDDLE + _second_level(progress)


def rows(heading: str) -> dict[int, list[str]]:
    """The cells of the committed table's rows below a heading, by the problem's number."""
    part = TABLE.read_text(encoding="utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    lines = (line.split("|")[1:-1] for line in part.splitlines() if line.startswith("| ") and line[2].isdigit())
    cells = ([cell.strip() for cell in line] for line in lines)
    return {int(number): others for number, *others in cells}


def _first_level(progress: Callable[[str], None]) -> str:
    own = formulas()
    lines = {name: lines_of(file)[name] for name, (file, _) in own.items()}
    library = importlib.import_module("svertka.generated")
    lines_of_table = []
    with generated([definition for _, definition in own.values()]) as given:
        for problem in PROBLEMS:
            progress(f"{problem.number} {problem.name}")
            if problem.own:
                file, definition = own[problem.function]
                proven = prove(given, definition.name)
                where, size = f"`{problem.function}` of [{file.name}]({file.name})", str(lines[problem.function])
            else:
                proven = library_certificates(named(problem.function))
                where, size = f"`{problem.function}`", "library"
            run = of_kernels(problem, given.module if problem.own else library)
            told = (problem.number, problem.name, where, size, counts(run), levels(proven))
            lines_of_table.append(_row(*told, *_shares(run, of_torch(problem))))
    return "".join(lines_of_table)


def _second_level(progress: Callable[[str], None]) -> str:
    lines, refusals = [], []
    definitions = known()
    for chain in CHAINS:
        progress(f"{chain.number} {chain.name}")
        one = composed(chain, definitions)
        lines.append(_row(chain.number, chain.name, parts(one), *_measured(one)))
        refusals += [f"- {chain.number}: `{reason}`\n" for reason in refused(one)]
    return "".join(lines) + REFUSED + "".join(refusals)


def _measured(one: Composed) -> list[str]:
    """The cells of a chain's measurements; they follow from its formulas, its shapes and the generator."""

    def measure() -> list[str]:
        with generated(one.definitions) as given:
            run = of_kernels(one, given.module)
        return [counts(run), *_shares(run, of_torch(one))]

    formulas_of = [definition_digest(group.definition) for group in one.groups]
    shapes = [str((step.function, step.tensors, step.settings)) for step in one.chain.steps]
    key = "\n".join([generator_digest(), *formulas_of, str(one.chain.shape), *shapes])
    return recorded(f"chains/{one.chain.number}", key, measure)


def known() -> dict[str, Definition]:
    """The library's definitions and those of this folder's formulas, by the names of their functions."""
    own = {definition.function: definition for _, definition in formulas().values()}
    return {definition.function: definition for definition in DEFINITIONS.values()} | own


def parts(one: Composed) -> str:
    """The steps of a chain, each formula's in brackets of its own."""
    steps = iter(one.chain.steps)
    words = (" ".join(next(steps).function for _ in group.names) for group in one.groups)
    return " ".join(f"({word})" for word in words)


def refused(one: Composed) -> list[str]:
    """Why a chain is more than one formula."""
    return [group.refused for group in one.groups if group.refused]


def named(function: str) -> Any:
    """The library's definition of a public function."""
    return next(definition for definition in DEFINITIONS.values() if definition.function == function)


def levels(proven: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The levels that hold for all formulas of a certificate, in words."""
    missing = [name for name in LEVELS if any("cases" not in found.get(name, {}) for found in proven.values())]
    return "all six" if not missing else f"all but {' and '.join(missing)}"


def counts(found: Run) -> str:
    """How many kernels were launched, forward and backward."""
    return f"{len(found.forward)} / {len(found.backward)}"


def _shares(found: Run, expected: Run) -> tuple[str, str]:
    """How far result and gradients are from torch's."""
    gradient = _share(apart(found.gradients, expected.gradients)) if expected.gradients else ""
    return _share(apart([found.result], [expected.result])), gradient


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _share(value: float) -> str:
    return f"{value:.1e}" if value else "0"
