"""Programs with an open number of examples, and models in the form that tracers use."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from svertka import convert, generated

IMAGES = (3, 4, 6, 6)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv": (generated.Conv2d(4, 2, 3), IMAGES),
    "batch norm": (generated.BatchNorm2d(4), IMAGES),
    "batch norm, evaluation": (generated.BatchNorm2d(4).eval(), IMAGES),
    "pooling": (generated.MaxPool2d(2), IMAGES),
    "log softmax": (generated.LogSoftmax(1), IMAGES),
    "local response": (generated.LocalResponseNorm(3), IMAGES),
    "linear of rows": (generated.Linear(6, 5), IMAGES),
    "relu": (generated.ReLU(), IMAGES),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_exported_program_takes_any_number_of_examples(name: str, road: str) -> None:
    layer, shape = LAYERS[name]
    layer = copy.deepcopy(layer)
    given = torch.linspace(-2, 2, 3 * 4 * 6 * 6).view(shape)
    program = torch.export.export(layer, (given,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},)).module()
    for images in (given, torch.linspace(-1, 3, 5 * 4 * 6 * 6).view(5, *shape[1:])):
        expected = copy.deepcopy(layer)(images)
        torch.testing.assert_close(program(images), expected, rtol=0, atol=0)


def test_labels_may_be_of_any_number(road: str) -> None:
    dims = {0: torch.export.Dim("n", min=2)}
    given = torch.linspace(-1, 1, 12).view(3, 4), torch.tensor([1, 2, 0])
    program = torch.export.export(generated.CrossEntropyLoss(), given, dynamic_shapes=(dims, dims)).module()
    more = torch.linspace(-2, 1, 20).view(5, 4), torch.tensor([1, 2, 0, 3, 3])
    torch.testing.assert_close(program(*more), generated.CrossEntropyLoss()(*more), rtol=0, atol=0)


def test_a_converted_normalization_is_traced_by_torch_fx() -> None:
    model, _ = convert(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).eval())
    images = torch.linspace(-1, 1, 96).view(2, 4, 3, 4)
    assert torch.equal(torch.fx.symbolic_trace(model)(images), model(images))
    with pytest.raises(ValueError, match="expected 4D input"):
        model[1](torch.ones(3, 4))


def normalized(kind: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """An ensemble of two normalizations in training, and their estimates."""
    models = [kind(3), kind(3)]
    parameters, buffers = stack_module_state(models)
    images = torch.linspace(-1, 2, 96).view(2, 3, 4, 4)

    def one(parameter: Any, buffer: Any, given: Tensor) -> Tensor:
        return functional_call(models[0], (parameter, buffer), (given,))  # type: ignore[no-any-return]

    return torch.vmap(one, in_dims=(0, 0, None))(parameters, buffers, images), buffers


def test_an_ensemble_of_normalizations_updates_its_estimates(road: str) -> None:
    (ours, estimates), (theirs, expected) = normalized(generated.BatchNorm2d), normalized(nn.BatchNorm2d)
    torch.testing.assert_close(ours, theirs)
    assert estimates.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(estimates[name], value)
    assert float(estimates["running_mean"].abs().max()) > 0


def test_a_normalization_is_made_functional(road: str) -> None:
    """Its estimates are among the inputs: ``functionalize`` refuses to write to any other tensor."""
    layer, images = generated.BatchNorm2d(4), torch.linspace(-1, 1, 3 * 4 * 6 * 6).view(IMAGES)
    other = copy.deepcopy(layer)
    expected = other(images)

    def function(state: dict[str, Tensor], given: Tensor) -> Tensor:
        return functional_call(layer, state, (given,))  # type: ignore[no-any-return]

    state = {**dict(layer.named_parameters()), **{name: buffer.clone() for name, buffer in layer.named_buffers()}}
    assert torch.equal(torch.func.functionalize(function)(state, images), expected)
    assert torch.equal(state["running_mean"], other.running_mean)
    assert float(other.running_mean.abs().max()) > 0
