"""What a forward keeps for its backward: no more bytes than torch's own layer keeps, and nothing that is not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from svertka.generated import functional, runtime, saving

from .cases import Case
from .test_autograd import EVERY_FORMULA, as_tuple, call, differentiable, every_formula

ESTIMATES = ("running_mean", "running_var")


def bytes_kept(function: Callable[..., Any], given: dict[str, Tensor], others: dict[str, Any]) -> int:
    """Bytes that autograd holds between forward and backward, every memory once; parameters are there anyway."""
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
    """Torch's function; where it has none, the same formula of its functions."""

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


UNLIKE = ("image_input", "center_crop")  # torch has no function of the kind; they keep no image
COMPARED = {
    key: case
    for key, case in EVERY_FORMULA.items()
    if case.function not in UNLIKE and not (case.function in ("normalize",) and len(case.shapes["input"]) != 4)
}


def kept(case: Case) -> tuple[int, int]:
    """Bytes that svertka's kernels keep and that torch keeps."""
    options = {k: v for k, v in case.others(torch.float32).items() if k != "seed"}
    if isinstance(options.get("target"), Tensor) and not options["target"].is_floating_point():
        options["target"] = options["target"].long()  # as which labels are kept; torch keeps bytes as bytes
    ours = {"seed": 7} if case.function == "dropout" else {}
    functions = (getattr(functional, case.function), ours), (of_torch(case.function), {})
    mine, theirs = (bytes_kept(f, case.tensors(torch.float32), options | more) for f, more in functions)
    return mine, theirs


@pytest.mark.skipif(not runtime.INTERPRETED, reason="needs the interpreter")
@pytest.mark.parametrize("case", COMPARED.values(), ids=str)
def test_no_more_is_kept_than_torch_keeps(case: Case) -> None:
    """But for resize, whose sums of weights are kept: a number a row and a column of the result, none a pixel."""
    mine, theirs = kept(case)
    sums = sum(case.options["size"]) * torch.float32.itemsize if case.function == "resize" else 0
    assert mine <= theirs + sums


@every_formula
def test_what_is_not_kept_is_not_read(case: Case, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN in its stead changes no gradient."""
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
