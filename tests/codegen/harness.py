"""Cases with values and expected results, and the comparison of kernels with them.

``verify.equivalence`` validates kernels before they are written. The tests draw other values, arrange them differently
and compare with separate code. Both use the same evaluation of the formula.
"""

from __future__ import annotations

import functools
import importlib
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.lowering.built import built
from svertka.codegen.verify import equivalence
from svertka.codegen.verify.cases import Case, cases, label, within
from svertka.codegen.verify.equivalence import (
    canonical_shape,
    format_of,
    formula_values,
    run_backward,
    run_forward,
)
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec import FORMATS, Layer, RunningError, Tensor, gradient_name
from svertka.spec.definition import Definition, Variant
from svertka.spec.evaluate import holds, shape_of
from svertka.spec.exact import Exact
from svertka.spec.layers import DEFINITIONS
from svertka.spec.running_error import Bounded

__all__ = [
    "Inexact",
    "Problem",
    "cases_of",
    "definition_of",
    "emptied",
    "kernels_of",
    "misses",
    "module_of",
    "of_case",
    "outcome",
    "problem",
    "problem_names",
    "smallest",
]

Values = dict[str, torch.Tensor]
Arrange = Callable[[torch.Tensor], torch.Tensor]


@functools.cache
def module_of(name: str) -> KernelModule:
    """A definition's kernels and programs, derived once per process."""
    return built(DEFINITIONS[name])


def kernels_of(name: str) -> ModuleType:
    """The committed kernels of a definition."""
    return importlib.import_module(f"svertka.generated.kernels.{name}")


@dataclass(frozen=True)
class Problem:
    """A case with values: inputs, and gradients of the results.

    Attributes:
        kind: ``"float64"``, ``"float32"``, ``"half"`` (values that float16 and bfloat16 represent) or ``"integer"``.
    """

    module: KernelModule
    variant: Variant
    case: Case
    kind: str
    tensors: Values
    gradients: Values

    @property
    def layer(self) -> Layer:
        """The formula."""
        return self.variant.layer

    @property
    def differentiated(self) -> list[str | None]:
        """Inputs in the order of the backward's results; None for one that is left out."""
        names = self.module.definition.differentiable(self.layer)
        return [name if name in self.tensors else None for name in names]

    def expected(self) -> dict[str, Any]:
        """Outputs and gradients of the formula: with error bounds, or exact.

        Raises:
            Inexact: the kind is ``"integer"`` and some operation rounds.
        """
        arithmetic: RunningError = Exact(numbers=Tensors())
        if self.kind != "integer":
            arithmetic = RunningError(FORMATS["bfloat16" if self.kind == "half" else self.kind], Tensors())
        values = equivalence.Values(self.tensors, self.gradients)
        found = formula_values(self.module.definition, self.layer, self.case, values, arithmetic)
        for name, result in found.items():
            if self.kind == "integer" and isinstance(result, Bounded) and bool((result.error != 0).any()):
                raise Inexact(name)
        return found


class Inexact(Exception):  # noqa: N818 - it is raised to say so, and caught
    """A result that some operation may have rounded."""


def definition_of(layer: str) -> tuple[Definition, Variant]:
    """The definition of the formula of this name, and the variant."""
    return next((d, v) for d in DEFINITIONS.values() for v in d.variants if v.layer.name == layer)


def problem_names() -> list[str]:
    """Formulas and numbers of their cases: ``"relu-0"``."""
    names = [variant.layer.name for d in DEFINITIONS.values() for variant in d.variants]
    return [f"{name}-{number}" for name in names for number in range(3)]


@functools.cache
def cases_of(layer: str) -> tuple[Case, ...]:
    """The cases of a formula, drawn once per process."""
    return tuple(cases(*definition_of(layer)))


def problem(name: str, kind: str) -> Problem:
    """A case by its name."""
    layer, number = name.rsplit("-", 1)
    definition, variant = definition_of(layer)
    return of_case(module_of(definition.name), variant, cases_of(layer)[int(number)], kind)


def smallest(layer: str) -> int:
    """Number of the case that reduces the fewest elements."""
    sizes = [math.prod(v for n, v in case.sizes.items() if n.isupper()) for case in cases_of(layer)]
    return sizes.index(min(sizes))


def of_case(module: KernelModule, variant: Variant, case: Case, kind: str) -> Problem:
    """Draw the values of a case."""
    draw = random.Random(f"{case.name} {kind}")
    layer = variant.layer
    given = [t for t in layer.inputs if t.name not in case.absent]
    tensors = {t.name: _drawn(t, module.definition, case, kind, draw) for t in given}
    seeds = [Tensor(gradient_name(n), *layer.tensors[n].dims) for n in module.definition.real_results(layer)]
    gradients = {t.name: _drawn(t, module.definition, case, kind, draw) for t in seeds}
    return Problem(module, variant, case, kind, tensors, gradients)


def emptied(given: Problem) -> Problem | None:
    """The case without examples: the first extent of the first real tensor is 0; None if a rule forbids it."""
    leading = next(t for t in given.layer.inputs if t.kind == "real")
    sizes = {**given.case.sizes, str(leading.axes[0].extent): 0}
    rules = (*given.module.definition.rules, *given.variant.rules)
    if not all(holds(rule.condition, sizes) for rule in rules):
        return None
    return of_case(given.module, given.variant, Case(f"{given.case.name}-empty", sizes, given.case.absent), given.kind)


def _drawn(tensor: Tensor, definition: Definition, case: Case, kind: str, draw: random.Random) -> torch.Tensor:
    total = math.prod(shape_of(tensor, case.sizes))
    shape = canonical_shape(tensor, case.sizes)
    if tensor.kind == "integer":
        labels = [label(definition, tensor, case, draw) for _ in range(total)]
        return torch.tensor(labels, dtype=torch.int64).reshape(shape)
    if kind == "integer":
        whole = [float(draw.randint(-4, 4)) for _ in range(total)]
        return torch.tensor(whole, dtype=torch.float64).reshape(shape)
    values = torch.tensor([draw.gauss(0.0, 1.0) for _ in range(total)], dtype=torch.float64)
    values = within(tensor, values)
    if kind == "half":  # large enough for float16 too
        values = values.to(torch.bfloat16).double()
        values = torch.where(values.abs() < 2.0**-10, 0.0, values)
    if kind == "float32":
        values = values.float().double()
    return values.reshape(shape)


def outcome(
    given: Problem, kernels: ModuleType, dtype: torch.dtype, device: str, arrange: Arrange = torch.Tensor.contiguous
) -> dict[str, torch.Tensor | None]:
    """Run forward, forward without saved tensors, and backward; the first and the third by the formula's names."""

    def placed(values: Mapping[str, torch.Tensor]) -> Values:
        cast = {n: v.to(dtype) if v.is_floating_point() else v for n, v in values.items()}
        return {n: arrange(v.to(device)) for n, v in cast.items()}

    layer, case = given.layer, given.case
    tensors, gradients = placed(given.tensors), placed(given.gradients)
    before = {n: t.clone() for n, t in tensors.items()}
    saved = run_forward(kernels, layer, case, tensors, save=True)
    plain = run_forward(kernels, layer, case, tensors, save=False)
    count = len(layer.outputs)
    wanted = tuple(name is not None for name in given.differentiated)
    back = run_backward(kernels, layer, case, tensors, list(gradients.values()), saved[count:], wanted)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, before[name]), f"{name} was changed"
    found: dict[str, torch.Tensor | None] = dict(zip(layer.outputs, saved, strict=False))
    found |= {f"{n} (nothing saved)": t for n, t in zip(layer.outputs, plain, strict=True)}
    names = zip(given.differentiated, back, strict=True)
    return found | {gradient_name(name): gradient for name, gradient in names if name}


def misses(found: Mapping[str, torch.Tensor | None], expected: Mapping[str, Any], dtype: torch.dtype) -> list[str]:
    """Elements outside their bounds, one line per tensor."""
    lines = []
    for name, tensor in found.items():
        assert tensor is not None, f"{name} is missing"
        whole = not tensor.is_floating_point()
        assert whole or tensor.dtype == dtype, f"{name} has dtype {tensor.dtype}"
        right = expected[name.removesuffix(" (nothing saved)")]
        bad = _bad(tensor.detach().cpu().reshape(-1), right, dtype)
        if bad:
            lines.append(f"{name}: {len(bad)} of {tensor.numel()} elements, first {bad[0]}")
    return lines


def _bad(values: torch.Tensor, right: Any, dtype: torch.dtype) -> list[str]:
    """Elements that exceed their bound; if only the result is rounded, all elements that differ."""
    if not isinstance(right, Bounded):
        want, bound = right.reshape(-1), torch.zeros(right.numel())
    elif not bool((right.error != 0).any()) and dtype != torch.float64:
        want, bound = right.value.reshape(-1).to(dtype), torch.zeros(right.value.numel())
    else:
        stored = RunningError(format_of(dtype), Tensors()).stored(right)
        want, bound = stored.value.reshape(-1), stored.error.reshape(-1)
    assert len(values) == len(want)
    got, want = values.double(), want.double()
    good = (got == want) | (got.isnan() & want.isnan()) | ((got - want).abs() <= bound)
    return [
        f"element {i}: {float(got[i])!r}, not {float(want[i])!r} +- {float(bound[i]):.2g}" for i in (~good).nonzero()
    ]
