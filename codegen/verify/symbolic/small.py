"""Small cases to prove kernels at.

An expression costs a thousand times what a number costs, and a wrong kernel is wrong at small extents too, as long as
they differ from one another and from the tiles. So cases are drawn as for every other validation, and then shrunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from svertka.codegen.verify.cases import Case, cases
from svertka.spec import normal_form
from svertka.spec.definition import Definition, Variant, Whole
from svertka.spec.evaluate import holds, values_of, whole
from svertka.spec.notation import InRange, Read, Reduction

__all__ = ["aligned", "small_cases"]

_DRAWS = 10
_LITTLE, _MUCH = 400, 4096  # work that need not be less; whose doubles each count as a usual parameter
_TELLING = 6  # of them, those that show most; the smallest are taken
_EXTENTS = (3, 5, 7, 9, 6, 10)  # no powers of two, and odd ones first: every tile of more than one has a tail then
_OUTER = (3, 5, 7, 2)  # of examples and groups, where it is little work; else 2
_AXES_APIECE = 4  # so many free extents, and one value may come twice


def small_cases(definition: Definition, variant: Variant) -> tuple[Case, ...]:
    """Two cases: all arguments given, and optional tensors left out (one, where there are none)."""
    plain, *drawn = cases(definition, variant, _DRAWS)
    names = [symbol.name for symbol in variant.layer.parameters]

    def usual(case: Case) -> Any:
        """How many parameters have their default and how many extents are 1; the fewer, the more a case shows."""
        same = sum(case.sizes[name] == plain.sizes[name] for name in names)
        return same + len(names) * sum(case.sizes[name] == 1 for name in definition.extents)

    telling = sorted(drawn[:-1], key=lambda case: (usual(case), case.name))[:_TELLING]
    shrunk = [Case(case.name, _shrunk(definition, variant, case.sizes), frozenset()) for case in telling]

    def told(case: Case) -> tuple[int, int, str]:
        """The fewer parameters are usual, the more ends are met, the less work, the better; much work outweighs."""
        work = _work(variant, case.sizes)
        return usual(case) - _borders(variant, case) + (work // _MUCH).bit_length(), max(work, _LITTLE), case.name

    first, second = sorted(shrunk, key=told)[:2]
    optional = frozenset(tensor.name for tensor in variant.layer.inputs if tensor.default is not None)
    return (first, Case(second.name, second.sizes, optional)) if optional else (first,)


def aligned(
    definition: Definition, variant: Variant, case: Case, extents: Iterable[str], unit: int, last: bool = True
) -> Case:
    """The case, with channels ``last``, and some extents made odd multiples of a unit, as far as the rules allow.

    Odd ones, so that tiles of more than a unit have a tail.
    """
    sizes = dict(case.sizes)
    for name in sorted(extents):
        trial = _derived(definition, {**sizes, name: (-(-sizes[name] // unit) | 1) * unit})
        if _valid(definition, variant, trial):
            sizes = trial
    return Case(f"{case.name}-aligned{'' if last else '-rows'}", sizes, case.absent, last, boxed=True)


def _borders(variant: Variant, case: Case) -> int:
    """How many ends of tensors a window stands one step beyond: there a bound that is off by one shows."""
    met = 0
    for equation in normal_form(variant.layer).equations:
        for guard in equation.value.atoms(InRange):
            place, extent = guard.args
            if not place.atoms(Read):
                values = values_of(place, case.sizes)
                met += (-1 in values) + (whole(extent, case.sizes) in values)
    return met


def _work(variant: Variant, sizes: dict[str, Any]) -> int:
    """Elements of the largest loop nest."""
    work = []
    for equation in normal_form(variant.layer).equations:
        summed = [index for reduction in equation.value.atoms(Reduction) for index in reduction.indices]
        work.append(prod(whole(index.extent, sizes) for index in (*equation.target.axes, *summed)))
    return max(work)


def _shrunk(definition: Definition, variant: Variant, sizes: dict[str, Any]) -> dict[str, Any]:
    """Make extents smaller one by one, as far as the rules allow and few of them come to be equal."""
    axes = [index for tensor in normal_form(variant.layer).tensors.values() for index in tensor.axes]
    extents = {symbol.name for index in axes for symbol in index.extent.free_symbols}
    outer = {str(index.extent) for index in axes if index.batch}
    outer |= {argument.symbol for argument in definition.arguments if isinstance(argument, Whole)}
    free = sorted(extents - set(definition.extents), key=lambda name: (name not in outer, name))
    repeats = len(free) // _AXES_APIECE
    for name in free if len(free) > 1 else ():
        for place, smaller in enumerate((*_OUTER, *_EXTENTS) if name in outer else _EXTENTS):
            others = [sizes[other] for other in free if other != name]
            trial = _derived(definition, {**sizes, name: smaller})
            few = smaller < sizes[name] and others.count(smaller) <= repeats
            kept = all(trial[extent] >= min(2, sizes[extent]) for extent in extents)  # one output shows no stride
            much = name in outer and place < len(_OUTER) - 1 and _work(variant, trial) > _LITTLE
            if few and kept and not much and _valid(definition, variant, trial):
                sizes = trial
                break
    return sizes


def _derived(definition: Definition, sizes: dict[str, Any]) -> dict[str, Any]:
    """Extents that follow from others, computed anew."""
    for _ in definition.extents:
        for name, rule in definition.extents.items():
            sizes[name] = whole(rule, sizes)
    return sizes


def _valid(definition: Definition, variant: Variant, sizes: dict[str, Any]) -> bool:
    return all(holds(rule.condition, sizes) for rule in (*definition.rules, *variant.rules))
