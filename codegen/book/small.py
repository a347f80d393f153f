"""A small call of a definition without an example: smallest extents that its rules allow, whole numbers.

Input: a ``Definition``. Output: a ``Call``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import count, islice
from math import prod
from typing import Any

from svertka.codegen.ir.loop_patterns import extent_names
from svertka.codegen.verify.cases import cases, within
from svertka.spec import normal_form
from svertka.spec.binding import Call
from svertka.spec.definition import Definition, Variant, Whole
from svertka.spec.evaluate import Array, holds, whole
from svertka.spec.notation import Tensor
from svertka.spec.slides import A

__all__ = ["small_call"]

NUMBERS = tuple(element for row in A for element in row)
SMALL = {1: (6,), 2: (4, 3)}  # extents to try, by the number of free ones
SMALLEST = (2, 3, 4)


def small_call(definition: Definition, positive: bool = False) -> Call:
    """A call of a definition's first formula.

    Args:
        definition: the definition.
        positive: whether all numbers are above 0, for formulas with roots and logarithms.
    """
    variant = definition.variants[0]
    sizes = _shrunk(definition, variant)
    call = Call(variant, sizes=sizes)
    for place, tensor in enumerate(variant.layer.inputs):
        call.arrays[tensor.name] = _filled(definition, tensor, sizes, place, positive)
    for tensor in variant.layer.tensors.values():
        call.shapes |= {i.name: (whole(i.extent, sizes),) for i in tensor.axes if i.many}
    return call


def _shrunk(definition: Definition, variant: Variant) -> dict[str, Any]:
    """Usual parameters, and the smallest extents for which a result still has more than one element."""
    layer = normal_form(variant.layer)
    axes = {str(index.extent): index for tensor in layer.tensors.values() for index in tensor.axes}
    single = {name for name, index in axes.items() if index.batch}
    single |= {argument.symbol for argument in definition.arguments if isinstance(argument, Whole)} & set(axes)
    sizes = dict(next(cases(definition, variant, 2)).sizes)
    least = {name: min(sizes[name], 2) for name in definition.extents if name in extent_names(variant.layer)}
    free = sorted(extent_names(layer) - set(definition.extents))
    small = SMALL.get(len(free), SMALLEST)
    for name in free:
        for extent in (1, *small) if name in single and len(free) > 1 else small:
            trial = _derived(definition, {**sizes, name: extent})
            if _valid(definition, variant, trial, least):
                sizes = trial
                break
    return sizes


def _derived(definition: Definition, sizes: dict[str, Any]) -> dict[str, Any]:
    """Extents that follow from others, computed again."""
    for _ in definition.extents:
        for name, rule in definition.extents.items():
            sizes[name] = whole(rule, sizes)
    return sizes


def _valid(definition: Definition, variant: Variant, sizes: Mapping[str, Any], least: Mapping[str, int]) -> bool:
    kept = all(sizes[name] >= extent for name, extent in least.items())
    return kept and all(holds(rule.condition, sizes) for rule in (*definition.rules, *variant.rules))


def _filled(definition: Definition, tensor: Tensor, sizes: Mapping[str, Any], place: int, positive: bool) -> Array:
    """The lecture's numbers within the tensor's bounds, with another start for each; labels count up below theirs."""
    shape = tuple(whole(index.extent, sizes) for index in tensor.axes)
    bounds = {a.bound: a.labels_below for a in definition.tensor_arguments}
    if tensor.kind == "integer":
        below = int(sizes[bounds[tensor.name]]) if bounds.get(tensor.name) else 2
        return Array(shape, [number % below for number in islice(count(1), prod(shape))])
    numbers = [NUMBERS[(5 * place + n) % len(NUMBERS)] for n in range(prod(shape))]
    if tensor.above is not None or tensor.below is not None:
        return Array(shape, [Fraction(within(tensor, number)) for number in numbers])
    return Array(shape, [abs(number) + 1 for number in numbers] if positive else numbers)
