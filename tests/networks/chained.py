"""A network's values, with bounds of the difference to any rounded run of it.

The network itself runs in float64, and every operator that it calls is evaluated from its formula with running error.
The errors are passed from layer to layer: they are stored beside the tensors and found by the tensors' memory, so that
views keep them. Nothing here depends on a layer. Sums of products of two tensors, of which full-size networks have too
many for separate evaluation, are bounded by the same formulas at once, with ``einsum``.

Input: a network, images, formats. Output: ``Bounded`` tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from sympy import Expr, lambdify
from torch import nn

from svertka.codegen.verify.tensor_evaluate import evaluate_tensors
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.generated.runtime import Operator
from svertka.spec import FORMATS, Index, Layer, Read, Reduction, normal_form
from svertka.spec.evaluate import shape_of, whole
from svertka.spec.layer import Equation, reads
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import InRange
from svertka.spec.rewrite import conditions
from svertka.spec.running_error import Bounded, Format, RunningError

__all__ = ["CarriedError", "bounded", "evaluate_carrying", "on_the_host"]

EXACT = torch.zeros((), dtype=torch.float64)


def on_the_host(dtype: torch.dtype) -> Format:
    """The CPU path: float64 between load and store."""
    double = FORMATS["float64"]
    storage = FORMATS[str(dtype).removeprefix("torch.")]
    return replace(storage, compute=double.compute, compute_tiny=double.compute_tiny)


def bounded(network: nn.Module, images: torch.Tensor, target: Format) -> Bounded:
    """The network's scores by its formulas, and the largest difference of a run in a format.

    Args:
        network: in float64, with parameters that the format represents.
        images: in float64, with values that the format represents.
        target: storage and arithmetic.
    """
    run = _Run(target)
    for tensor in (*network.parameters(), *network.buffers(), images):
        run.know(tensor, EXACT)
    with torch.no_grad(), patch.object(Operator, "forward", run.as_method()):
        scores = network(images)
    return Bounded(scores, run.error_of(scores))


class CarriedError(RunningError):
    """Running error in which stored inputs have the errors of their computation."""

    def __init__(self, target: Format) -> None:
        super().__init__(target, Tensors())
        self.carried: dict[int, Bounded] = {}

    def holding(self, values: Mapping[str, Bounded]) -> dict[str, torch.Tensor]:
        """The values of bounded tensors, whose errors are recorded."""
        self.carried = {id(bounded.value): bounded for bounded in values.values()}
        return {name: bounded.value for name, bounded in values.items()}

    def exact(self, value: Any) -> Bounded:
        """A stored input, with its error."""
        return self.carried.get(id(value), super().exact(value))


class _Run:
    """The run of a network: the known errors of its tensors, by their memory."""

    def __init__(self, target: Format) -> None:
        self.arithmetic = CarriedError(target)
        self.known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # keeps tensors alive, so no memory is reused

    def know(self, tensor: torch.Tensor, error: torch.Tensor) -> None:
        self.known[tensor.data_ptr()] = tensor, error

    def error_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The error of a tensor or of a view of it.

        Raises:
            KeyError: the tensor is the result of an operation without a formula, so its error is unknown.
        """
        whole_tensor, error = self.known[tensor.data_ptr()]
        assert tensor.is_contiguous()
        assert tensor.numel() == whole_tensor.numel()
        return error.expand(whole_tensor.shape).reshape(tensor.shape)

    def as_method(self) -> Any:
        """The replacement of ``Operator.forward``."""

        def forward(
            operator: Operator, tensors: Sequence[torch.Tensor | None], symbols: Any, save: bool, skipped: Any = ()
        ) -> tuple[torch.Tensor | None, ...]:
            return tuple(self.outputs(operator, tensors, symbols, skipped))

        return forward

    def outputs(
        self, operator: Operator, tensors: Sequence[torch.Tensor | None], symbols: Any, skipped: Sequence[str]
    ) -> Iterator[torch.Tensor | None]:
        definition, name = operator.kernels
        layer = next(v.layer for v in DEFINITIONS[definition].variants if v.layer.name == name)
        wanted = tuple(name for name in layer.outputs if name not in skipped)
        named = dict(zip(operator.tensors, tensors, strict=True))
        given = {name: Bounded(t, self.error_of(t)) for name, t in named.items() if t is not None}
        sizes = {**symbols, **_extents(layer, given, symbols)}
        found = evaluate_carrying(layer.only(wanted), given, sizes, self.arithmetic)
        for name in layer.outputs:
            if name in skipped:
                yield None
                continue
            dims = layer.tensors[name].dims
            shape = [math.prod(whole(index.extent, sizes) for index in dim) for dim in dims]
            stored = self.arithmetic.stored(found[name])
            value = stored.value.reshape(shape).contiguous()
            self.know(value, stored.error.reshape(shape))
            yield value


def _extents(layer: Layer, given: Mapping[str, Bounded], symbols: Mapping[str, Any]) -> dict[str, int]:
    """Extents from shapes; of several axes in one dimension all except one are known by then."""
    sizes = {name: value for name, value in symbols.items() if isinstance(value, int)}
    dims = [
        (dim, extent)
        for tensor in layer.inputs
        if tensor.name in given
        for dim, extent in zip(tensor.dims, given[tensor.name].value.shape, strict=True)
    ]
    for dim, extent in sorted(dims, key=lambda pair: len(pair[0])):
        unknown = [str(index.extent) for index in dim if str(index.extent) not in sizes]
        known = math.prod(sizes[str(index.extent)] for index in dim if str(index.extent) in sizes)
        if unknown:
            (name,) = unknown
            sizes[name] = extent // known
    return sizes


def evaluate_carrying(
    layer: Layer, given: Mapping[str, Bounded], sizes: Mapping[str, Any], arithmetic: CarriedError
) -> dict[str, Bounded]:
    """Evaluate a layer equation by equation from inputs with errors.

    Args:
        layer: the layer; its outputs are real.
        given: its inputs by name, in any shape with as many elements.
        sizes: extents and parameters.
        arithmetic: the formats.
    """
    normal = normal_form(layer)
    known: dict[str, Bounded] = {}
    for tensor in layer.inputs:
        if tensor.name in given:
            shape, one = shape_of(tensor, sizes), given[tensor.name]
            known[tensor.name] = Bounded(one.value.reshape(shape), one.error.reshape(shape))
    for equation in normal.equations:
        known[equation.target.name] = _contracted(equation, known, sizes, arithmetic) or _literally(
            normal, equation, known, sizes, arithmetic
        )
    return {name: known[name] for name in layer.outputs}


def _literally(
    layer: Layer, equation: Equation, known: Mapping[str, Bounded], sizes: Mapping[str, Any], arithmetic: CarriedError
) -> Bounded:
    """One equation, element by element."""
    read = {tensor.tensor for tensor in reads(equation.value)}
    inputs = tuple(tensor for tensor in layer.tensors.values() if tensor.name in read)
    alone = Layer(layer.name, inputs, (equation,), (equation.target.name,))
    held = arithmetic.holding({name: known[name] for name in known if name in read})
    # For an equation without inputs, any tensor gives the device.
    tensors = held or {"": next(iter(known.values())).value}
    found = evaluate_tensors(alone, tensors, sizes, arithmetic)
    result: Bounded = found[equation.target.name]
    return result


def _contracted(
    equation: Equation, known: Mapping[str, Bounded], sizes: Mapping[str, Any], arithmetic: CarriedError
) -> Bounded | None:
    """A sum of products of two tensors, bounded as in ``RunningError``; None if the equation is none."""
    node = equation.value
    if not (isinstance(node, Reduction) and node.operation == "sum" and node.body.is_Mul):
        return None
    if len(node.body.args) != 2 or not all(isinstance(f, Read) and f.tensor in known for f in node.body.args):
        return None
    operands = [_Operand(factor, known[factor.tensor]) for factor in node.body.args]
    for condition in conditions(node.guard):
        taker = next((o for o in operands if condition.atoms(Index) <= o.indices), None)
        if not isinstance(condition, InRange) or taker is None:
            return None
        taker.guards.append(condition)
    letters: dict[str, str] = {}
    terms = [operand.spread(sizes, letters) for operand in operands]
    form = ",".join(text for text, _ in terms) + "->" + "".join(letters[i.name] for i in equation.target.axes)
    count = math.prod(whole(index.extent, sizes) for index in node.indices)
    return _sum_of_products(form, terms[0][1], terms[1][1], count, arithmetic)


def _sum_of_products(form: str, left: Bounded, right: Bounded, count: int, arithmetic: CarriedError) -> Bounded:
    """``RunningError.multiply`` and ``RunningError.summed``, with the sums computed first."""
    assert not arithmetic.format.factor, "factors are taken as they are"
    sizes = torch.einsum(form, left.value.abs(), right.value.abs())
    carried = torch.zeros_like(sizes)
    if bool(right.error.any()):
        carried = carried + torch.einsum(form, left.value.abs(), right.error)
    if bool(left.error.any()):
        carried = carried + torch.einsum(form, left.error, right.size)
    smallest = arithmetic.format.compute_tiny * arithmetic.format.compute
    errors = carried + arithmetic.unit * (sizes + carried) + count * smallest
    value = torch.einsum(form, left.value, right.value)
    return arithmetic.summed(value, errors, sizes + errors, count, arithmetic.addition)


class _Operand:
    """A factor of a sum of products, and the conditions under which it counts."""

    def __init__(self, read: Read, tensor: Bounded) -> None:
        self.read, self.tensor = read, tensor
        self.indices: set[Index] = read.atoms(Index)
        self.guards: list[InRange] = []

    def spread(self, sizes: Mapping[str, Any], letters: dict[str, str]) -> tuple[str, Bounded]:
        """Its elements along the indices on which it depends, and letters for these."""
        names = [place.name for place in self.read.indices if isinstance(place, Index)]
        plain = len(names) == len(self.read.indices) == len(set(names)) and not self.guards
        indices = list(self.read.indices) if plain else sorted(self.indices, key=lambda index: index.name)
        for index in indices:
            letters.setdefault(index.name, chr(ord("a") + len(letters)))
        text = "".join(letters[index.name] for index in indices)
        return text, self.tensor if plain else self._gathered(indices, sizes)

    def _gathered(self, indices: Sequence[Index], sizes: Mapping[str, Any]) -> Bounded:
        extents = [whole(index.extent, sizes) for index in indices]
        grid = {
            index.name: torch.arange(extent).reshape([-1 if one is index else 1 for one in indices])
            for index, extent in zip(indices, extents, strict=True)
        }
        place: Any = 0
        for part, extent in zip(self.read.indices, self.tensor.value.shape, strict=True):
            place = place * extent + _along(part, grid, sizes).clamp(0, extent - 1)
        member = torch.ones((), dtype=torch.bool)
        for guard in self.guards:
            here = _along(guard.args[0], grid, sizes)
            member = member & (here >= 0) & (here < whole(guard.args[1], sizes))
        place, member = place.expand(extents), member.expand(extents)
        value, error = (part.reshape(-1)[place] for part in (self.tensor.value, self.tensor.error))
        return Bounded(torch.where(member, value, 0.0), torch.where(member, error, 0.0))


def _along(expression: Expr, grid: Mapping[str, torch.Tensor], sizes: Mapping[str, Any]) -> torch.Tensor:
    """An index expression over a grid of its indices."""
    symbols = sorted(expression.free_symbols, key=str)
    known = [grid[s.name] if isinstance(s, Index) else sizes[s.name] for s in symbols]
    return torch.as_tensor(lambdify(symbols, expression, "math")(*known))
