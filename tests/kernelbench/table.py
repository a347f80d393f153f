"""The table of KernelBench's problems, as Markdown."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from svertka.codegen.verify.levels import LEVELS
from svertka.spec.layers import DEFINITIONS

from .level_1 import PROBLEMS
from .lines import lines_of
from .measured import Run, apart, of_kernels, of_torch
from .problem import Problem
from .records import FORMULAS, formulas, generated, library_certificates, prove

__all__ = ["TABLE", "counts", "levels", "named", "text"]

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
FOOT = """
The gradient of `hardsigmoid` is 1/6 times what comes in; PyTorch rounds 1/6 to float32, in float64 too. The running
products of `cumprod` are of positive factors.
"""


def text(progress: Callable[[str], None] = lambda line: None) -> str:
    """The whole table: every problem is measured, and every formula proven that is not proven yet."""
    own = formulas()
    lines = {name: lines_of(file)[name] for name, (file, _) in own.items()}
    library = importlib.import_module("svertka.generated")
    rows = []
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
            found = of_kernels(problem, given.module if problem.own else library)
            rows.append(_row(problem, where, size, found, levels(proven)))
    return HEAD + "\n".join(rows) + "\n" + FOOT


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


def _row(problem: Problem, where: str, size: str, found: Run, proven: str) -> str:
    expected = of_torch(problem)
    shares = [apart(*pair) for pair in zip(found.gradients, expected.gradients, strict=True)]
    gradient = _share(max(shares)) if shares else ""
    result = _share(apart(found.result, expected.result))
    cells = (problem.number, problem.name, where, size, counts(found), proven, result, gradient)
    return "| " + " | ".join(map(str, cells)) + " |"


def _share(value: float) -> str:
    return f"{value:.1e}" if value else "0"
