"""The reference against the formula, forward and backward, for every layer.

Two roads that must meet: the reference is written by hand from the textbook, the formula's adjoint is derived. Both are
evaluated in float64; they may differ by the running error bound of the formula. Where all values are integers that
float64 holds and the formula only adds, multiplies and compares, they must be equal.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from svertka.codegen.build import KernelModule
from svertka.codegen.cases import Case, cases
from svertka.codegen.equivalence import Comparison, compare
from svertka.generated import functional, host
from svertka.generated.runtime import Operator
from svertka.spec.definition import Definition, Variant
from svertka.spec.layers import DEFINITIONS

OPERATORS = {o.kernels[1]: o for o in vars(functional).values() if isinstance(o, Operator)}
EVERY = [
    pytest.param(definition, variant, case, id=case.name)
    for definition in DEFINITIONS.values()
    for variant in definition.variants
    for case in cases(definition, variant)
]


def through_reference(operator: Operator, case: Case) -> Any:
    """The reference under the interface of a module of kernels."""
    symbols = {name: case.sizes[name] for name in operator.symbols}

    def forward(*tensors: torch.Tensor | None, save: bool, **_: Any) -> tuple[torch.Tensor, ...]:
        return host.forward(operator, tensors, symbols)

    def backward(*given: torch.Tensor | None, wanted: tuple[bool, ...], **_: Any) -> tuple[torch.Tensor | None, ...]:
        results = len(operator.results)
        return host.backward(operator, given[:results], given[results:], symbols, wanted)

    name = operator.kernels[1]
    return SimpleNamespace(**{f"{name}_forward": forward, f"{name}_backward": backward})


def comparisons(definition: Definition, variant: Variant, case: Case, integers: bool) -> list[Comparison]:
    module = KernelModule(definition, (), (), {})
    programs = through_reference(OPERATORS[variant.layer.name], case)
    return list(compare(module, variant, programs, case, torch.float64, integers=integers))


@pytest.mark.parametrize(("definition", "variant", "case"), EVERY)
def test_reference_equals_formula(definition: Definition, variant: Variant, case: Case) -> None:
    found = comparisons(definition, variant, case, integers=False)
    assert found, "nothing was compared"
    assert [str(result) for result in found if not result.holds] == []


POLYNOMIAL = (
    "convolution_1d",
    "convolution_2d",
    "convolution_3d",
    "linear",
    "relu",
    "max_pooling_2d",
    "max_pooling_3d",
)


@pytest.mark.parametrize(("definition", "variant", "case"), [p for p in EVERY if p.values[0].name in POLYNOMIAL])
def test_reference_equals_formula_exactly(definition: Definition, variant: Variant, case: Case) -> None:
    found = comparisons(definition, variant, case, integers=True)
    assert [str(result) for result in found if result.got != result.expected] == []
