"""Sizes that a definition's rules allow: which rules sizes break, and other sizes that break none.

Rules that most draws break, as that two extents are equal or that their product is a number, are met by moving symbols:
again and again one of the symbols of a broken rule gets the value with which the fewest rules are broken.

Input: a ``Definition``, one of its variants, extents and parameters by name. Output: broken ``Rule``s; other sizes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from math import prod
from typing import Any

from sympy import Basic, Symbol

from svertka.codegen.ir.loop_patterns import constant_extents, extent_names
from svertka.spec import normal_form
from svertka.spec.definition import Argument, Definition, Flag, Padding, PerAxis, Real, Rule, Variant, Whole
from svertka.spec.evaluate import holds, whole
from svertka.spec.layer import Layer

__all__ = [
    "broken",
    "derive",
    "extents_of_formula",
    "fitted",
    "known_symbols",
    "shrunk",
    "sixteenths",
    "small_extents",
    "valid",
]

LARGEST = 4096  # elements of a tensor, and of the input of one result's reduction
MOVES = 40
EXTENTS, SMALL_EXTENTS, PARAMETERS = 24, 6, 6  # values that are tried for an extent, a window's, a whole parameter


def derive(definition: Definition, sizes: dict[str, Any]) -> dict[str, Any]:
    """Compute the extents that follow from others, in place."""
    for _ in definition.extents:
        for name, rule in definition.extents.items():
            if _names_in(rule) <= sizes.keys():
                sizes[name] = whole(rule, sizes)
    return sizes


@lru_cache(maxsize=1024)
def _names_in(expression: Basic) -> frozenset[str]:
    return frozenset(symbol.name for symbol in expression.free_symbols)


@lru_cache(maxsize=64)
def extents_of_formula(layer: Layer) -> tuple[str, ...]:
    """Names of all extents of a formula, sorted."""
    return tuple(sorted(extent_names(normal_form(layer))))


@lru_cache(maxsize=64)
def small_extents(layer: Layer) -> frozenset[str]:
    """Names of the extents that are constants of kernels, as those of windows."""
    return frozenset(constant_extents(normal_form(layer)))


def known_symbols(definition: Definition, variant: Variant) -> set[str]:
    """Extents and parameters that occur in a formula or in what follows from its extents."""
    parameters = (symbol.name for symbol in variant.layer.parameters)
    behind = (name for extent in definition.extents.values() for name in _names_in(extent))
    return {*extents_of_formula(variant.layer), *definition.extents, *parameters, *behind}


def valid(definition: Definition, variant: Variant, sizes: Mapping[str, Any], most: float = LARGEST) -> bool:
    """Whether sizes break no rule, and no tensor is empty or has more elements than ``most``."""
    return _possible(variant, sizes, most) and not broken(definition, variant, sizes)


def _possible(variant: Variant, sizes: Mapping[str, Any], most: float) -> bool:
    if any(sizes[name] < 1 for name in extents_of_formula(variant.layer)):
        return False
    return _elements(variant, sizes) <= most


def _elements(variant: Variant, sizes: Mapping[str, Any]) -> int:
    """Elements of the largest tensor."""
    tensors = normal_form(variant.layer).tensors.values()
    return max(prod(_extent(axis.extent, sizes) for axis in tensor.axes) for tensor in tensors)


def _extent(extent: Any, sizes: Mapping[str, Any]) -> int:
    return int(sizes[extent.name]) if isinstance(extent, Symbol) else whole(extent, sizes)


def shrunk(definition: Definition, variant: Variant, sizes: Mapping[str, Any], most: float = LARGEST) -> dict[str, Any]:
    """Sizes whose tensors have at most so many elements: the largest extent is lowered, again and again.

    It becomes the smallest number from 2 that no other extent has, if there is a smaller one: extents stay different.
    Of an extent of 1 nothing is summed, so that a kernel's loop over it would not be tested.
    """
    here = dict(sizes)
    free = [name for name in extents_of_formula(variant.layer) if name not in definition.extents]
    while _elements(variant, here) > most and any(here[name] > 2 for name in free):
        largest = max(free, key=lambda name: here[name])
        unused = (number for number in range(2, here[largest]) if number not in {here[name] for name in free})
        here = derive(definition, {**here, largest: next(unused, here[largest] - 1)})
    return here


def broken(definition: Definition, variant: Variant, sizes: Mapping[str, Any]) -> list[Rule]:
    """The rules that sizes break; one of them that names what the formula does not have is broken by all sizes."""
    known, found = known_symbols(definition, variant), []
    for rule in (*definition.rules, *variant.rules):
        names = _names_in(rule.condition)
        if names & known and (names - set(sizes) or not holds(rule.condition, sizes)):
            found.append(rule)
    return found


def fitted(
    definition: Definition,
    variant: Variant,
    sizes: Mapping[str, Any],
    draw: random.Random,
    fixed: Set[str] = frozenset(),
    most: float = LARGEST,
) -> dict[str, Any] | None:
    """Sizes that break no rule, by moving symbols of broken rules; None if no way there is found.

    Args:
        definition: the definition.
        variant: one of its formulas.
        sizes: where to start.
        draw: decides between values that are equally good.
        fixed: symbols that keep their values.
        most: elements that a tensor may have.
    """
    here = dict(sizes)
    for _ in range(MOVES):
        rules = broken(definition, variant, here)
        if not rules:
            return here if _possible(variant, here, most) else None
        moves = [
            trial
            for name in _movable(definition, draw.choice(rules), fixed)
            for value in _values(definition, variant, name, here)
            if value != here.get(name) and _possible(variant, trial := derive(definition, {**here, name: value}), most)
        ]
        if not moves:
            return None
        counts = [len(broken(definition, variant, trial)) for trial in moves]
        here = draw.choice([trial for trial, count in zip(moves, counts, strict=True) if count == min(counts)])
    return None


def _movable(definition: Definition, rule: Rule, fixed: Set[str]) -> list[str]:
    """Symbols on which a rule depends, also through extents that follow from others."""
    names = _names_in(rule.condition)
    while derived := sorted(names & {*definition.extents}):
        names = (names - {*derived}) | {one for name in derived for one in _names_in(definition.extents[name])}
    return sorted(names - fixed)


def _values(definition: Definition, variant: Variant, name: str, sizes: Mapping[str, Any]) -> Sequence[Any]:
    """Values to try for a symbol; for an extent also the values of the others."""
    argument = next((a for a in definition.arguments if name in _bound(a)), None)
    extents = extents_of_formula(variant.layer)
    if name in extents:
        most = SMALL_EXTENTS if name in small_extents(variant.layer) else EXTENTS
        return sorted({*range(1, 1 + most), *(int(sizes[other]) for other in extents)})
    if isinstance(argument, Real):
        return sixteenths(argument)
    if isinstance(argument, Flag):
        return (0, 1)
    low = argument.minimum or 0 if isinstance(argument, Whole | PerAxis) else 0
    return range(low, low + PARAMETERS)


def _bound(argument: Argument) -> tuple[str, ...]:
    """Symbols that an argument binds."""
    if isinstance(argument, Padding):
        return (*argument.low, *argument.high)
    return getattr(argument, "symbols", ()) or (getattr(argument, "symbol", ""),)


def sixteenths(argument: Real) -> list[float]:
    """Multiples of 1/16 within the bounds; with a tiny default a missing term would not be noticed."""
    low = 0.0 if argument.low is None else argument.low
    high = low + 2.0 if argument.high is None else argument.high
    return [low + (high - low) * step / 16 for step in range(1, 16)]
