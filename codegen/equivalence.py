"""Run a generated module's programs and compare them with their formula.

Forward and backward run in Triton's interpreter (or on a GPU) and the formula, its adjoint derived anew, is evaluated
literally: in float64 with the running error of the kernel's formats. Where every operation is exact the bound is 0 and
equality is asked for.

Input: a definition, its programs, a case, a dtype. Output: a ``Comparison`` a result.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from svertka.codegen.build import KernelModule, keywords_of
from svertka.codegen.cases import Case, tensor_arguments
from svertka.spec import FORMATS, Array, RunningError, adjoint, evaluate, gradient_name
from svertka.spec.definition import Definition, Variant
from svertka.spec.evaluate import shape_of
from svertka.spec.layer import Layer
from svertka.spec.notation import Tensor

__all__ = ["Comparison", "compare", "run_backward", "run_forward"]


@dataclass(frozen=True)
class Comparison:
    """One result of one case.

    Attributes:
        tensor: name of the result.
        elements: how many were compared.
        worst: indices of the element that misses its bound by most, or is nearest to it.
        got, expected, bound: its values.
        ratio: |got - expected| / bound there; 0 where equal, infinity where an exact element differs.
    """

    tensor: str
    elements: int
    worst: tuple[int, ...]
    got: float
    expected: float
    bound: float
    ratio: float

    @property
    def holds(self) -> bool:
        """Whether every element lies within its bound."""
        return self.ratio <= 1.0

    def __str__(self) -> str:
        return (
            f"{self.tensor}{list(self.worst)}: the kernel gives {self.got!r}, the formula {self.expected!r}, "
            f"they may differ by {self.bound:.3g} and differ by {abs(self.got - self.expected):.3g}"
        )


def inputs_for(layer: Layer, case: Case, dtype: torch.dtype, integers: bool) -> dict[str, torch.Tensor]:
    """Tensors for a case, in the canonical rank of the launchers; small integers, or reals of every size."""
    draw = random.Random(case.name)
    made = {}
    for tensor in layer.inputs:
        if tensor.name not in case.absent:
            made[tensor.name] = _tensor(tensor, case, dtype, integers, draw)
    return made


def _tensor(tensor: Tensor, case: Case, dtype: torch.dtype, integers: bool, draw: random.Random) -> torch.Tensor:
    shape = shape_of(tensor, case.sizes)
    total = math.prod(shape)
    if tensor.kind == "integer":
        below = min(int(v) for n, v in case.sizes.items() if n.isupper())
        values = torch.tensor([draw.randrange(below) for _ in range(total)], dtype=torch.int64)
    elif integers:
        values = torch.tensor([float(draw.randint(-4, 4)) for _ in range(total)], dtype=dtype)
    else:
        values = torch.tensor([_real(draw) for _ in range(total)], dtype=torch.float64).to(dtype)
        if tensor.default == 1 or tensor.name.endswith("var"):  # scales and variances are positive
            values = values.abs() + 0.5
    return values.reshape(canonical_shape(tensor, case.sizes))


def _real(draw: random.Random) -> float:
    """Half of all reals are whole: maxima tie, and kinks at 0 are met."""
    value = draw.gauss(0.0, 1.0)
    return float(round(value)) if draw.random() < 0.5 else value


def canonical_shape(tensor: Tensor, sizes: Mapping[str, Any]) -> tuple[int, ...]:
    """One dimension an entry of ``Tensor.dims``."""
    extents = iter(shape_of(tensor, sizes))
    return tuple(math.prod(next(extents) for _ in dim) for dim in tensor.dims)


def run_forward(
    kernels: ModuleType, layer: Layer, case: Case, tensors: Mapping[str, torch.Tensor], save: bool
) -> tuple[torch.Tensor, ...]:
    """Run a layer's forward program."""
    keywords = {name: case.sizes[name] for name in keywords_of(layer)}
    arguments = [tensors.get(t.name) for t in layer.inputs]
    results: tuple[torch.Tensor, ...] = getattr(kernels, f"{layer.name}_forward")(*arguments, **keywords, save=save)
    return results


def run_backward(
    kernels: ModuleType,
    layer: Layer,
    case: Case,
    tensors: Mapping[str, torch.Tensor],
    gradients: Sequence[torch.Tensor],
    residuals: Sequence[torch.Tensor],
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run a layer's backward program."""
    keywords = {name: case.sizes[name] for name in keywords_of(layer)}
    arguments = [tensors.get(t.name) for t in layer.inputs]
    backward = getattr(kernels, f"{layer.name}_backward")
    results: tuple[torch.Tensor | None, ...] = backward(*gradients, *arguments, *residuals, **keywords, wanted=wanted)
    return results


def compare(
    module: KernelModule,
    variant: Variant,
    kernels: ModuleType,
    case: Case,
    dtype: torch.dtype,
    integers: bool = False,
    device: str = "cpu",
) -> Iterator[Comparison]:
    """Compare forward and backward of one case with the formula."""
    layer, definition = variant.layer, module.definition
    tensors = inputs_for(layer, case, dtype, integers)
    on_device = {name: t.to(device) for name, t in tensors.items()}
    saved = run_forward(kernels, layer, case, on_device, save=True)
    plain = run_forward(kernels, layer, case, on_device, save=False)
    outputs, residuals = saved[: len(layer.outputs)], saved[len(layer.outputs) :]
    expected = _evaluated(layer, case, tensors, dtype)
    for name, output, again in zip(layer.outputs, outputs, plain, strict=True):
        yield _compared(name, output, expected[name])
        yield _compared(f"{name} (nothing saved)", again, expected[name])
    results = [name for name in definition.result if layer.tensors[name].kind == "real"]
    draw = random.Random(f"{case.name} gradients")
    gradients = {}
    for name in results:
        seed = Tensor(gradient_name(name), *layer.tensors[name].dims)
        gradients[seed.name] = _tensor(seed, case, dtype, integers, draw)
    names = differentiable(definition, layer)
    wanted = tuple(name in tensors for name in names)
    back = run_backward(kernels, layer, case, on_device, [g.to(device) for g in gradients.values()], residuals, wanted)
    derived = adjoint(layer, wrt=[name for name in names if name in tensors], outputs=results)
    exact = _evaluated(derived, case, {**tensors, **gradients}, dtype)
    for name, gradient in zip(names, back, strict=True):
        if gradient is not None:
            yield _compared(gradient_name(name), gradient, exact[gradient_name(name)])


def differentiable(definition: Definition, layer: Layer) -> tuple[str, ...]:
    """The real tensors of a formula for which a gradient is offered, in the order of the arguments."""
    real = {t.name for t in layer.inputs if t.kind == "real"}
    return tuple(a.bound for a in tensor_arguments(definition) if a.differentiable and a.bound in real)


def _evaluated(layer: Layer, case: Case, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, Array]:
    """The formula with running error bounds; results rounded to the storage format."""
    arithmetic = RunningError(FORMATS[str(dtype).removeprefix("torch.")])
    arrays = {}
    for tensor in layer.inputs:
        if tensor.name in tensors:
            values = tensors[tensor.name].reshape(-1).tolist()
            exact = values if tensor.kind == "integer" else [arithmetic.exact(v) for v in values]
            arrays[tensor.name] = Array(shape_of(tensor, case.sizes), exact)
    found = evaluate(layer, arrays, case.sizes, arithmetic)
    return {
        name: array if layer.tensors[name].kind == "integer" else array.map(arithmetic.stored)
        for name, array in found.items()
    }


def _compared(name: str, got: torch.Tensor, expected: Array) -> Comparison:
    values = got.detach().to("cpu").contiguous().reshape(-1).tolist()
    worst = Comparison(name, len(values), (), 0.0, 0.0, 0.0, 0.0)
    for place, (value, bounded) in enumerate(zip(values, expected.values, strict=True)):
        right, bound = (bounded, 0.0) if isinstance(bounded, int) else (bounded.value, bounded.error)
        ratio = _ratio(value, right, bound)
        if ratio > worst.ratio or not worst.worst:
            indices = _indices(place, expected.shape)
            worst = Comparison(name, len(values), indices, float(value), float(right), bound, ratio)
    return worst


def _ratio(value: float, right: float, bound: float) -> float:
    if value == right or (math.isnan(value) and math.isnan(right)):
        return 0.0
    difference = abs(value - right)
    return difference / bound if bound > 0 and math.isfinite(difference) else math.inf


def _indices(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    indices = []
    for extent in reversed(shape):
        place, index = divmod(place, extent)
        indices.append(index)
    return tuple(reversed(indices))
