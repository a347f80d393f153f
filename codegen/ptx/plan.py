"""What level "compiled" executes of a formula: cases, formats and layouts, and entries of the tables of tiles.

Every combination of a kernel, a dtype, a layout and a set of compile-time constants is another compiled text, so there
are as few as show every dtype, every layout and every branch: compiling takes most of the time.

Input: a formula with its kernels. Output: ``Run``s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.levels import Subject

__all__ = ["Run", "runs"]

EVERY = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
HALF = (torch.bfloat16, torch.float16)


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

    Unusual parameters in every dtype; usual ones, without optional tensors; channels last; views with an offset, odd
    strides and 64-bit offsets; and, where operands may be fetched by boxes, each layout of boxes.
    """
    plain, unusual, absent = subject.cases[:3]
    yield Run(unusual, EVERY)
    few = replace(plain, name=f"{plain.name}-few", absent=absent.absent)
    yield Run(few, EVERY[:1])
    yield Run(replace(unusual, name=f"{unusual.name}-last", last=True), HALF[:1])
    yield Run(replace(unusual, name=f"{unusual.name}-view", view=True), HALF[1:], wide=True)
    for case in subject.box_cases:
        yield Run(case, HALF if case.name.startswith(f"{plain.name}-") else HALF[:1])
