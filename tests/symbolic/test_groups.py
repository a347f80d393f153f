"""Both routes of a grouped product are also proven with one group, where the group's index is always 0."""

from __future__ import annotations

import importlib

import pytest

from svertka.codegen.lowering.built import built
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.levels import Subject
from svertka.codegen.verify.recording import defined_name
from svertka.codegen.verify.symbolic import prove
from svertka.codegen.verify.symbolic.regions import BOXES, REGIONS
from svertka.spec.layers import DEFINITIONS


@pytest.mark.parametrize("layer", ["convolution_1d", "convolution_2d"])
def test_one_group(layer: str) -> None:
    module = built(DEFINITIONS[layer])
    subject = Subject(module, module.definition.variants[0], "svertka.generated")
    kernels = importlib.import_module(f"svertka.generated.kernels.{layer}")
    ran: set[str] = set()
    for cases, region in ((subject.small_cases, REGIONS[0]), (subject.small_box_cases, BOXES)):
        case = cases[0]
        assert case.sizes["G"] > 1
        alone = Case(f"{case.name}-alone", {**case.sizes, "G": 1}, case.absent, case.last)
        proof = prove(module, subject.variant, kernels, alone, regions=(region,))
        assert proof.failures == ()
        assert proof.certain == proof.elements > 0
        ran |= set(proof.kernels)
    assert {defined_name(kernels, name) for kernel in module.kernels for name in kernel.functions} <= ran
