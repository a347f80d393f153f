"""Check a call at the size at which it is timed: against the formula in float64, within its running error.

Elements are drawn at random where the formula's loops are too many to evaluate; reductions that others read are
evaluated whole.

Input: a workload, svertka's road and tensors. Output: what is wrong.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from svertka.codegen.bench.workload import TF32, Road, Workload
from svertka.codegen.bounds import bounded_values
from svertka.codegen.tensor_numbers import Tensors
from svertka.spec import FORMATS, Layer, RunningError, adjoint, gradient_name
from svertka.spec.definition import Definition
from svertka.spec.evaluate import shape_of, whole
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Tensor
from svertka.spec.running_error import Bounded, on_matrix_unit

__all__ = ["sizes_of", "verify"]

SAMPLED = 4096  # elements of a result


def verify(workload: Workload, road: Road, tensors: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Run forward and backward once and compare; one line a result that misses its bound."""
    with _captured() as calls:
        output = road(tensors)
        wanted = [tensor for tensor in tensors.values() if tensor.requires_grad]
        gradient = torch.randn_like(output)
        found = torch.autograd.grad(output, wanted, gradient)
    if len(calls) != 1:
        return ()  # an identity, or a chain: nothing to compare with one formula
    operator, inputs, symbols = calls[0]
    definition, layer = _formula(operator)
    sizes = sizes_of(definition, layer, dict(zip(operator.tensors, inputs, strict=True)), symbols)
    given = {
        t.name: _widened(value).reshape(shape_of(t, sizes))
        for t, value in zip(layer.inputs, inputs, strict=True)
        if value is not None
    }
    storage = FORMATS[workload.storage]
    arithmetic = RunningError(on_matrix_unit(storage, workload.dtype == TF32), Tensors())
    result = definition.result[0]
    wrong = _compare(layer.only([result]), given, sizes, arithmetic, {result: output}, storage.name)
    names = {id(tensor): name for name, tensor in tensors.items()}
    gradients = {gradient_name(names[id(w)]): g for w, g in zip(wanted, found, strict=True)}
    derived = adjoint(layer, [names[id(w)] for w in wanted], [result])
    seed = Tensor(gradient_name(result), *layer.tensors[result].dims)
    given[seed.name] = _widened(gradient).reshape(shape_of(seed, sizes))
    return (*wrong, *_compare(derived, given, sizes, arithmetic, gradients, storage.name))


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor


@contextmanager
def _captured() -> Iterator[list[Any]]:
    """Operators that are called inside, with their tensors and symbols; state as it was before."""
    operator_type = importlib.import_module("svertka.generated.runtime").Operator
    plain, calls = operator_type.forward, list[Any]()

    def forward(operator: Any, tensors: Any, symbols: Any, *rest: Any) -> Any:
        pairs = zip(operator.tensors, tensors, strict=True)
        before = [t.detach().clone() if t is not None and name in operator.state else t for name, t in pairs]
        calls.append((operator, before, dict(symbols)))
        return plain(operator, tensors, symbols, *rest)

    with mock.patch.object(operator_type, "forward", forward):
        yield calls


def _formula(operator: Any) -> tuple[Definition, Layer]:
    definition = DEFINITIONS[operator.kernels[0]]
    return definition, next(v.layer for v in definition.variants if v.layer.name == operator.kernels[1])


def sizes_of(
    definition: Definition, layer: Layer, tensors: Mapping[str, torch.Tensor | None], symbols: Mapping[str, Any]
) -> dict[str, Any]:
    """Every extent and parameter: from the symbols, the tensors' shapes and the definition's own rules."""
    sizes = dict(symbols)
    dims = [
        (dim, extent)
        for tensor in layer.inputs
        if (value := tensors.get(tensor.name)) is not None
        for dim, extent in zip(tensor.dims, value.shape, strict=True)
    ]
    for _ in range(2):
        for dim, extent in dims:
            unknown = [str(index.extent) for index in dim if str(index.extent) not in sizes]
            known = math.prod(int(sizes[str(index.extent)]) for index in dim if str(index.extent) in sizes)
            if len(unknown) == 1:
                sizes[unknown[0]] = extent // max(known, 1)
        for name, rule in definition.extents.items():
            if name not in sizes and {symbol.name for symbol in rule.free_symbols} <= sizes.keys():
                sizes[name] = whole(rule, sizes)
    return sizes


def _compare(
    layer: Layer,
    given: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    results: Mapping[str, torch.Tensor],
    storage: str,
) -> tuple[str, ...]:
    places = {
        name: torch.randint(0, tensor.numel(), (min(SAMPLED, tensor.numel()),), device=tensor.device)
        for name, tensor in results.items()
    }
    tensors = {tensor.name: given[tensor.name] for tensor in layer.inputs if tensor.name in given}
    expected = bounded_values(layer, tensors, sizes, arithmetic, places)
    stored = RunningError(FORMATS[storage], Tensors()).stored
    wrong = []
    for name, tensor in results.items():
        right: Bounded = stored(expected[name])
        got = tensor.detach().reshape(-1)[places[name]].double()
        within = ((got - right.value).abs() <= right.error) & right.error.isfinite()
        bad = ~within & (got != right.value) & ~(got.isnan() & right.value.isnan())
        if bool(bad.any()):
            i = int(bad.nonzero()[0])
            wrong.append(
                f"{name}: {int(bad.sum())} of {len(got)} elements, first {float(got[i])!r} and not "
                f"{float(right.value[i])!r} +- {float(right.error[i]):.2g}"
            )
    return tuple(wrong)
