"""Export of converted networks: ``torch.export``, and ONNX of standard operators that onnxruntime runs."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from svertka import convert

from .agreement import Results, bounds
from .catalogue import Network, named

onnxruntime = pytest.importorskip("onnxruntime", reason="the development extra has it")

NAMES = ("alexnet", "resnet20_cifar10")


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> Network:
    return named(request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "fused"])
def models(request: pytest.FixtureRequest, network: Network) -> tuple[nn.Module, nn.Module]:
    theirs = network.built().eval()
    return theirs, convert(copy.deepcopy(theirs), fuse=request.param)[0]


@pytest.mark.thinned(4)
def test_exported_programs_give_the_same_bits(network: Network, models: tuple[nn.Module, nn.Module]) -> None:
    """The program calls operators of this package, and computes the same as the model."""
    _, ours = models
    images = network.images()
    program = torch.export.export(ours, (images,))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any(name.startswith("svertka.conv2d") for name in called)
    assert torch.equal(program.module()(images), ours(images))


@pytest.mark.slow
def test_onnx_has_standard_operators_alone_and_the_same_numbers(
    network: Network, models: tuple[nn.Module, nn.Module], tmp_path: Path
) -> None:
    """In float32: onnxruntime has no convolution in float64."""
    theirs, ours = models
    images = network.images(dtype=torch.float32)
    path = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own exporter
        program = torch.onnx.export(copy.deepcopy(ours).float(), (images,), dynamo=True, verbose=False)
    assert program is not None
    assert {node.domain for node in program.model.graph} == {""}
    assert not program.model.functions
    program.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    expected = bounds(copy.deepcopy(theirs), images.double(), torch.float32)
    rest = expected.expected
    expected.check(Results({"0": torch.from_numpy(found).double()}, rest.gradients, rest.buffers))
