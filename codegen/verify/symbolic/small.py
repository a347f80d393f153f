"""Small cases for proofs of kernels.

An expression costs a thousand times as much as a number, and a wrong kernel is wrong at small extents too, if they
differ from one another and from the tiles. So cases are drawn as for every other validation, and then made smaller.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from math import prod
from typing import Any

from svertka.codegen.ir.scans import as_scan
from svertka.codegen.verify.bounds import computed, rescaled
from svertka.codegen.verify.cases import Case, altered, cases
from svertka.codegen.verify.fitting import derive, fitted, valid
from svertka.spec import normal_form
from svertka.spec.definition import Definition, Variant, Whole
from svertka.spec.evaluate import values_of, whole
from svertka.spec.notation import InRange, Read, Reduction

__all__ = ["aligned", "small_cases", "usual_case", "work_of"]

_DRAWS = 10
_LITTLE, _MUCH = 400, 4096  # less work is not better; each doubling above _MUCH counts as a usual parameter
_SEVERAL = 6  # elements: with two a tile, three programs of which the last has a tail
_TELLING = 6  # so many with the fewest usual parameters; the smallest of them are taken
_EXTENTS = (3, 5, 7, 9, 6, 10)  # no powers of two, odd ones first: every tile of several elements then has a tail
_OUTER = (3, 5, 7, 2)  # for examples and groups, while the work is small; else 2
_AXES_APIECE = 4  # for every so many free extents, one value may occur twice; where work is much, _OUTER's may anyway


def small_cases(definition: Definition, variant: Variant) -> tuple[Case, ...]:
    """All arguments given; all optional tensors left out, if there are some; and each alone, if there are several."""
    plain, *drawn = cases(definition, variant, _DRAWS)
    names = [symbol.name for symbol in variant.layer.parameters]

    def usual(case: Case) -> Any:
        """Number of default parameters and of extents of 1; a case with fewer tests more."""
        same = sum(case.sizes[name] == plain.sizes[name] for name in names)
        return same + len(names) * sum(case.sizes[name] == 1 for name in definition.extents)

    telling = sorted(drawn[:-1], key=lambda case: (usual(case), case.name))[:_TELLING]
    shrunk = [Case(case.name, _shrunk(definition, variant, case.sizes), frozenset()) for case in telling]

    def told(case: Case) -> tuple[bool, int, int, str]:
        """Sort key: several programs, few usual parameters, windows that pass the ends of tensors, little work."""
        work = work_of(variant, case.sizes)
        return (
            work < _SEVERAL or _steps_are_few(variant, case.sizes),
            usual(case) - _borders(variant, case) + (work // _MUCH).bit_length(),
            max(work, _LITTLE),
            case.name,
        )

    first, second = (_stepping(definition, variant, plain, case) for case in sorted(shrunk, key=told)[:2])
    optional = [tensor.name for tensor in variant.layer.inputs if tensor.default is not None]
    left_out = [frozenset(optional)] if optional else []
    left_out += [frozenset({name}) for name in optional] if len(optional) > 1 else []
    return (first, *(Case(second.name, second.sizes, absent) for absent in left_out))


def _stepping(definition: Definition, variant: Variant, plain: Case, case: Case) -> Case:
    """The case with 2 for numbers that are 1 here and by default, as far as the rules allow.

    A stride of 1 has one phase: what a kernel does with the others would not be seen.
    """
    for symbol in variant.layer.parameters:
        if symbol.is_integer and case.sizes[symbol.name] == plain.sizes[symbol.name] == 1:
            more = altered(definition, variant, case, {symbol.name: 2}, math.inf)
            several = more and all(more.sizes[name] >= min(2, case.sizes[name]) for name in definition.extents)
            if more and several and _borders(variant, more) >= _borders(variant, case):
                case = more
    return case


def usual_case(definition: Definition, variant: Variant) -> Case:
    """Parameters as they are by default, small extents, and optional tensors left out."""
    plain = next(iter(cases(definition, variant, 1)))
    optional = frozenset(tensor.name for tensor in variant.layer.inputs if tensor.default is not None)
    return Case(plain.name, _shrunk(definition, variant, plain.sizes), optional)


def aligned(
    definition: Definition, variant: Variant, case: Case, extents: Iterable[str], unit: int, last: bool = True
) -> Case:
    """The case with channels ``last``, and some extents changed to odd multiples of a unit, as far as the rules allow.

    The multiples are odd so that tiles of more than a unit have a tail.
    """
    sizes, done = dict(case.sizes), set[str]()
    for name in sorted(extents):
        trial = derive(definition, {**sizes, name: (-(-sizes[name] // unit) | 1) * unit})
        met = trial if valid(definition, variant, trial, math.inf) else None
        met = met or fitted(definition, variant, trial, random.Random(case.name), done | {name}, math.inf)
        if met is not None:
            sizes = met
            done.add(name)
    return Case(f"{case.name}-aligned{'' if last else '-rows'}", sizes, case.absent, last, boxed=True)


def _borders(variant: Variant, case: Case) -> int:
    """Number of tensor ends that a window passes by exactly one element; a bound that is off by one fails there."""
    met = 0
    for equation in normal_form(variant.layer).equations:
        for guard in equation.value.atoms(InRange):
            place, extent = guard.args
            if not place.atoms(Read):
                values = values_of(place, case.sizes)
                met += (-1 in values) + (whole(extent, case.sizes) in values)
    return met


def work_of(variant: Variant, sizes: dict[str, Any]) -> int:
    """Elements of the largest loop nest."""
    work = []
    for equation in normal_form(variant.layer).equations:
        summed = [index for reduction in equation.value.atoms(Reduction) for index in reduction.indices]
        work.append(prod(whole(index.extent, sizes) for index in (*equation.target.axes, *summed)))
    return max(work)


def _steps_are_few(variant: Variant, sizes: dict[str, Any]) -> bool:
    """Whether a scan has so few places that no tile of two is followed by another, to which something is carried.

    A maximum that is found with the sums that it shifts may, but need not, rise in a step: there are two more steps.
    """
    scans = (as_scan(equation) for equation in normal_form(variant.layer).equations)
    if any(whole(scan.index.extent, sizes) < _EXTENTS[0] for scan in scans if scan is not None):
        return True
    online = (e for e in computed(variant.layer).equations if e.target.name in rescaled(variant.layer))
    return any(prod(whole(i.extent, sizes) for i in e.value.indices) < _EXTENTS[1] for e in online)


def _shrunk(definition: Definition, variant: Variant, sizes: dict[str, Any]) -> dict[str, Any]:
    """Make extents smaller one by one, as far as the rules allow and with few equal values."""
    axes = [index for tensor in normal_form(variant.layer).tensors.values() for index in tensor.axes]
    extents = {symbol.name for index in axes for symbol in index.extent.free_symbols}
    outer = {str(index.extent) for index in axes if index.batch}
    outer |= {argument.symbol for argument in definition.arguments if isinstance(argument, Whole)}
    free = sorted(extents - set(definition.extents), key=lambda name: (name not in outer, name))
    repeats = len(free) // _AXES_APIECE
    for name in free if len(free) > 1 else ():
        for place, smaller in enumerate((*_OUTER, *_EXTENTS) if name in outer else _EXTENTS):
            others = [sizes[other] for other in free if other != name]
            trial = derive(definition, {**sizes, name: smaller})
            repeated = others.count(smaller) > repeats and not (name in outer and work_of(variant, trial) > _MUCH)
            kept = all(trial[extent] >= min(2, sizes[extent]) for extent in extents)  # one output tests no stride
            much = name in outer and place < len(_OUTER) - 1 and work_of(variant, trial) > _LITTLE
            if smaller < sizes[name] and not repeated and kept and not much and valid(definition, variant, trial):
                sizes = trial
                break
    return sizes
