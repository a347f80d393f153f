"""The reference against the formula, forward and backward, for every layer.

The two are independent: the reference is written by hand from the textbook, the formula's adjoint is derived. Both are
evaluated in float64; they may differ by the running error bound of the formula. If all values are integers that float64
represents and the formula only adds, multiplies and compares, they must be equal.
"""

from __future__ import annotations

import random

import pytest
import torch

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.verify.cases import Case, cases
from svertka.codegen.verify.equivalence import Comparison, compare, compare_exactly, draw_values, formula_values
from svertka.codegen.verify.levels.reference import through_reference
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec.definition import Definition, Variant
from svertka.spec.exact import Exact
from svertka.spec.layers import DEFINITIONS
from tests.operators import operators

OPERATORS = {operator.kernels[1]: operator for operator in operators()}
EVERY = [
    pytest.param(definition, variant, case, id=case.name)
    for definition in DEFINITIONS.values()
    for variant in definition.variants
    for case in cases(definition, variant)
]


def _module(definition: Definition) -> KernelModule:
    return KernelModule(definition, (), (), {}, {}, {}, {})


def comparisons(definition: Definition, variant: Variant, case: Case) -> list[Comparison]:
    programs = through_reference(OPERATORS[variant.layer.name], case)
    return [result for _, result in compare(_module(definition), variant, programs, case, (torch.float64,))]


@pytest.mark.parametrize(("definition", "variant", "case"), EVERY)
def test_reference_equals_formula(definition: Definition, variant: Variant, case: Case) -> None:
    found = comparisons(definition, variant, case)
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
    layer = variant.layer
    values = draw_values(definition, layer, case, _small)
    expected = formula_values(definition, layer, case, values, Exact(numbers=Tensors()))
    programs = through_reference(OPERATORS[layer.name], case)
    found = list(compare_exactly(_module(definition), variant, programs, case, values, expected, torch.float64))
    assert found, "nothing was compared"
    assert [str(result) for result in found if result.got != result.expected] == []


def _small(draw: random.Random) -> float:
    return float(draw.randint(-4, 4))
