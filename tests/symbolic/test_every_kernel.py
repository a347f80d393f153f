"""Every kernel of the committed package, forward and backward, is proven to compute its formula."""

from __future__ import annotations

import importlib

import pytest

from svertka.codegen.lowering.built import built
from svertka.codegen.verify.recording import defined_name
from svertka.codegen.verify.symbolic import prove
from svertka.codegen.verify.symbolic.small import small_cases
from svertka.spec.layers import DEFINITIONS


@pytest.mark.thinned(9)
@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_kernels_compute_their_formula(name: str) -> None:
    module = built(DEFINITIONS[name])
    kernels = importlib.import_module(f"svertka.generated.kernels.{name}")
    ran = set()
    for variant in module.definition.variants:
        for case in small_cases(module.definition, variant):
            proof = prove(module, variant, kernels, case)
            assert proof.failures == ()
            assert proof.elements > 0
            assert proof.error_probability < 2.0**-80
            ran |= set(proof.kernels)
    assert ran == {defined_name(kernels, kernel.name) for kernel in module.kernels}
