"""What level "compiled" executes of a formula: cases, formats and layouts, and entries of the tables of tiles.

Every combination of a kernel, a dtype, a layout and a set of compile-time constants is another compiled text, so there
are as few as show every dtype, every layout and every branch: compiling takes most of the time.

Input: a formula with its kernels. Output: ``Run``s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from svertka.codegen.verify.cases import Case, altered, cases
from svertka.codegen.verify.fitting import extents_of_formula, small_extents
from svertka.codegen.verify.levels import Subject
from svertka.codegen.verify.symbolic.small import usual_case, work_of
from svertka.spec.definition import Whole

__all__ = ["Run", "runs"]

EVERY = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
HALF = (torch.bfloat16, torch.float16)
UNIT = 32  # on a GPU boxes are used if at least so many elements are summed
MUCH = 1 << 16  # operations of a loop nest; the formula's own evaluation takes longer than the kernel


@dataclass(frozen=True)
class Run:
    """What is executed under one setting.

    Attributes:
        case: sizes, layout and parameters.
        dtypes: of real tensors.
        wide: whether offsets have 64 bits, as tensors beyond 2^31 elements need them.
        forced: an entry of the tables of tiles that serves every size.
    """

    case: Case
    dtypes: tuple[torch.dtype, ...]
    wide: bool = False
    forced: str = ""


def runs(subject: Subject) -> Iterator[Run]:
    """The runs of a formula.

    Unusual parameters in every dtype; usual ones with several programs a launch and without optional tensors; channels
    last; views with an offset, odd strides and 64-bit offsets; and, where operands may be fetched by boxes, each layout
    of boxes.
    """
    unusual, *_ = subject.small_cases
    usual = usual_case(subject.module.definition, subject.variant)
    yield Run(unusual, EVERY)
    yield Run(_grown(subject), EVERY[:1])
    yield Run(replace(unusual, name=f"{unusual.name}-last", last=True), HALF[:1])
    yield Run(replace(unusual, name=f"{unusual.name}-view", view=True), HALF[1:], wide=True)
    for place, case in enumerate(subject.aligned((unusual, usual), UNIT)):
        yield Run(case, HALF if place % 2 else HALF[:1])


def _grown(subject: Subject) -> Case:
    """Usual parameters, and extents as large as evaluating the formula allows: several programs a launch."""
    definition, variant = subject.module.definition, subject.variant
    case = next(iter(cases(definition, variant, 1)))
    optional = frozenset(tensor.name for tensor in variant.layer.inputs if tensor.default is not None)
    case = replace(case, name=f"{case.name}-grown", absent=optional)
    kept = {*small_extents(variant.layer), *definition.extents}
    kept |= {argument.symbol for argument in definition.arguments if isinstance(argument, Whole)}
    growing = [name for name in extents_of_formula(variant.layer) if name not in kept]
    while growing:
        name = min(growing, key=lambda one: (case.sizes[one], one))
        larger = altered(definition, variant, case, {name: 2 * case.sizes[name] + 1})
        if larger is None or work_of(variant, larger.sizes) > MUCH:
            growing.remove(name)
        else:
            case = larger
    return case
