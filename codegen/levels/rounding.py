"""Level "rounding": the kernel on real numbers lies within the bound that the formula's running error gives.

The bound holds for every order of summation, and for every storage format at once: what differs between formats is the
rounding of inputs and results. Tightness is the largest observed / bound.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch

from svertka.codegen.equivalence import compare
from svertka.codegen.levels.bfloat16 import repaired
from svertka.codegen.levels.numbers import summed
from svertka.codegen.levels.subject import Outcome, Subject
from svertka.spec.running_error import FORMATS, Format, on_matrix_unit

__all__ = ["check"]

NAME = "rounding"
GROUPS = ((torch.float32,), (torch.float32, torch.float16, torch.bfloat16), (torch.float64,))
"""Dtypes that one evaluation of the formula serves; each case is run with one group, in turn."""


def check(subject: Subject) -> Outcome:
    """Compare forward and backward at every case."""
    comparisons = []
    for number, case in enumerate(subject.cases):
        dtypes = GROUPS[number % len(GROUPS)]
        with repaired() if subject.device == "cpu" else nullcontext():
            found = compare(
                subject.module, subject.variant, subject.kernels, case, dtypes, subject.device, _target(subject, dtypes)
            )
            comparisons += [(case.name, str(dtype).removeprefix("torch."), result) for dtype, result in found]
    return summed(NAME, subject, len(subject.cases), comparisons)


def _target(subject: Subject, dtypes: tuple[torch.dtype, ...]) -> Format | None:
    """The arithmetic of a GPU's matrix unit; the interpreter rounds as the formats say."""
    storage = FORMATS[str(dtypes[0]).removeprefix("torch.")]
    return on_matrix_unit(storage) if subject.device == "cuda" else None
