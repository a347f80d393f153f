"""PyTorch's own samples of functions and modules, and the comparison of two computations of a sample.

A sample is a call: tensors of any shapes and strides, and options. ``torch.testing._internal`` holds them for PyTorch's
own tests (OpInfo and ModuleInfo).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from svertka.generated import functional, modules

from ..generated.agreement import agree, equal

# PyTorch's own tests forbid later changes to the flags of its backends in this process; other tests set them.
with mock.patch.object(torch.backends, "disable_global_flags"):
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

__all__ = [
    "FUNCTIONS",
    "MODULES",
    "ModuleErrorEnum",
    "Sample",
    "called_with",
    "compare",
    "samples_of",
    "samples_of_module",
]

OTHERS = {"nn.functional.normalize"}
"""A function with the same name as one of svertka, but another function: it divides by a norm."""
REFUSED = {("nn.functional.interpolate", "bicubic")}
"""Kinds of calls that svertka refuses by name."""


def _own_name(name: str) -> str:
    return name.removeprefix("nn.functional.")


FUNCTIONS = {
    f"{_own_name(op.name)}{'_' * bool(op.variant_test_name)}{op.variant_test_name}": op
    for op in op_db
    if _own_name(op.name) in functional.__all__
    and op.name not in OTHERS
    and (op.name, op.variant_test_name) not in REFUSED
}
MODULES = {info.module_cls.__name__: info for info in module_db if info.module_cls.__name__ in modules.__all__}


@dataclass(frozen=True)
class Sample:
    """One call.

    Attributes:
        given: positional arguments; ``options``: those by name.
    """

    given: tuple[Any, ...]
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"{[_shown(v) for v in self.given]}, { {n: _shown(v) for n, v in self.options.items()} }"

    @property
    def values(self) -> list[Any]:
        """All arguments, those by name last."""
        return [*self.given, *self.options.values()]

    def moving(self) -> list[Tensor]:
        """Fresh copies of the tensors that require a gradient, with their strides."""
        wanted = (v for v in self.values if isinstance(v, Tensor) and v.requires_grad)
        return [v.detach().clone().requires_grad_() for v in wanted]

    def call(self, function: Callable[..., Any], moving: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Results with the tensors that require a gradient replaced, and the other tensors after the call."""
        rest = iter(moving)
        values = [
            v if not isinstance(v, Tensor) else next(rest) if v.requires_grad else v.detach().clone()
            for v in self.values
        ]
        count = len(self.given)
        results = function(*values[:count], **dict(zip(self.options, values[count:], strict=True)))
        left = [v for v in values if isinstance(v, Tensor) and not v.requires_grad]
        return list(results) if isinstance(results, tuple) else [results], left


def _shown(value: Any) -> Any:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else value


def _of_a_number(given: Sequence[Any]) -> bool:
    """Whether an input has no dimensions."""
    return isinstance(given[0], Tensor) and not given[0].dim()


def _of_roots_of_negatives(settings: dict[str, Any]) -> bool:
    """Whether ``eps`` is negative, which PyTorch takes; the variances of such samples may be smaller."""
    return (settings.get("eps") or 0.0) < 0


LEAST = {"nn.functional.prelu", "PReLU"}
"""Functions and modules whose inputs have a dimension here; PyTorch takes a single number too."""


def samples_of(op: Any, dtype: torch.dtype) -> Iterator[Sample]:
    """All samples of a function."""
    for sample in op.sample_inputs("cpu", dtype, requires_grad=dtype.is_floating_point):
        if _of_roots_of_negatives(sample.kwargs):
            continue
        if op.name not in LEAST or not _of_a_number([sample.input]):
            yield Sample((sample.input, *sample.args), dict(sample.kwargs))


def samples_of_module(info: Any, dtype: torch.dtype, training: bool) -> Iterator[tuple[Sample, Sample]]:
    """All samples of a module: of its constructor, and of its call."""
    for one in info.module_inputs_func(info, "cpu", dtype, requires_grad=True, training=training):
        made, passed = one.constructor_input, one.forward_input
        if info.module_cls.__name__ not in LEAST or not _of_a_number(passed.args):
            yield Sample(made.args, dict(made.kwargs)), Sample(passed.args, dict(passed.kwargs))


def called_with(function: Callable[..., Any], sample: Sample) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Results, gradients for an output gradient that is always the same, and the other tensors after the call."""
    moving = sample.moving()
    results, left = sample.call(function, moving)
    real = [r for r in results if r.requires_grad]
    found = torch.autograd.grad(real, moving, _gradients(real), allow_unused=True) if real else ()
    gradients = [torch.zeros_like(t) if g is None else g for g, t in zip(found, moving, strict=bool(real))]
    return [r.detach() for r in results], gradients, left


def _gradients(results: Sequence[Tensor]) -> list[Tensor]:
    """Numbers of 8 bits: every type represents them exactly, so calls in two types have the same gradient."""
    random = torch.Generator().manual_seed(9)
    return [torch.randint(-128, 129, r.shape, generator=random).to(r.dtype) / 64 for r in results]


def compare(
    ours: Callable[..., Any], theirs: Callable[..., Any], sample: Sample, exact: bool = False, inner: float = 0.0
) -> None:
    """Check for equality up to rounding, in float64; integers must be equal.

    ``exact``: results are elements of the inputs, and gradients are sums of given gradients. ``inner``: size of the
    terms, for a gradient of 1 in each result, that cancel within a gradient.
    """
    found, expected = called_with(ours, sample), called_with(theirs, sample)
    summed = sum(float(g.abs().sum()) for g in _gradients([r for r in expected[0] if r.is_floating_point()]))
    if exact:
        shares = iter([0.0] * sum(r.is_floating_point() for r in expected[0]) + [summed] * len(expected[1]))
    else:
        shares = _conditions(theirs, sample)
    elements = sum(v.numel() for v in (*(v for v in sample.values if isinstance(v, Tensor)), *expected[0]))
    for part, other in zip(found, expected, strict=True):
        assert len(part) == len(other)
        for one, two in zip(part, other, strict=True):
            assert (one.shape, one.dtype) == (two.shape, two.dtype)
            share = next(shares, None) if two.is_floating_point() and part is not found[2] else None
            if share is None and not two.is_floating_point():
                equal(one, two)
            else:
                size = share if share is not None else _size(sample)
                size += inner * summed if part is found[1] else 0.0
                agree(one.double(), two.double(), size, elements)


def _size(sample: Sample) -> float:
    """The largest square of an element, the size of terms of statistics."""
    sizes = [float(v.detach().abs().max()) for v in sample.values if isinstance(v, Tensor) and v.numel()]
    return max([1.0, *sizes]) ** 2


def _conditions(function: Callable[..., Any], sample: Sample) -> Iterator[float]:
    """Change of each result, then of each gradient, when every tensor changes by its own size, plus its size."""
    moving = [t.double() if t.dtype != torch.float64 else t for t in sample.moving()]

    def results(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(r for r in sample.call(function, tensors)[0] if r.requires_grad)

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(moving)
        outputs = results(*tensors[:count])
        found = torch.autograd.grad(outputs, tensors[:count], tensors[count:], create_graph=True, allow_unused=True)
        rest = sum(t.sum() for t in tensors) * 0
        return tuple(t * 0 if g is None else g + rest for g, t in zip(found, tensors, strict=False))

    outputs = results(*moving)
    if not outputs:
        real = [r for r in sample.call(function, moving)[0] if r.is_floating_point()]
        yield from (float(r.abs().max()) if r.numel() else 0.0 for r in real)
        return
    yield from _reaches(results, moving)
    seeds = [g.requires_grad_() for g in _gradients(outputs)]
    yield from _reaches(gradients, [*moving, *seeds])


def _reaches(function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor]) -> Iterator[float]:
    """By ``agreement.conditions``, in one pass per function; empty tensors have no effect."""
    sized = [place for place, tensor in enumerate(tensors) if tensor.numel()]

    def of_sized(*given: Tensor) -> tuple[Tensor, ...]:
        every = list(tensors)
        for place, tensor in zip(sized, given, strict=True):
            every[place] = tensor
        return tuple(value for value in function(*every) if value.numel())

    values = function(*tensors)
    if not any(value.numel() for value in values):
        yield from (0.0 for _ in values)
        return
    jacobian: Callable[..., Any] = torch.autograd.functional.jacobian
    rows = iter(jacobian(of_sized, tuple(tensors[place] for place in sized), vectorize=True))
    for value in values:
        reach = value.detach().abs()
        for moves, place in zip(next(rows) if value.numel() else (), sized, strict=False):
            moved = moves.abs() * tensors[place].detach().abs()
            inner = tuple(range(value.dim(), moves.dim()))
            reach = reach + (moved.sum(inner) if inner else moved)
        yield float(reach.max()) if reach.numel() else 0.0
