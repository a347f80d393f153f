"""Level "rounding": on real numbers the kernel lies within the bound that the formula's running error gives.

The bound holds for every order of summation, and for every storage format at once: the formats differ only in the
rounding of inputs and results. Tightness is the largest observed / bound.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeGuard

import torch
from sympy import Expr

from svertka.codegen.verify.bounds import computed
from svertka.codegen.verify.cases import Case, at_zero, met_exactly
from svertka.codegen.verify.equivalence import Comparison, compare, compare_at, expected_of, format_of, real
from svertka.codegen.verify.extremes import enters_exponents, extremes
from svertka.codegen.verify.levels.bfloat16 import repaired_on
from svertka.codegen.verify.levels.numbers import summed
from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject
from svertka.codegen.verify.symbolic.regions import REGIONS, tiles
from svertka.spec import normal_form
from svertka.spec.layer import Layer, reads
from svertka.spec.notation import Reduction
from svertka.spec.running_error import Format, on_matrix_unit

__all__ = ["check"]

NAME = "rounding"
GROUPS = ((torch.float32,), (torch.float32, torch.float16, torch.bfloat16), (torch.float64,))
"""Dtypes that one evaluation of the formula serves; each case is run with one group, in turn."""
EXTREME_TYPES = (torch.float32, torch.float64)
APART, FEWER = 100.0, 1 / 16  # between levels of numbers: exp(89) overflows; share of those in a higher one
SMALL = REGIONS[0]  # tiles smaller than every row


def check(subject: Subject) -> Outcome:
    """Compare forward and backward in every case.

    If there are maxima of inputs, one more comparison has infinities and NaN among their elements. If a random number
    is compared with a parameter, they are equal once. If a power has a parameter as exponent, its base is 0 once.
    Inputs that enter exponents are drawn where exponentials overflow (``extremes``), for rows in one step and in
    several.
    """
    comparisons = []
    runs = subject.runs or [(case, GROUPS[number % len(GROUPS)]) for number, case in enumerate(subject.cases)]
    for case, dtypes in runs:
        for group in _groups(dtypes):
            comparisons += _comparisons(subject, case, group, real)
            if subject.target and group != EXTREME_TYPES[1:]:
                comparisons += _far_apart(subject, case, group)
    comparisons += _at_special_values(subject, [case for case, _ in runs]) if subject.special else []
    return summed(NAME, subject, len(runs), comparisons)


def _groups(dtypes: Sequence[torch.dtype]) -> Iterator[tuple[torch.dtype, ...]]:
    """Dtypes that one evaluation of the formula serves: those with the same accumulator."""
    for double in (False, True):
        group = tuple(dtype for dtype in dtypes if (dtype == torch.float64) == double)
        if group:
            yield group


def _at_special_values(subject: Subject, cases: Sequence[Case]) -> Iterator[tuple[str, str, Comparison]]:
    """Compare where a random number meets its threshold, at 0, at infinities and NaN, where exponentials overflow."""
    for case in cases:
        met = met_exactly(subject.layer, case)
        if met != case:
            yield from _comparisons(subject, met, GROUPS[0], real)
    for zero in at_zero(subject.module.definition, subject.layer, cases[0]):
        yield from _comparisons(subject, zero, GROUPS[0], _mostly_zero)
    compared = _inputs_of_maxima(subject.layer)
    for case in cases if compared else ():
        yield from _comparisons(subject, case, GROUPS[0], _special, compared)
    yield from _at_extremes(subject, cases[0] if subject.runs else subject.small_cases[0])


def _far_apart(subject: Subject, case: Case, dtypes: tuple[torch.dtype, ...]) -> Iterator[tuple[str, str, Comparison]]:
    """Compare where one element of most rows is far above all others: a step that loses it as maximum overflows."""
    if any(_is_maximum(equation.value) for equation in computed(subject.layer).equations):
        drawn = frozenset(enters_exponents(subject.layer)) | _inputs_of_maxima(subject.layer)
        yield from _comparisons(subject, replace(case, name=f"{case.name}-apart"), dtypes, _rising, drawn)


def _comparisons(
    subject: Subject,
    case: Case,
    dtypes: tuple[torch.dtype, ...],
    draw_real: Callable[[random.Random], float],
    drawn: Collection[str] | None = None,
) -> list[tuple[str, str, Comparison]]:
    asked = case, dtypes, _target(subject, dtypes), draw_real, drawn
    key = (NAME, case.name, str(case.sizes), dtypes, draw_real, drawn)
    expected = subject.evaluated(key, lambda: expected_of(subject.module.definition, subject.layer, *asked))
    with repaired_on(subject.device):
        found = compare(
            subject.module, subject.variant, subject.kernels, case, dtypes, subject.device, expected=expected
        )
        return [(case.name, format_of(dtype).name, result) for dtype, result in found]


def _at_extremes(subject: Subject, case: Case) -> Iterator[tuple[str, str, Comparison]]:
    """Compare where exponentials overflow; only there a wrong shift is noticed."""
    for dtype in EXTREME_TYPES:
        first = dtype == EXTREME_TYPES[0]
        about = subject.module.definition, subject.layer, case, dtype, not first
        key = (NAME, "extremes", case.name, str(case.sizes), dtype)
        for extreme in subject.evaluated(key, lambda about=about: list(extremes(*about))):  # type: ignore[misc]
            for small in (False, True):
                telling = extreme.apart or not all(bool(t.isfinite().all()) for t in extreme.values.all.values())
                if small and not (first and telling and not subject.compiled):
                    continue  # several steps test shifts of other rows and of nothing; a target's tables stay
                with _chosen(subject, extreme.values.all, small), repaired_on(subject.device):
                    found = compare_at(
                        subject.module,
                        subject.layer,
                        subject.kernels,
                        case,
                        extreme.values,
                        extreme.expected,
                        dtype,
                        subject.device,
                    )
                    name = f"{extreme.name}{', small tiles' if small else ''}"
                    yield from [(name, format_of(dtype).name, result) for result in found]


def _chosen(subject: Subject, tensors: Mapping[str, torch.Tensor], small: bool) -> AbstractContextManager[object]:
    """Tiles smaller than rows, or those of the tables."""
    if not small:
        return nullcontext()
    return tiles(subject.kernels, SMALL, max(tensor.numel() for tensor in tensors.values()), 0)


def _inputs_of_maxima(layer: Layer) -> frozenset[str]:
    """Inputs whose elements maxima compare; not of exponents, for exp of infinity has no finite bound.

    An infinity in a product of a sum says nothing: times an element that the sum leaves out, which is 0, it is NaN.
    """
    maxima = [equation.value for equation in normal_form(layer).equations if _is_maximum(equation.value)]
    names = {read.tensor for maximum in maxima for read in reads(maximum.body)}
    return frozenset(names & {tensor.name for tensor in layer.inputs} - {*enters_exponents(layer)})


def _is_maximum(value: Expr) -> TypeGuard[Reduction]:
    """Whether a value is a maximum, or its place."""
    return isinstance(value, Reduction) and value.operation in ("max", "argmax")


def _rising(draw: random.Random) -> float:
    """Numbers in four levels whose exponentials differ by more than float32 holds; few of each are in the next."""
    level = 0
    while level < 3 and draw.random() < FEWER:
        level += 1
    return real(draw) + APART * (level - 1.5)  # so that products of four exponentials are numbers of float64


def _mostly_zero(draw: random.Random) -> float:
    return draw.choice((0.0, 0.0, 0.0, 0.0, 1.0, 2.0))


def _special(draw: random.Random) -> float:
    """Mostly -inf, so that whole windows are -inf; sometimes a larger number, or NaN."""
    return draw.choice((-math.inf, -math.inf, -math.inf, -math.inf, -math.inf, math.inf, math.nan, 1.0))


def _target(subject: Subject, dtypes: tuple[torch.dtype, ...]) -> Format | None:
    """The arithmetic of a GPU's matrix unit; the interpreter rounds as the formats say."""
    return on_matrix_unit(format_of(dtypes[0])) if subject.compiled else None
