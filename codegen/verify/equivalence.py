"""Run a generated module's programs on numbers and compare them with their formula.

Forward and backward run in Triton's interpreter (or on a GPU). The formula and its adjoint, derived again, are
evaluated literally: with the running error of the kernel's formats, or in an arithmetic without rounding; then results
must be equal. One evaluation serves every dtype, since it costs more than the kernels.

Input: a definition, its programs, a case, values, dtypes. Output: one ``Comparison`` per result.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from svertka.codegen.lowering.build import KernelModule, accumulated_of, keywords_of
from svertka.codegen.verify.bounds import bounded_values
from svertka.codegen.verify.cases import Case, label, within
from svertka.codegen.verify.replay import replaying_on
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec import FORMATS, RunningError, adjoint, gradient_of
from svertka.spec.definition import Definition, Variant
from svertka.spec.evaluate import shape_of
from svertka.spec.layer import Layer
from svertka.spec.notation import Tensor
from svertka.spec.running_error import Bounded, Format

__all__ = [
    "Comparison",
    "Expected",
    "Values",
    "as_view",
    "channels_last",
    "compare",
    "compare_at",
    "compare_exactly",
    "draw_values",
    "expected_of",
    "format_of",
    "held",
    "real",
    "run_backward",
    "run_forward",
]

HELD_BY_ALL = 2.0**-10  # smaller magnitudes become 0, so that float16 and bfloat16 represent the same values


@dataclass(frozen=True)
class Comparison:
    """One result of one case.

    Attributes:
        tensor: name of the result.
        elements: how many were compared.
        worst: indices of the element that exceeds its bound by most, or is nearest to it.
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


@dataclass(frozen=True)
class Values:
    """The values of a case: inputs and output gradients, float64 or int64, with the rank of the launchers' tensors."""

    tensors: Mapping[str, torch.Tensor]
    gradients: Mapping[str, torch.Tensor]

    @property
    def all(self) -> dict[str, torch.Tensor]:
        """Inputs and output gradients."""
        return {**self.tensors, **self.gradients}


def draw_values(
    definition: Definition,
    layer: Layer,
    case: Case,
    draw_real: Callable[[random.Random], float],
    seed: str = "",
    drawn: Collection[str] | None = None,
) -> Values:
    """Draw every element, within the bounds of its tensor; of tensors that ``drawn`` does not name, a ``real`` one."""
    draw = random.Random(f"{case.name}{seed}")
    seeds = [Tensor(gradient_of(layer, name), *layer.tensors[name].dims) for name in definition.real_results(layer)]
    inputs = [tensor for tensor in layer.inputs if tensor.name not in case.absent]
    draws = {t.name: draw_real if drawn is None or t.name in drawn else real for t in (*inputs, *seeds)}
    return Values(
        *({t.name: _drawn(definition, t, case, draw, draws[t.name]) for t in some} for some in (inputs, seeds))
    )


def _drawn(
    definition: Definition, tensor: Tensor, case: Case, draw: random.Random, draw_real: Callable[[random.Random], float]
) -> torch.Tensor:
    total, shape = math.prod(shape_of(tensor, case.sizes)), canonical_shape(tensor, case.sizes)
    if tensor.kind == "integer":
        labels = [label(definition, tensor, case, draw) for _ in range(total)]
        return torch.tensor(labels, dtype=torch.int64).reshape(shape)
    values = torch.tensor([draw_real(draw) for _ in range(total)], dtype=torch.float64).reshape(shape)
    drawn: torch.Tensor = within(tensor, values)
    return drawn


def real(draw: random.Random) -> float:
    """Half of all reals are whole numbers, so that maxima tie and the kink at 0 is tested."""
    value = draw.gauss(0.0, 1.0)
    return float(round(value)) if draw.random() < 0.5 else value


def canonical_shape(tensor: Tensor, sizes: Mapping[str, Any]) -> tuple[int, ...]:
    """One dimension per entry of ``Tensor.dims``."""
    extents = iter(shape_of(tensor, sizes))
    return tuple(math.prod(next(extents) for _ in dim) for dim in tensor.dims)


def run_forward(
    kernels: Any,
    layer: Layer,
    case: Case,
    tensors: Mapping[str, torch.Tensor],
    save: bool,
    skipped: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """Run a layer's forward program; results that are ``skipped`` are None."""
    keywords = {name: case.sizes[name] for name in keywords_of(layer)}
    arguments = [tensors.get(t.name) for t in layer.inputs]
    options = {"skipped": skipped} if skipped else {}
    forward = getattr(kernels, f"{layer.name}_forward")
    with replaying_on(next(iter(tensors.values())).device.type):
        results: tuple[torch.Tensor | None, ...] = forward(*arguments, **keywords, save=save, **options)
    return results


def run_backward(
    kernels: ModuleType,
    layer: Layer,
    case: Case,
    tensors: Mapping[str, torch.Tensor],
    gradients: Sequence[torch.Tensor],
    saved: Sequence[torch.Tensor | None],
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run a layer's backward program."""
    keywords = {name: case.sizes[name] for name in keywords_of(layer)}
    arguments = [tensors.get(t.name) for t in layer.inputs]
    backward = getattr(kernels, f"{layer.name}_backward")
    given = (*gradients, *arguments, *saved)
    with replaying_on(next(iter(tensors.values())).device.type):
        results: tuple[torch.Tensor | None, ...] = backward(*given, **keywords, wanted=wanted)
    return results


@dataclass(frozen=True)
class Expected:
    """What a formula gives at the values of a case, before results are rounded to their format."""

    values: Values
    results: Mapping[str, Any]


def expected_of(
    definition: Definition,
    layer: Layer,
    case: Case,
    dtypes: Sequence[torch.dtype],
    target: Format | None = None,
    draw_real: Callable[[random.Random], float] = real,
    drawn: Collection[str] | None = None,
) -> Expected:
    """Draw values that all of some dtypes represent, and evaluate the formula; arguments as for ``compare``."""
    tensors = draw_values(definition, layer, case, draw_real, drawn=drawn).tensors
    gradients = draw_values(definition, layer, case, real, " gradients").gradients
    values = Values(held(tensors, dtypes), held(gradients, dtypes))
    arithmetic = RunningError(target or format_of(dtypes[0]), Tensors())
    return Expected(values, formula_values(definition, layer, case, values, arithmetic))


def compare(
    module: KernelModule,
    variant: Variant,
    kernels: Any,
    case: Case,
    dtypes: Sequence[torch.dtype],
    device: str = "cpu",
    target: Format | None = None,
    draw_real: Callable[[random.Random], float] = real,
    drawn: Collection[str] | None = None,
    expected: Expected | None = None,
) -> Iterator[tuple[torch.dtype, Comparison]]:
    """Compare forward and backward of one case with the formula, within its running error.

    Args:
        module: the derived kernels.
        variant: the formula.
        kernels: the module that is compared.
        case: sizes and parameters.
        dtypes: storage formats; they must share the arithmetic between load and store.
        device: where to run.
        target: arithmetic of the device; by default that of the first dtype's format.
        draw_real: how elements of the inputs are drawn.
        drawn: names of the inputs that are drawn so; all by default.
        expected: what the formula gives, if it is known.
    """
    layer = variant.layer
    known = expected or expected_of(module.definition, layer, case, dtypes, target, draw_real, drawn)
    for dtype in dtypes:
        right = {name: _stored(array, format_of(dtype)) for name, array in known.results.items()}
        for name, got in outcome(module.definition, layer, kernels, case, known.values, dtype, device):
            yield dtype, compared(name, got, right[name.removesuffix(UNSAVED)])


def format_of(dtype: torch.dtype) -> Format:
    """The storage format of a dtype; it also has the dtype's name."""
    return FORMATS[str(dtype).removeprefix("torch.")]


def _stored(result: Any, storage: Format) -> Any:
    """A real result rounded to a storage format."""
    return RunningError(storage, Tensors()).stored(result) if isinstance(result, Bounded) else result


def compare_exactly(
    module: KernelModule,
    variant: Variant,
    kernels: Any,
    case: Case,
    values: Values,
    expected: Mapping[str, Any],
    dtype: torch.dtype,
    device: str = "cpu",
) -> Iterator[Comparison]:
    """Compare to the last bit, with numbers that are rounded only once, to the storage format."""
    accumulated = accumulated_of(module.definition, variant.layer)
    for name, got in outcome(module.definition, variant.layer, kernels, case, values, dtype, device):
        right = expected[name.removesuffix(UNSAVED)]
        if isinstance(right, Bounded):
            wide = name.removesuffix(UNSAVED) in accumulated
            stored = torch.promote_types(dtype, torch.float32) if wide else dtype
            right = Bounded(right.value.to(stored).double(), right.error)
        yield compared(name, got, right)


def compare_at(
    module: KernelModule,
    layer: Layer,
    kernels: Any,
    case: Case,
    values: Values,
    expected: Mapping[str, Any],
    dtype: torch.dtype,
    device: str = "cpu",
) -> Iterator[Comparison]:
    """Compare with known values and bounds: at inputs where exponentials overflow, see ``extremes``.

    Elements for which the formula itself has no value, as 0 / 0 for a row of -inf, are not compared, but must be NaN
    if an input is and their bound is not infinite. A value that the dtype does not represent must not be finite; where
    no bound of its error is, a finite one must be finite.
    """
    missing = any(bool(tensor.isnan().any()) for tensor in values.all.values())
    for name, got in outcome(module.definition, layer, kernels, case, values, dtype, device):
        right = expected[name.removesuffix(UNSAVED)]
        if isinstance(right, Bounded) and got.numel() == right.value.numel():
            same = got.detach().to(right.value.device).double().reshape(right.value.shape)
            finite = right.value.isfinite()
            kind = (finite == same.isfinite()) & ~(finite & right.error.isfinite())
            unknown = right.value.isnan() & (same.isnan() | right.error.isposinf() if missing else True)
            right = Bounded(torch.where(unknown | kind, same, right.value), right.error)
        yield compared(name, got, right)


def held(tensors: Mapping[str, torch.Tensor], dtypes: Sequence[torch.dtype]) -> dict[str, torch.Tensor]:
    """Values that all of some dtypes represent."""

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        for dtype in dtypes:
            tensor = tensor.to(dtype).double()
        return tensor if len(dtypes) == 1 else torch.where(tensor.abs() < HELD_BY_ALL, 0.0, tensor)

    return {name: rounded(tensor) for name, tensor in tensors.items()}


def formula_values(
    definition: Definition, layer: Layer, case: Case, values: Values, arithmetic: RunningError
) -> dict[str, Any]:
    """Outputs and gradients by the formula and its adjoint, derived again."""
    parts = formula_parts(definition, layer, case, values, arithmetic)
    return {name: value for part in parts for name, value in part.items()}


def formula_parts(
    definition: Definition, layer: Layer, case: Case, values: Values, arithmetic: RunningError
) -> Iterator[dict[str, Any]]:
    """The same in two parts: outputs, then gradients, each evaluated when it is asked for."""
    names = [name for name in definition.differentiable(layer) if name in values.tensors]
    for equations in (layer, adjoint(layer, wrt=names, outputs=definition.real_results(layer))):
        shapes = {tensor.name: shape_of(tensor, case.sizes) for tensor in equations.inputs}
        given = {name: values.all[name].reshape(shape) for name, shape in shapes.items() if name in values.all}
        yield bounded_values(equations, given, case.sizes, arithmetic)


def outcome(
    definition: Definition, layer: Layer, kernels: Any, case: Case, values: Values, dtype: torch.dtype, device: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """Run the forward, the forward without saved tensors, and the backward; results by the formula's names."""

    def placed(some: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        moved = {n: (t.to(dtype) if t.is_floating_point() else t).to(device) for n, t in some.items()}
        moved = {n: channels_last(t) if case.last else t for n, t in moved.items()}
        return {n: as_view(t) if case.view else t for n, t in moved.items()}

    tensors, gradients = placed(values.tensors), placed(values.gradients)
    saved = run_forward(kernels, layer, case, tensors, save=True)
    count = len(layer.outputs)
    yield from named(layer, saved)
    for skipped in dict.fromkeys([(), tuple(definition.optional_results.values())]):
        plain = run_forward(kernels, layer, case, tensors, save=False, skipped=skipped)
        yield from named(layer, plain, UNSAVED, skipped)
    names = definition.differentiable(layer)
    wanted = tuple(name in tensors for name in names)
    back = run_backward(kernels, layer, case, tensors, list(gradients.values()), saved[count:], wanted)
    yield from ((gradient_of(layer, n), g) for n, g in zip(names, back, strict=True) if g is not None)


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in channels-last format: the second of at least three dimensions is the fastest in memory."""
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1) if tensor.dim() > 2 else tensor


def as_view(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as a view that begins at the second element of its memory; every stride is an odd multiple."""
    strides = [GAP * stride for stride in tensor.stride()]
    reach = sum((extent - 1) * stride for extent, stride in zip(tensor.shape, strides, strict=True))
    memory = torch.zeros(max(reach, 0) + 2, dtype=tensor.dtype, device=tensor.device)
    return memory.as_strided(tensor.shape, strides, 1).copy_(tensor)


GAP = 3
UNSAVED = " (nothing saved)"


def named(
    layer: Layer, results: Sequence[torch.Tensor | None], suffix: str = "", skipped: Sequence[str] = ()
) -> Iterator[tuple[str, torch.Tensor]]:
    """A forward program's outputs by name, without skipped ones; a missing one has no elements."""
    for name, tensor in zip(layer.outputs, results, strict=False):
        if name not in skipped:
            yield f"{name}{suffix}", torch.empty(0) if tensor is None else tensor


def compared(name: str, got: torch.Tensor, expected: Any) -> Comparison:
    """Compare every element; keep the one that exceeds its bound by most, or comes nearest to it."""
    real = isinstance(expected, Bounded)
    right = (expected.value if real else expected).double().reshape(-1)
    bound = (expected.error if real else torch.zeros_like(right)).reshape(-1)
    values = got.detach().to(right.device).double().reshape(-1)
    if len(values) != len(right):
        return Comparison(name, len(right), (), float(len(values)), float(len(right)), 0.0, math.inf)
    if not len(values):
        return Comparison(name, 0, (), 0.0, 0.0, 0.0, 0.0)
    same = (values == right) | (values.isnan() & right.isnan())
    difference = (values - right).abs()
    comparable = (bound > 0) & bound.isfinite() & difference.isfinite()  # an infinite bound proves nothing
    ratio = torch.where(same, 0.0, torch.where(comparable, difference / bound, math.inf))
    place = int(ratio.argmax())
    shape = (expected.value if real else expected).shape
    found = (float(part[place]) for part in (values, right, bound, ratio))
    return Comparison(name, len(values), indices_of(place, shape), *found)


def indices_of(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The indices of an element by its position in row-major order."""
    indices = []
    for extent in reversed(shape):
        place, index = divmod(place, extent)
        indices.append(index)
    return tuple(reversed(indices))
