"""Evaluate a layer over whole tensors, in values with their rounding error.

``spec.evaluate`` defines the meaning of a formula. This module computes the same for many elements at once, on the CPU
or on a GPU, so that kernels can be checked at realistic sizes. Both branches of a selection are computed; if rounding
may change a comparison, the bound covers both.

Input: a ``Layer``, tensors by name, extents and parameters, an arithmetic. Output: tensors, real ones ``Bounded``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from sympy import Basic, Expr, S
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not

from svertka.codegen.verify.sampling import Partly, at
from svertka.codegen.verify.tensor_numbers import Tensors, Truth, philox_uniform
from svertka.spec import (
    Equation,
    FloorDiv,
    Index,
    Layer,
    Read,
    Reduction,
    Select,
    Uniform,
    maximum,
    minimum,
    normal_form,
)
from svertka.spec.evaluate import whole
from svertka.spec.layer import reads
from svertka.spec.notation import Divides, InRange
from svertka.spec.rewrite import selections
from svertka.spec.running_error import Bounded, RunningError

__all__ = ["evaluate_tensors"]

LANES = 1 << 21  # elements of a loop nest that are kept at once


def evaluate_tensors(
    layer: Layer,
    tensors: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    sampled: Mapping[str, torch.Tensor] | None = None,
    rescaled: Mapping[str, Expr] | None = None,
) -> dict[str, Any]:
    """Evaluate all outputs of a layer.

    Args:
        layer: the layer.
        tensors: its inputs by name, float64 or int64, in the shapes of the formula's axes; a tensor with a default may
            be left out.
        sizes: all extents and parameters by name.
        arithmetic: a ``RunningError`` over ``Tensors``.
        sampled: outputs of which only some elements are wanted, with the positions of these elements; if all are
            sampled, intermediates are evaluated only where they are read.
        rescaled: sums of exponentials whose maximum is found in the same walk, with the weights of the exponentials.

    Returns:
        ``Bounded`` tensors for real outputs, int64 tensors for the others; sampled outputs have one axis.
    """
    device = next((tensor.device for tensor in tensors.values()), torch.device("cpu"))
    scope = _Scope(arithmetic, dict(sizes), device, rescaled or {})
    for tensor in layer.inputs:
        if tensor.name in tensors:
            given = tensors[tensor.name]
            scope.known[tensor.name] = given if tensor.kind == "integer" else arithmetic.exact(given)
        else:
            scope.defaults[tensor.name] = arithmetic.number(tensor.default)
    chosen = sampled or {}
    equations = normal_form(layer).equations
    read = _tensors_read(layer)
    partly = all(name in chosen for name in layer.outputs)
    for equation in equations:
        name = equation.target.name
        if name in read and partly and scope.is_large(equation):
            scope.known[name] = scope.later(equation)
        else:
            scope.known[name] = scope.run(equation, None if name in read else chosen.get(name))
    for name, places in chosen.items():
        if name in read:
            known = scope.known[name]
            scope.known[name] = known.read(places) if isinstance(known, Partly) else at(known, places)
    return {name: scope.known[name] for name in layer.outputs}


@lru_cache(maxsize=64)
def _tensors_read(layer: Layer) -> frozenset[str]:
    return frozenset(read.tensor for equation in normal_form(layer).equations for read in reads(equation.value))


class _Scope:
    """Values known so far."""

    def __init__(
        self, arithmetic: RunningError, sizes: dict[str, Any], device: torch.device, rescaled: Mapping[str, Expr]
    ) -> None:
        self.arithmetic, self.sizes, self.device, self.rescaled = arithmetic, sizes, device, rescaled
        self.known: dict[str, Any] = {}
        self.defaults: dict[str, Bounded] = {}

    def run(self, equation: Equation, chosen: torch.Tensor | None = None) -> Any:
        """All elements of an equation's target, or those at the chosen positions, some lanes at a time."""
        shape = [self._extent(index) for index in equation.target.axes]
        reduction = equation.value if isinstance(equation.value, Reduction) else None
        summed = list(reduction.indices) if reduction is not None else []
        inner = [self._extent(index) for index in summed]
        depth = math.prod(inner)
        total = math.prod(shape) if chosen is None else len(chosen)
        step = max(LANES // max(depth, 1), 1)
        parts = []
        for start in range(0, max(total, 1), step):
            every = torch.arange(start, min(start + step, total), device=self.device)
            lanes = every if chosen is None else chosen[every]
            here = dict(_places(equation.target.axes, shape, lanes[:, None]))
            here |= dict(_places(summed, inner, torch.arange(depth, device=self.device)[None, :]))
            chunk = _Chunk(self, here, len(lanes), depth)
            weight = self.rescaled.get(equation.target.name)
            parts.append(chunk.reduced(reduction, weight) if reduction is not None else chunk.mapped(equation))
        shape = shape if chosen is None else [total]
        if isinstance(parts[0], Bounded):
            value, error = (torch.cat([getattr(part, name) for part in parts]) for name in ("value", "error"))
            return Bounded(value.reshape(shape), error.reshape(shape))
        return torch.cat(parts).reshape(shape)

    def later(self, equation: Equation) -> Partly:
        """An equation's target whose elements are computed when they are read."""
        shape = [self._extent(index) for index in equation.target.axes]
        return Partly(shape, lambda places: self.run(equation, places), self.device)

    def is_large(self, equation: Equation) -> bool:
        """Whether the loops of an equation, or of one that it reads, have more elements than are evaluated at once."""
        summed = equation.value.indices if isinstance(equation.value, Reduction) else ()
        if math.prod(self._extent(index) for index in (*equation.target.axes, *summed)) > LANES:
            return True
        return any(isinstance(self.known.get(one.tensor), Partly) for one in reads(equation.value))

    def _extent(self, index: Index) -> int:
        return whole(index.extent, self.sizes)


def _places(indices: Any, extents: list[int], lanes: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Value of each index in every lane; the last index varies fastest."""
    for index, extent in zip(reversed(indices), reversed(extents), strict=True):
        yield index.name, lanes % max(extent, 1)
        lanes = lanes // max(extent, 1)


@dataclass
class _Chunk:
    """Some lanes of an equation: (results, elements of the reduction)."""

    scope: _Scope
    here: dict[str, torch.Tensor]
    results: int
    depth: int

    def __post_init__(self) -> None:
        self.arithmetic = self.scope.arithmetic
        self._integers: dict[Expr, Any] = {}
        self._reals: dict[Expr, Bounded] = {}

    def _spread(self, value: Any) -> torch.Tensor:
        tensor = torch.as_tensor(value, device=self.scope.device)
        return tensor.expand(self.results, self.depth)

    def mapped(self, equation: Equation) -> Any:
        """Results of an equation without reduction."""
        if equation.target.kind == "integer":
            return self._spread(self.integer(equation.value))[:, 0].clone()
        value = self.real(equation.value)
        return Bounded(*(self._spread(part).double()[:, 0].clone() for part in (value.value, value.error)))

    def reduced(self, node: Reduction, weight: Expr | None = None) -> Any:
        """Results of a reduction; a sum with a weight is one of exponentials whose maximum is found with it."""
        member = self._spread(self.truth(node.guard).value)
        body = self.real(node.body)
        value, error = (self._spread(part).double() for part in (body.value, body.error))
        if node.operation == "sum":
            zero = torch.zeros((), dtype=torch.float64, device=self.scope.device)
            value, error = torch.where(member, value, zero), torch.where(member, error, zero)
            sizes = (value.abs() + error).sum(1)
            known = value.sum(1), error.sum(1), sizes, member.sum(1)
            if weight is None:
                return _full(self.arithmetic.summed(*known, self.arithmetic.addition))
            weights = torch.where(member, self._spread(self.real(weight).size).double(), zero).sum(1)
            return _full(self.arithmetic.rescaled(*known, weights))
        if node.operation == "product":
            one, none = torch.ones_like(value[:1, :1]), torch.zeros_like(error[:1, :1])
            value, error = torch.where(member, value, one), torch.where(member, error, none)
            factors = [Bounded(value[:, place], error[:, place]) for place in range(self.depth)]
            lanes = torch.ones(self.results, dtype=torch.float64, device=self.scope.device)
            return _full(self.arithmetic.product([Bounded(lanes, 0.0 * lanes), *factors]))
        return self._extreme(node, member, value, error)

    def _extreme(self, node: Reduction, member: torch.Tensor, value: torch.Tensor, error: torch.Tensor) -> Any:
        """Largest element, or its position: the first of equals, the last NaN; NaN is largest, nothing gives -inf."""
        if self.depth == 0:
            nothing = torch.full((self.results,), -math.inf, dtype=torch.float64, device=self.scope.device)
            return (
                Bounded(nothing, torch.zeros_like(nothing))
                if node.operation == "max"
                else torch.zeros_like(nothing).long()
            )
        shown = torch.where(member, value, -math.inf)
        largest = shown.amax(1)  # propagates NaN
        if node.operation == "max":
            return Bounded(largest, torch.where(member, error, 0.0).amax(1))
        best, places = member & (shown == largest[:, None]), torch.arange(self.depth, device=self.scope.device)
        place = torch.where(best, places, self.depth).amin(1)
        last = torch.where(shown.isnan(), places, -1).amax(1)
        return torch.where(last >= 0, last, torch.where(place < self.depth, place, 0))

    # Expressions ----------------------------------------------------------------------------------------------------

    def integer(self, node: Expr) -> Any:
        """An integer expression: a number or an int64 tensor."""
        if node not in self._integers:
            self._integers[node] = self._integer(node)
        return self._integers[node]

    def _integer(self, node: Expr) -> Any:
        if isinstance(node, Index):
            return self.here[node.name]
        if node.is_Integer:
            return int(node)
        if node.is_Symbol:
            return int(self.scope.sizes[node.name])
        if isinstance(node, Read):
            known = self.scope.known[node.tensor]
            return (
                known.read(self._place(known.shape, node)) if isinstance(known, Partly) else self._gathered(known, node)
            )
        if isinstance(node, Select):
            return torch.where(self.truth(node.args[0]).value, *map(self.integer, node.args[1:]))
        parts = [self.integer(part) for part in node.args]
        if node.is_Add:
            return sum(parts[1:], parts[0])
        if node.is_Mul:
            return math.prod(parts[1:], start=parts[0])
        if isinstance(node, FloorDiv):
            return parts[0] // parts[1]
        if isinstance(node, maximum | minimum):
            larger, smaller = Tensors().larger(*parts), -Tensors().larger(*(-part for part in parts))
            return larger if isinstance(node, maximum) else smaller
        if node.is_Pow:
            return parts[0] ** parts[1]
        raise TypeError(
            f"index expression {node}: {type(node).__name__} is not supported; use +, *, FloorDiv, Select and reads"
        )

    def _gathered(self, array: torch.Tensor, node: Read) -> torch.Tensor:
        """Elements of an array; a position outside, which a guard excludes, gives an arbitrary element."""
        if array.numel() == 0:
            return torch.zeros((), dtype=array.dtype, device=array.device)
        return array.reshape(-1)[self._place(array.shape, node)]

    def _place(self, shape: Sequence[int], node: Read) -> torch.Tensor:
        place: Any = 0
        for part, extent in zip(node.indices, shape, strict=True):
            place = place * extent + self.integer(part)
        return torch.as_tensor(place, device=self.scope.device).clamp(0, math.prod(shape) - 1)

    def real(self, node: Expr) -> Bounded:
        """A real expression."""
        if node not in self._reals:
            self._reals[node] = self._real(node)
        return self._reals[node]

    def _real(self, node: Expr) -> Bounded:
        arithmetic = self.arithmetic
        if isinstance(node, Read) and node.args[1].name == "real":
            if node.tensor in self.scope.defaults:
                return self.scope.defaults[node.tensor]
            array = self.scope.known[node.tensor]
            if isinstance(array, Partly):
                found: Bounded = array.read(self._place(array.shape, node))
                return found
            exact = not isinstance(array.error, torch.Tensor)
            return Bounded(self._gathered(array.value, node), 0.0 if exact else self._gathered(array.error, node))
        if isinstance(node, Uniform):
            return arithmetic.exact(philox_uniform(self.integer(node.args[0]), self.integer(node.args[1])))
        if node.is_Number or node.is_NumberSymbol:
            return arithmetic.number(node)
        if node.is_Symbol and not isinstance(node, Index):
            return arithmetic.number(self.scope.sizes[node.name])
        if node.is_integer and isinstance(node, Index | Read | FloorDiv):
            return arithmetic.exact(torch.as_tensor(self.integer(node), device=self.scope.device).double())
        if isinstance(node, Select):
            return self._selected(self.truth(node.args[0]), self.real(node.args[1]), self.real(node.args[2]))
        if node.is_Mul:
            return self._product(node)
        return self._operation(node, [self.real(part) for part in node.args])

    def _product(self, node: Expr) -> Bounded:
        """A product; if a selecting factor is 0, the other factors do not count."""
        arithmetic = self.arithmetic
        selecting, others = selections(node)
        zero = arithmetic.number(S.Zero)
        result = arithmetic.multiply(*map(self.real, others)) if others else arithmetic.number(S.One)
        for factor in selecting:
            sides = (result, zero) if factor.args[1] == 1 else (zero, result)
            result = self._selected(self.truth(factor.args[0]), *sides)
        return result

    def _selected(self, truth: Truth, if_true: Bounded, if_false: Bounded) -> Bounded:
        numbers = self.arithmetic.numbers
        value = numbers.choose(truth.value, if_true.value, if_false.value)
        error = numbers.choose(truth.value, if_true.error, if_false.error)
        if truth.certain:
            return Bounded(value, error)
        spans = [abs(side.value - value) + side.error for side in (if_true, if_false)]
        either = numbers.larger(*spans)
        either = numbers.choose(either != either, math.inf, either)
        return Bounded(value, numbers.choose(truth.doubt, either, error))

    def _operation(self, node: Expr, parts: list[Bounded]) -> Bounded:
        arithmetic, name = self.arithmetic, type(node).__name__
        if node.is_Add:
            return arithmetic.add(*parts)
        if node.is_Pow:
            return (arithmetic.power if node.exp.is_Number else arithmetic.power_of_any)(*parts)
        if name in ("maximum", "minimum"):
            numbers, sign = arithmetic.numbers, 1 if name == "maximum" else -1
            value = sign * numbers.larger(sign * parts[0].value, sign * parts[1].value)
            return Bounded(value, numbers.larger(parts[0].error, parts[1].error))
        if len(parts) == 1:
            return arithmetic.function(name, parts[0])
        raise TypeError(f"expression {node}: {name} is not supported in a formula")

    # Conditions -----------------------------------------------------------------------------------------------------

    def truth(self, node: Basic) -> Truth:
        """A condition."""
        if isinstance(node, BooleanTrue | BooleanFalse):
            return Truth(torch.tensor(bool(node), device=self.scope.device))
        if isinstance(node, InRange):
            place, extent = self.integer(node.args[0]), self.integer(node.args[1])
            return Truth(self._condition(place >= 0) & self._condition(place < extent))
        if isinstance(node, Divides):
            divisor, number = self.integer(node.args[0]), self.integer(node.args[1])
            return Truth(self._condition(number % divisor == 0))
        if isinstance(node, Not):
            return ~self.truth(node.args[0])
        parts = [self.truth(part) for part in node.args] if not getattr(node, "rel_op", None) else []
        if parts:
            return Truth.every(parts) if isinstance(node, And) else ~Truth.every([~part for part in parts])
        return self._comparison(node)

    def _condition(self, value: Any) -> torch.Tensor:
        return torch.as_tensor(value, device=self.scope.device)

    def _comparison(self, node: Basic) -> Truth:
        relation = node.rel_op
        if all(side.is_integer for side in node.args):
            left, right = (self.integer(side) for side in node.args)
            return Truth(self._condition(Tensors.RELATIONS[relation](left, right)))
        left, right = (self.real(side) for side in node.args)
        value = self._condition(Tensors.RELATIONS[relation](left.value, right.value))
        errors = left.error + right.error
        if not isinstance(errors, torch.Tensor) and errors == 0:
            return Truth(value)
        close = self._condition(abs(left.value - right.value) <= errors) & self._condition(errors > 0)
        return Truth(value, close)


def _full(bounded: Bounded) -> Bounded:
    return Bounded(bounded.value, torch.as_tensor(bounded.error, device=bounded.value.device).expand_as(bounded.value))
