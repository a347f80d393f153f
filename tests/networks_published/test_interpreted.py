"""Three small networks on the kernels, in Triton's interpreter."""

from __future__ import annotations

import copy

import pytest

from svertka import convert

from .agreement import bounds, results, still
from .catalogue import named

NAMES = ("Classifier", "RegUNet", "DenseNet")


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", NAMES)
def test_kernels_give_torchs_numbers(name: str, training: bool) -> None:
    network = named(name)
    theirs = network.built().train(training)
    ours, _ = convert(copy.deepcopy(theirs), fuse=True)
    with still(theirs), still(ours):
        bounds(theirs, network.images()).check(results(ours, network.images()))
