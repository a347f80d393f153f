"""Correctness: every formula and every gradient's formula, one part of the check per item.

Part "first" runs every kernel of a formula in bfloat16 and float32, with boxes too where possible: against the formula
within its bound, several times for equal bits, and by plans, recorded and replayed, which must give the same bits as
without plans. Parts "rounding" and "exact" are these levels of validation, with all their cases and dtypes.

Each failure begins with its kind: ``values`` (an element differs from the formula), ``bits`` (two runs differ),
``plans`` (there is no plan, or it gives other bits), or the class of an exception.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from svertka.codegen.lowering.build import build
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.equivalence import Values, compare, draw_values, format_of, outcome, real
from svertka.codegen.verify.levels import LEVELS, Subject
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS
from svertka.spec.running_error import on_matrix_unit

__all__ = ["ON_GPU", "PARTS", "Planned", "formulas", "launched", "run", "same_bits"]

ON_GPU = True
PACKAGE = "svertka.generated"
DEVICE = "cuda"
PARTS = ("first", "rounding", "exact")  # the most important first
TOGETHER = (torch.float32, torch.bfloat16)  # one evaluation of the formula is used for both
FAILURES_KEPT = 5
Results = dict[str, torch.Tensor]


def formulas() -> list[tuple[str, str]]:
    """Every formula that is generated, each with its definition's name."""
    return [(definition.name, v.layer.name) for definition in _definitions().values() for v in definition.variants]


@functools.cache
def _definitions() -> dict[str, Any]:
    return {made.name: made for made in with_gradients(list(DEFINITIONS.values()))}


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Check one part of a formula; the result has ``failures``, empty if it holds."""
    subject = _subject(item["definition"], item["formula"])
    if item["part"] == "first":
        return _first(subject, int(item["repeats"]))
    found = LEVELS[item["part"]](subject)
    failures = [f"values: {text}" for text in found.failures]
    if not found.elements and not found.inapplicable:
        failures.append("values: nothing was compared")
    kept = {"elements": found.elements, "cases": found.cases, **found.figures}
    return {**_kept(failures), "inapplicable": found.inapplicable, **kept}


def launched(definition: str, formula: str) -> None:
    """Run a formula's programs without checking their results."""
    subject = _subject(definition, formula)
    for case, dtypes in _runs(subject):
        for dtype in dtypes:
            _results(subject, subject.kernels, case, dtype)


def _kept(failures: Sequence[str]) -> dict[str, Any]:
    """The first failures of each kind, and the number of all."""
    kinds: dict[str, list[str]] = {}
    for text in failures:
        kinds.setdefault(text.split(":")[0], []).append(text[:500])
    return {"failures": [t for some in kinds.values() for t in some[:FAILURES_KEPT]], "failed": len(failures)}


def _subject(definition: str, formula: str) -> Subject:
    known = _definitions()[definition]
    variant = next(variant for variant in known.variants if variant.layer.name == formula)
    return Subject(build(known), variant, PACKAGE, DEVICE)


def _runs(subject: Subject) -> Iterator[tuple[Case, tuple[torch.dtype, ...]]]:
    """The first case, and one of each layout of boxes; the latter only in half precision."""
    yield subject.cases[0], TOGETHER
    for case in subject.box_cases[: len(subject.layouts)]:
        yield case, TOGETHER[1:]


def _first(subject: Subject, repeats: int) -> dict[str, Any]:
    """Values, bits and plans of a formula's first cases."""
    failures, elements = [], 0
    for case, dtypes in _runs(subject):
        failures += _differing_bits(subject, case, dtypes, repeats)
        planned = Planned(subject)
        target = on_matrix_unit(format_of(dtypes[0]))
        for dtype, found in compare(subject.module, subject.variant, planned, case, dtypes, DEVICE, target):
            elements += found.elements
            failures += [] if found.holds else [f"values: {case.name} {dtype}: {found}"]
    return {**_kept(failures), "elements": elements}


def _differing_bits(subject: Subject, case: Case, dtypes: Sequence[torch.dtype], repeats: int) -> list[str]:
    """Programs without plans, repeatedly, then with plans: recorded, and replayed equally often."""
    plans = importlib.import_module(f"{PACKAGE}.plans")
    failures: list[str] = []
    for dtype in dtypes:
        plans._PLANS.clear()
        first = _results(subject, subject.kernels, case, dtype)
        for _ in range(repeats - 1):
            failures += _differing("bits", dtype, first, _results(subject, subject.kernels, case, dtype))
        for turn in ("recorded", *["replayed"] * (repeats - 1)):
            failures += _differing(f"plans: {turn}", dtype, first, _results(subject, Planned(subject), case, dtype))
        without = sum(plan is None for plan in plans._PLANS.values())
        if without or not plans._PLANS:
            failures.append(f"plans: {dtype}: {without} of {len(plans._PLANS)} programs have no plan")
    return sorted(set(failures))


def _results(subject: Subject, kernels: Any, case: Case, dtype: torch.dtype) -> Results:
    definition, layer = subject.module.definition, subject.layer
    values: Values = draw_values(definition, layer, case, real)
    return dict(outcome(definition, layer, kernels, case, values, dtype, DEVICE))


def _differing(kind: str, dtype: torch.dtype, first: Results, again: Results) -> Iterator[str]:
    for name, tensor in again.items():
        if not same_bits(tensor, first[name]):
            yield f"{kind}: {dtype}: {name} differs from the first run"


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors are equal to the last bit, NaN included."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    whole = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}[left.element_size()]
    return torch.equal(left.contiguous().view(whole), right.contiguous().view(whole))


class Planned:
    """A formula's programs as ``Operator`` runs them: recorded at the first call, replayed at the next."""

    def __init__(self, subject: Subject) -> None:
        self.kernels = subject.kernels
        self.plans = importlib.import_module(f"{PACKAGE}.plans")
        self.varying = sorted({symbol for kernel in subject.module.kernels for symbol in kernel.scalars})

    def __getattr__(self, name: str) -> Callable[..., Any]:
        program = getattr(self.kernels, name)
        options = {"save": False, "skipped": ()} if name.endswith("_forward") else {}

        def planned(*tensors: Any, **given: Any) -> Any:
            chosen = options | {key: given[key] for key in ("save", "skipped", "wanted") if key in given}
            symbols = {key: value for key, value in given.items() if key not in chosen}
            varying = tuple(key for key in self.varying if key in symbols)
            return self.plans.run(program, tensors, symbols, varying, **chosen)

        return planned
