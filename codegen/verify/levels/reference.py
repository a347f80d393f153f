"""Level "reference": the CPU path equals the formula, forward and backward, in float64.

The CPU path is the NumPy oracle, called through the package's own functions; its results may differ from the formula's
by the running error bound of float64. If no oracle was written by hand, it is the package's own evaluation of the
formula: then the level checks the printed evaluation, and the certificate says so.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import torch

from svertka import reference
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.equivalence import compare, compare_at
from svertka.codegen.verify.extremes import extremes
from svertka.codegen.verify.levels.numbers import summed
from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject, gradient_operators

__all__ = ["check", "through_reference"]

NAME = "reference"


def check(subject: Subject) -> Outcome:
    """Compare the reference with the formula in every case, and where exponentials of float64 overflow."""
    function = subject.module.definition.reference
    missing = [name for name in (function, f"{function}_backward") if function and not hasattr(reference, name)]
    if missing:
        return Outcome(NAME, subject.layer.name, inapplicable=f"the reference has no {missing[0]}")
    operator = _operator(subject)
    comparisons = []
    for case in subject.cases:
        programs: Any = through_reference(operator, case)
        found = compare(subject.module, subject.variant, programs, case, (torch.float64,))
        comparisons += [(case.name, "float64", result) for _, result in found]
    small = subject.small_cases[0]
    programs = through_reference(operator, small)
    for extreme in extremes(subject.module.definition, subject.layer, small, torch.float64):
        reached = compare_at(
            subject.module, subject.layer, programs, small, extreme.values, extreme.expected, torch.float64
        )
        comparisons += [(extreme.name, "float64", result) for result in reached]
    told = {} if function else {"oracle": "none was written by hand: the package's own evaluation of the formula"}
    return summed(NAME, subject, len(subject.cases), comparisons, **told)


def _operator(subject: Subject) -> Any:
    """The formula's operator in the package, used by a function or by a gradient."""
    name = subject.module.definition.name
    found = gradient_operators(subject) or vars(importlib.import_module(f"{subject.package}.functions.{name}")).values()
    kernels = (name, subject.layer.name)
    return next(value for value in found if getattr(value, "kernels", None) == kernels)


def through_reference(operator: Any, case: Case) -> Any:
    """The reference with the interface of a module of kernels."""
    host = importlib.import_module(".host", type(operator).__module__.rpartition(".")[0])
    symbols = {name: case.sizes[name] for name in operator.symbols}

    def forward(*tensors: torch.Tensor | None, save: bool, **_: Any) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = host.forward(operator, tensors, symbols)
        return found

    def backward(*given: torch.Tensor | None, wanted: tuple[bool, ...], **_: Any) -> tuple[torch.Tensor | None, ...]:
        results = len(operator.results)
        found: tuple[torch.Tensor | None, ...] = host.backward(
            operator, given[:results], given[results:], symbols, wanted
        )
        return found

    name = operator.kernels[1]
    return SimpleNamespace(**{f"{name}_forward": forward, f"{name}_backward": backward})
