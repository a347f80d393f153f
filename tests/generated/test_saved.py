"""The tensors that a forward saves for its backward: not more bytes than torch's own layer, and nothing unread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU

from svertka.generated import functional, runtime, saving
from svertka.generated.convert import convert
from tests.operators import operators

from .cases import Case
from .test_autograd import EVERY_FORMULA, as_tuple, call, differentiable, every_formula

ESTIMATES = ("running_mean", "running_var")


def bytes_kept(function: Callable[..., Any], given: dict[str, Tensor], others: dict[str, Any]) -> int:
    """Bytes that autograd holds between forward and backward, shared memory once; without parameters."""
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.numel() * tensor.itemsize
        return tensor

    parameters = {given[name].untyped_storage().data_ptr() for name in ("weight", "bias") if name in given}
    leaves = {k: t.requires_grad_(k not in ("mean", "std", *ESTIMATES)) for k, t in given.items()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function(**leaves, **others)
    return sum(size for memory, size in held.items() if memory not in parameters)


def of_torch(name: str) -> Callable[..., Any]:
    """Torch's function; where it has none, the same formula composed of its functions."""

    def norm(input: Tensor, window_channel_size: int, alpha: float, beta: float, k: float) -> Tensor:
        return torch.nn.functional.local_response_norm(input, window_channel_size, alpha, beta, k)

    def relu_norm(input: Tensor, **rest: Any) -> Tensor:
        return norm(input.relu(), **rest)

    def conv_relu(**given: Any) -> Tensor:
        return torch.nn.functional.conv2d(**given).relu()

    def batch_norm_relu(residual: Tensor | None = None, **given: Any) -> Tensor:
        made = torch.nn.functional.batch_norm(**given)
        return (made if residual is None else made + residual).relu()

    own = {
        "cross_channel_norm": norm,
        "relu_cross_channel_norm": relu_norm,
        "conv2d_relu": conv_relu,
        "batch_norm_relu": batch_norm_relu,
        "batch_norm_add_relu": batch_norm_relu,
        "normalize": lambda input, mean, std: (input - mean[:, None, None]) / std[:, None, None],
        "resize": lambda input, size, antialias=True: torch.nn.functional.interpolate(
            input, size, mode="bilinear", antialias=antialias
        ),
        "max_pool1d": lambda **given: torch.nn.functional.max_pool1d_with_indices(**given),
    }
    return own.get(name) or getattr(torch.nn.functional, name)


UNLIKE = ["image_input", "center_crop"]  # torch has no such function; they save no image
UNLIKE += [f"interpolate_{kind}{rank}d" for kind in ("nearest", "linear") for rank in (2, 3)]
COMPARED = {
    key: case
    for key, case in EVERY_FORMULA.items()
    if case.function not in UNLIKE and not (case.function in ("normalize",) and len(case.shapes["input"]) != 4)
}


def kept(case: Case) -> tuple[int, int]:
    """Bytes that svertka's kernels save and that torch saves."""
    options = {k: v for k, v in case.others(torch.float32).items() if k != "seed"}
    if isinstance(options.get("target"), Tensor) and not options["target"].is_floating_point():
        options["target"] = options["target"].long()  # the type in which labels are saved; torch saves bytes as bytes
    ours = {"seed": 7} if case.function == "dropout" else {}
    functions = (getattr(functional, case.function), ours), (of_torch(case.function), {})
    mine, theirs = (bytes_kept(f, case.tensors(torch.float32), options | more) for f, more in functions)
    return mine, theirs


@pytest.mark.skipif(not runtime.INTERPRETED, reason="needs the interpreter")
@pytest.mark.parametrize("case", COMPARED.values(), ids=str)
def test_no_more_is_kept_than_torch_keeps(case: Case) -> None:
    """Except sums, none per pixel: of weights, one per row and column that resize makes; of a row's exponentials."""
    mine, theirs = kept(case)
    assert mine <= theirs + sums(case) * torch.float32.itemsize


STATISTICS = {"softmax": 2, "log_softmax": 2, "cross_entropy": 3}
"""Numbers kept for a row: its maximum, its sum of exponentials, its label's weight. Torch keeps results."""


def sums(case: Case) -> int:
    """Numbers that a case keeps and torch does not."""
    if case.function == "resize":
        return sum(case.options["size"])
    shape = case.shapes["input"]
    classes = shape[case.options.get("dim", 1 if len(shape) > 1 else 0)]
    return STATISTICS.get(case.function, 0) * (math.prod(shape) // classes)


@every_formula
def test_what_is_not_kept_is_not_read(case: Case, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN instead of it changes no gradient."""
    gradients = []
    for fill in (None, float("nan")):
        given = {k: t.requires_grad_(k in differentiable(case)) for k, t in case.tensors().items()}
        if fill is not None:
            made = saving.stand_in

            def poisoned(shape: Any, device: Any, made: Any = made) -> Tensor:
                return made(shape, device).fill_(float("nan")) if shape[2].is_floating_point else made(shape, device)

            monkeypatch.setattr(saving, "stand_in", poisoned)
        result = as_tuple(call(case, given))[0]
        result.backward(torch.ones_like(result))
        gradients.append([t.grad for t in given.values()])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one, rtol=0, atol=0, equal_nan=True)


ANSWERED = {operator.name: operator for operator in operators() if operator.answered}


def test_a_result_is_kept_in_the_place_of_the_input_it_answers_for() -> None:
    assert "relu" in ANSWERED


@pytest.mark.parametrize("operator", ANSWERED.values(), ids=lambda operator: operator.name)
def test_a_gradient_does_not_tell_an_input_from_the_result_that_answers_for_it(
    operator: runtime.Operator, road: str
) -> None:
    """Bit for bit, at ties, infinities and NaN; also the gradient's own operator, which second order uses."""
    numbers = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 3.0, -3.0, math.inf, -math.inf, math.nan])
    assert operator.tensors == ("input",)
    assert not operator.symbols
    result = as_tuple(operator.registered(numbers))[0]
    seed = torch.arange(1.0, 10.0)
    own = operator.gradient
    assert own is not None
    for gradient in (lambda one: operator.backward((seed,), (one,), (), {}, (True,)), lambda one: own(seed, one)):
        (from_input,), (from_result,) = gradient(numbers), gradient(result)
        torch.testing.assert_close(from_result, from_input, rtol=0, atol=0)


def test_layers_that_meet_keep_what_lies_between_them_once(road: str) -> None:
    """A result that the next layer saves as its input is not a second tensor."""
    torch.manual_seed(0)
    layers = [Conv2d(3, 5, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(5 * 3 * 4, 7), ReLU(inplace=True)]
    model = torch.nn.Sequential(*layers)
    image = torch.randn(2, 3, 9, 11)
    parameters = {p.data_ptr() for p in model.parameters()}

    def bytes_of(run: Callable[[Tensor], Tensor]) -> int:
        held = {}

        def pack(tensor: Tensor) -> Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            alive = run(image)
        del alive
        return sum(size for memory, size in held.items() if memory not in parameters)

    theirs = bytes_of(model)
    assert bytes_of(convert(model)[0]) <= theirs


@pytest.mark.parametrize("function", [functional.relu, torch.relu])
def test_an_input_may_change_once_its_result_is_kept(function: Callable[[Tensor], Tensor], road: str) -> None:
    """And the result must not change, as with torch's function."""
    leaf = torch.tensor([1.0, -2.0, 0.0, math.nan], requires_grad=True)
    given = leaf * 1
    result = function(given)
    given.add_(1)
    result.backward(torch.ones(4))
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [1.0, 0.0, 0.0, 1.0]
    changed = function(leaf * 1).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        changed.sum().backward()
