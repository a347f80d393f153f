"""The transposed of a linear layer: its axes are exchanged, and others than linear layers are refused."""

from __future__ import annotations

import pytest

from svertka.spec.layers import DEFINITIONS
from svertka.spec.layers.convolution import convolution
from svertka.spec.transposed import transposed


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_input_and_output_change_places(rank: int) -> None:
    layer = convolution(rank, biased=False)
    turned = transposed(layer, "turned")
    assert turned.tensors["input"].dims == layer.tensors["output"].dims
    assert turned.tensors["output"].dims == layer.tensors["input"].dims
    assert {tensor.name for tensor in turned.inputs} == {"input", "weight"}


@pytest.mark.parametrize("name", ["max_pooling_1d", "sigmoid"])
def test_a_layer_that_is_not_linear_is_refused(name: str) -> None:
    layer = DEFINITIONS[name].variants[0].layer
    with pytest.raises(ValueError, match=rf"layer {name}: it is not linear in 'input'; transpose a layer that is"):
        transposed(layer, "turned")
