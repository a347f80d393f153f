"""What level "compiled" executes of a formula: cases, formats and layouts, and entries of the tables of tiles.

Every combination of a kernel, a dtype, a layout and a set of compile-time constants is another compiled text, so there
are as few as show every dtype, every layout and every branch: compiling takes most of the time.

Input: a formula with its kernels. Output: ``Run``s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

import torch

from svertka.codegen.ir.kernel import Name
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ptx.launch import PROCESSORS
from svertka.codegen.verify.cases import Case, altered, cases
from svertka.codegen.verify.fitting import extents_of_formula, small_extents
from svertka.codegen.verify.levels import Subject
from svertka.codegen.verify.symbolic.small import usual_case, work_of
from svertka.spec import normal_form
from svertka.spec.definition import Whole
from svertka.spec.notation import Reduction

__all__ = ["FEW", "Run", "runs"]

WIDE, HALF = (torch.float32, torch.float64), (torch.bfloat16, torch.float16)
UNIT = 32  # on a GPU boxes are used if at least so many elements are summed
MUCH, LONG = 1 << 19, 1 << 15  # operations of the deepest loop nest; the formula takes longer than its kernels
SEVERAL = 1 << 9  # operations, so that every axis has several elements, and there are fewer rows than processors
LARGE = 1 << 16  # elements of a tensor
LONG_BLOCKS, LONG_TILES = 131, 259  # elements: three blocks of a chain, and two tiles, of which the last has a tail
FEW, LONG_SUM = 2, 352  # elements: five steps of 64 and a half; no pipeline that loads boxes has more stages
ROWS = 33  # more than a program reduces, however short they are
STEPS = (1 << 9) + 9  # elements: full steps of every tile, then one that is nearly empty; odd: no text of boxes


@dataclass(frozen=True)
class Run:
    """What is executed under one setting.

    Attributes:
        case: sizes, layout and parameters.
        dtypes: of real tensors.
        wide: whether offsets have 64 bits, as tensors beyond 2^31 elements need them.
        forced: an entry of the tables of tiles that serves every size.
        special: whether numbers are compared at special values, too.
        processors: of the GPU; with few, a program of a persistent kernel computes several tiles, and no sum is split.
        parts: whether row programs have so few elements that they reduce a part of each row.
    """

    case: Case
    dtypes: tuple[torch.dtype, ...]
    wide: bool = False
    forced: str = ""
    special: bool = False
    processors: int = PROCESSORS
    parts: bool = False


def runs(subject: Subject) -> Iterator[Run]:
    """The runs of a formula.

    Usual parameters with several full tiles a launch, without optional tensors; unusual parameters in small; with
    several tiles, channels last, and as views with an offset, odd strides and 64-bit offsets; these two with long sums
    too; rows that take several steps; chains that do; rows that are reduced in parts; and, where operands may be
    fetched by boxes, each layout of boxes, of full tiles too, and long sums on a GPU with few processors.
    """
    definition, variant = subject.module.definition, subject.variant
    unusual, *_ = subject.small_cases
    usual = next(iter(cases(definition, variant, 1)))
    optional = frozenset(tensor.name for tensor in variant.layer.inputs if tensor.default is not None)
    usual = replace(usual, absent=optional)
    products = any(kernel.operands or kernel.chain for kernel in subject.launched)
    most = MUCH if products else LONG
    large = _grown(subject, replace(usual, name=f"{usual.name}-large"), _free(subject), most)
    yield Run(large, WIDE)
    yield Run(unusual, WIDE[:1], special=True)
    growing = replace(unusual, name=f"{unusual.name}-large")
    rising, half = (_grown(subject, growing, _free(subject), some) for some in (most, most >> 1))
    yield Run(replace(rising, name=f"{rising.name}-last", last=True), HALF[:1])
    yield Run(replace(rising, name=f"{rising.name}-view", view=True), HALF[1:], wide=True)
    for long in _long_sums(subject, unusual, STEPS):
        yield Run(replace(long, name=f"{long.name}-last", last=True), HALF[:1])
        yield Run(replace(long, name=f"{long.name}-view", view=True), HALF[1:], wide=True)
    if not products and any(kernel.pattern == LoopPattern.ROW for kernel in subject.launched):
        rows, reduced = _free(subject) - _reduced(subject), _free(subject) & _reduced(subject)
        long = _grown(subject, replace(usual, name=f"{usual.name}-long"), rows, ROWS * _length(usual, reduced))
        yield Run(_grown(subject, long, reduced, 2 * LONG), WIDE[:1])
    little = usual_case(definition, variant)
    for long in _long_chains(subject, little):
        yield Run(long, WIDE[:1])
    if any(kernel.splitting for kernel in subject.launched):
        whole = replace(little, name=f"{little.name}-parts", absent=frozenset())
        yield Run(_grown(subject, whole, _free(subject), SEVERAL), WIDE[:1], special=True, parts=True)
    four = (half, unusual, large, little)
    for sides in zip(*(subject.aligned(four, UNIT)[place::4] for place in range(4)), strict=True):
        for (much, other), processors in zip((sides[:2], sides[2:]), (FEW, PROCESSORS), strict=True):
            bearable = work_of(variant, much.sizes) <= 2 * MUCH
            yield Run(much if bearable else other, HALF[:1], processors=processors)
    for start, dtypes in ((unusual, HALF[:1]), (little, HALF[1:])) if subject.layouts else ():
        for case in subject.aligned(tuple(_long_sums(subject, start, LONG_SUM)), UNIT):
            yield Run(case, dtypes, processors=FEW)


def _long_sums(subject: Subject, case: Case, elements: int) -> Iterator[Case]:
    """Each free extent that a kernel with boxes sums over, in turn so long that the whole sum has some ``elements``.

    Other indices of the same sum make it longer too: those of a window, and places of the output.
    """
    free, lengths = _free(subject), dict[str, int]()
    for kernel in subject.boxed:
        assert kernel.boxes is not None
        extents = [axis.extent for axis in kernel.boxes.summed] + [tap.extent for tap in kernel.boxes.taps]
        names = [extent.name for extent in extents if isinstance(extent, Name)]
        for name in free.intersection(names):
            others = math.prod(case.sizes[other] for other in names if other != name)
            lengths[name] = max(lengths.get(name, 0), -(-elements // others))
    for name, length in sorted(lengths.items()):
        longer = altered(subject.module.definition, subject.variant, case, {name: length}, math.inf)
        if longer is not None:
            yield replace(longer, name=f"{case.name}-{name}")


def _long_chains(subject: Subject, case: Case) -> Iterator[Case]:
    """Chains of several blocks, and those whose inner products and results need several tiles each."""
    chains = [kernel for kernel in subject.launched if kernel.chain is not None]
    blocks = {extent.extent for kernel in chains for extent in kernel.columns.order}
    tiles = {extent.extent for kernel in chains for extent in kernel.groups[2].order}
    inner = [one for kernel in chains if kernel.chain for one in kernel.chain.inner]
    tiles |= {extent.extent for one in inner for extent in one.axes.order}
    for what, names, length in (("blocks", blocks, LONG_BLOCKS), ("tiles", tiles - blocks, LONG_TILES)):
        sizes = dict.fromkeys(names & _free(subject), length)
        longer = altered(subject.module.definition, subject.variant, case, sizes, math.inf)
        if sizes and longer is not None:
            yield replace(longer, name=f"{case.name}-{what}")


def _free(subject: Subject) -> set[str]:
    """Extents that may grow: not of windows, not groups, and none that follows from others."""
    kept = {*small_extents(subject.layer), *subject.module.definition.extents}
    kept |= {argument.symbol for argument in subject.module.definition.arguments if isinstance(argument, Whole)}
    return {*extents_of_formula(subject.layer)} - kept


def _reduced(subject: Subject) -> set[str]:
    """Extents of axes that are summed over, or of which the maximum is taken."""
    values = [equation.value for equation in normal_form(subject.layer).equations]
    indices = {index for value in values for one in value.atoms(Reduction) for index in one.indices}
    return {symbol.name for index in indices for symbol in index.extent.free_symbols}


def _length(case: Case, names: Set[str]) -> int:
    """How many places some extents have together."""
    return math.prod(case.sizes[name] for name in names)


def _grown(subject: Subject, case: Case, names: Set[str], most: int) -> Case:
    """The case with some extents as large as the work allows, the smallest first.

    Each is a power of two and one: full tiles, and a tail in which nearly all guards are false.
    """
    growing = sorted(names)
    while growing:
        name = min(growing, key=lambda one: (case.sizes[one], one))
        sizes = {name: (1 << int(case.sizes[name]).bit_length()) + 1}
        larger = altered(subject.module.definition, subject.variant, case, sizes, LARGE)
        if larger is None or work_of(subject.variant, larger.sizes) > most:
            growing.remove(name)
        else:
            case = larger
    return case
