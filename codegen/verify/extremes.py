"""Inputs at which exponentials overflow, the values that a formula has there, and bounds that are finite there.

Which inputs enter exponents follows from the formula's own expressions. Each of them is drawn around levels relative to
the largest number of the arithmetic: below its logarithm, where squares of exponentials overflow, and above it, with
either sign; with large differences along every axis, so that neighbouring rows have very different magnitudes and one
element is far above all others; with all elements equal; with one element that is NaN; with whole rows of -inf, and one
such element in every other row. The last is left out if an exponent is +inf there, as where a product with a negative
number enters it: then exp is infinite, and what the formula makes of that is not what shifted exponents give.

The value is that of the literal formula, in numbers with unlimited exponents (``precise``). The formula's own running
error is infinite there. The bound is that of the equations with shifted exponents, which the kernels compute. That
these equal the formula is proven on symbols (level "source") and checked at these inputs by the value.

Input: a definition, a formula, a case, a dtype. Output: ``Extreme``s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sympy import Basic, Mul, exp

from svertka.codegen.verify.bounds import bounded_values, computed
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.equivalence import Values, draw_values, held, real
from svertka.codegen.verify.precise import precise_values
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec import adjoint, normal_form
from svertka.spec.definition import Definition
from svertka.spec.evaluate import shape_of
from svertka.spec.layer import Layer, reads, walk
from svertka.spec.notation import Read
from svertka.spec.running_error import FORMATS, Bounded, RunningError

__all__ = ["Extreme", "enters_exponents", "expected_at", "extremes"]

LEVELS = (0.6, -1.2)
"""Levels as multiples of the logarithm of the largest number; at 0.6 only squares of exponentials overflow."""
APART = (1.2, 100.0)  # multiples for the distances between neighbours along an axis, in turn
ALONG = "apart along axis"
MISSING = "NaN at one place"
LOWEST = -1e30  # stands for -inf where errors are computed: its exponential is 0 for any shift


@dataclass(frozen=True)
class Extreme:
    """Inputs, and the formula's results for them.

    Attributes:
        name: for reports.
        apart: whether neighbouring rows have very different magnitudes.
        values: the inputs and gradients of the results.
        expected: outputs and gradients by name; real ones with the largest error that a kernel of the dtype may have.
    """

    name: str
    apart: bool
    values: Values
    expected: Mapping[str, Any]


def enters_exponents(layer: Layer) -> tuple[str, ...]:
    """The real inputs on which some exponential of a formula depends, in order."""
    origins: dict[str, set[str]] = {tensor.name: {tensor.name} for tensor in layer.inputs}
    found: set[str] = set()

    def reached(node: Basic) -> set[str]:
        return set().union(*(origins[read.tensor] for read in reads(node)))

    for equation in normal_form(layer).equations:
        origins[equation.target.name] = reached(equation.value)
        for node in walk(equation.value):
            if isinstance(node, exp):
                found |= reached(node)
    return tuple(t.name for t in layer.inputs if t.name in found and t.kind == "real")


def extremes(
    definition: Definition, layer: Layer, case: Case, dtype: torch.dtype, apart: bool = False
) -> Iterator[Extreme]:
    """Every arrangement of every input that enters an exponent.

    Args:
        definition: the definition of the formula.
        layer: the formula.
        case: sizes and parameters; small ones, because the values take about 10 us per operation.
        dtype: float32 or float64.
        apart: whether only rows of very different magnitudes are wanted.
    """
    names = [name for name in definition.differentiable(layer) if name not in case.absent]
    derived = adjoint(layer, wrt=names, outputs=definition.real_results(layer))
    threshold = math.log(torch.finfo(dtype).max)
    for entering in enters_exponents(layer):
        if entering in case.absent:
            continue
        plain = draw_values(definition, layer, case, real, f" {entering}")
        seeds = draw_values(definition, layer, case, _nonzero, f" {entering} gradients").gradients
        for what, arrange in _arrangements(plain.tensors[entering].dim(), threshold):
            if apart and not what.startswith(ALONG):
                continue
            tensors = {**plain.tensors, entering: arrange(plain.tensors[entering])}
            values = Values(held(tensors, (dtype,)), held(seeds, (dtype,)))
            try:
                outputs, gradients = (expected_at(equations, case, values, dtype) for equations in (layer, derived))
            except OverflowError:
                continue
            if any(isinstance(output, Bounded) and bool(output.value.isinf().any()) for output in outputs.values()):
                gradients = {name: _where_known(value) for name, value in gradients.items()}
            if what == MISSING and _is_multiplied(entering, layer):
                gradients = {name: _unless_missing(value) for name, value in gradients.items()}
            expected = outputs | gradients
            yield Extreme(f"{case.name}, {entering} {what}", what.startswith(ALONG), values, expected)


def _nonzero(draw: random.Random) -> float:
    """A number that is not 0: 0 times an exponential that the dtype does not represent would have to be 0."""
    return real(draw) or 1.0


Arrangement = Callable[[torch.Tensor], torch.Tensor]


def _arrangements(rank: int, threshold: float) -> Iterator[tuple[str, Arrangement]]:
    """Ways to change the distances between elements, each with its name."""
    for level in (threshold * part for part in LEVELS):
        yield f"around {level:.3g}", partial(_moved, level)
    for axis in range(rank):
        level = threshold * APART[axis % len(APART)]
        yield f"{ALONG} {axis} by {level:.3g}", partial(_apart, axis, level)
    yield f"all {1.2 * threshold:.3g}", partial(_equal, 1.2 * threshold)
    yield "-inf where an index is 0", partial(_without_outermost, threshold)
    yield MISSING, _with_nan


def _moved(level: float, values: torch.Tensor) -> torch.Tensor:
    return values + level


def _equal(level: float, values: torch.Tensor) -> torch.Tensor:
    return torch.full_like(values, level)


def _apart(axis: int, level: float, values: torch.Tensor) -> torch.Tensor:
    """Elements shifted by 1, -1, 0, -1, -1, 1, ... times a level along an axis: large ones lie next to small ones."""
    pattern = torch.tensor([1.0, -1.0, 0.0, -1.0, -1.0], dtype=values.dtype)
    places = pattern[torch.arange(values.shape[axis]) % len(pattern)]
    return values + level * places.reshape([-1 if dim == axis else 1 for dim in range(values.dim())])


def _without_outermost(threshold: float, values: torch.Tensor) -> torch.Tensor:
    """-inf where some index is 0: along every axis one whole row, and one element of each of the others."""
    outermost = torch.as_tensor(np.asarray((np.indices(values.shape) == 0).any(0)))
    return torch.where(outermost, -math.inf, values - threshold)


def _with_nan(values: torch.Tensor) -> torch.Tensor:
    """NaN as the last element: the rows along each axis that have it, and no others, are NaN."""
    changed = values.clone()
    changed.reshape(-1)[-1:] = math.nan
    return changed


def expected_at(layer: Layer, case: Case, values: Values, dtype: torch.dtype) -> dict[str, Any]:
    """The literal formula's values, with the bounds of the equations as computed, for one dtype.

    Raises:
        OverflowError: an exponent is +inf.
    """
    shapes = {tensor.name: shape_of(tensor, case.sizes) for tensor in layer.inputs}
    given = {name: values.all[name].reshape(shape) for name, shape in shapes.items() if name in values.all}
    exact = precise_values(layer, given, dict(case.sizes))
    finite = {name: t.nan_to_num(neginf=LOWEST) if t.is_floating_point() else t for name, t in given.items()}
    target = FORMATS[str(dtype).removeprefix("torch.")]
    bounds = bounded_values(computed(layer), finite, case.sizes, RunningError(target, Tensors()))
    return {name: _bounded(value, bounds[name], dtype) for name, value in exact.items()}


def _where_known(value: Any) -> Any:
    """A result without values where its bound is infinite: what the gradient of an infinite result is, is not said."""
    if not isinstance(value, Bounded):
        return value
    return Bounded(torch.where(value.error.isfinite(), value.value, math.nan), value.error)


def _is_multiplied(name: str, layer: Layer) -> bool:
    """Whether an input is a factor beside others: 0 times NaN is NaN, but a kernel need not visit what is left out."""
    nodes = (
        node for equation in normal_form(layer).equations for node in walk(equation.value) if isinstance(node, Mul)
    )
    factors = ([factor.tensor for factor in node.args if isinstance(factor, Read)] for node in nodes)
    return any(name in tensors and len(tensors) > 1 for tensors in factors)


def _unless_missing(value: Any) -> Any:
    """A result of whose NaN nothing is said."""
    if not isinstance(value, Bounded):
        return value
    return Bounded(value.value, torch.where(value.value.isnan(), math.inf, value.error))


def _bounded(value: torch.Tensor, bound: Any, dtype: torch.dtype) -> Any:
    """A value that may exceed the dtype's range becomes infinite."""
    if not isinstance(bound, Bounded):
        return value
    target = RunningError(FORMATS[str(dtype).removeprefix("torch.")], Tensors())
    shown = torch.where(value.abs() > torch.finfo(dtype).max, value.sign() * math.inf, value)
    return Bounded(shown, target.stored(Bounded(value, bound.error)).error)
