"""Calls in the spelling of torch's functions and modules: names and order of parameters, and what torch deprecates."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from svertka import generated
from svertka.generated import functional, modules

from .agreement import equal

MODULES = [name for name in modules.__all__ if hasattr(nn, name)]
OTHERS = {"normalize": "torch's divides by a norm"}
FUNCTIONS = [
    name for name in functional.__all__ if inspect.isfunction(getattr(nn.functional, name, None)) and name not in OTHERS
]


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_torchs_parameters(name: str) -> None:
    """In torch's order, so that a call by position means the same."""
    theirs = parameters(getattr(nn.functional, name))
    if theirs[0] == "args":  # torch dispatches on return_indices
        theirs = parameters(getattr(nn.functional, f"{name}_with_indices"))
    assert parameters(getattr(functional, name))[: len(theirs)] == theirs


@pytest.mark.parametrize("name", MODULES)
def test_modules_take_torchs_parameters(name: str) -> None:
    ours, theirs = (parameters(getattr(place, name).forward) for place in (generated, nn))
    assert ours[: len(theirs)] == theirs


def warned(function: Any, *args: Any, **options: Any) -> tuple[Tensor, str, str]:
    """What a call returns, warns of, and in which file."""
    with pytest.warns(UserWarning, match="deprecated") as caught:
        result = function(*args, **options)
    return result, str(caught[0].message), caught[0].filename


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (2, 3, 4), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_chooses_a_dimension(name: str, shape: tuple[int, ...], road: str) -> None:
    scores = torch.arange(float(torch.Size(shape).numel()), dtype=torch.float64).view(shape)
    ours, theirs = (warned(getattr(place, name), scores) for place in (functional, nn.functional))
    torch.testing.assert_close(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]
    module = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[name]
    again = [warned(getattr(place, module)(), scores) for place in (generated, nn)]
    equal(again[0][0], ours[0])
    assert again[0][1:] == again[1][1:]
    assert again[0][1] == ours[1]
    _, _, file = warned(getattr(functional, name), scores, None, 1)
    assert file.endswith("arguments.py")


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
def test_cross_entropy_by_two_flags(size_average: bool | None, reduce: bool | None, road: str) -> None:
    scores, labels = torch.tensor([[0.5, 1.5, -1.0], [2.0, 0.0, 1.0]]), torch.tensor([2, 0])
    given: tuple[Any, ...] = (scores, labels, None, size_average, -100, reduce, "sum")
    if size_average is None is reduce:
        torch.testing.assert_close(functional.cross_entropy(*given), nn.functional.cross_entropy(*given))
        return
    ours, theirs = (warned(place.cross_entropy, *given) for place in (functional, nn.functional))
    torch.testing.assert_close(ours[0], theirs[0])
    assert ours[1] == theirs[1]
    assert ours[2] == __file__


PRELU = [((), (1,)), ((), ()), ((3,), (1,)), ((2, 0), (0,)), ((0, 0), (0,)), ((2, 0, 3), (0,))]


@pytest.mark.parametrize(("shape", "weights"), PRELU, ids=str)
def test_prelu_of_nothing_and_of_one_number(shape: tuple[int, ...], weights: tuple[int, ...], road: str) -> None:
    found = []
    for place in (functional, nn.functional):
        given = torch.linspace(-2, 2, torch.Size(shape).numel()).view(shape).requires_grad_()
        weight = torch.full(weights, 0.25).requires_grad_()
        output = place.prelu(given, weight)
        found.append((output, *torch.autograd.grad(output.sum(), (given, weight))))
    for ours, theirs in zip(*found, strict=True):
        equal(ours, theirs)


@pytest.mark.parametrize(("shape", "weights"), [((2, 3), 0), ((3,), 0), ((2, 4), 3), ((), 2)], ids=str)
def test_prelu_of_other_channels_is_refused(shape: tuple[int, ...], weights: int) -> None:
    with pytest.raises(ValueError, match=r"must (divide|be|have)"):
        generated.PReLU(weights)(torch.ones(shape))
    with pytest.raises(RuntimeError):
        nn.PReLU(weights)(torch.ones(shape))
