"""Every public function against PyTorch in float64, forward and backward, on every path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from svertka.generated import functional

from .agreement import agree, conditions, equal, nearest
from .cases import CASES, DIVISIBLE, Case
from .oracles import oracle

every_case = pytest.mark.parametrize("case", CASES, ids=str)
Results = tuple[list[Tensor], list[Tensor]]


def firsts() -> list[Case]:
    """One case per function, the first with a batch and most of its tensors."""
    found: dict[str, Case] = {}
    for case in CASES:
        found.setdefault(case.function, case)
    return list(found.values())


every_function = pytest.mark.parametrize("case", firsts(), ids=str)


def as_list(results: Any) -> list[Tensor]:
    return list(results) if isinstance(results, tuple) else [results]


def run(
    function: Callable[..., Any],
    case: Case,
    tensors: dict[str, Tensor],
    others: dict[str, Any],
    factor: int = DIVISIBLE,
) -> Results:
    """Results, then state, and the gradients for an integer output gradient, for averages a multiple of the counts."""
    given = {k: t.detach() if k in case.constant else t.detach().requires_grad_() for k, t in tensors.items()}
    state = {k: t.clone() for k, t in given.items() if k.startswith("running")}
    outputs = as_list(function(**given | state, **others))
    grad = output_gradient(case, outputs[0], factor)
    wanted = [t for t in given.values() if t.requires_grad]
    return [*outputs, *state.values()], list(torch.autograd.grad(outputs[0], wanted, grad))


def output_gradient(case: Case, output: Tensor, factor: int = DIVISIBLE) -> Tensor:
    values = (torch.arange(output.numel()) % 7 - 3).view(output.shape).to(output.dtype).to(output.device)
    return values * factor if "avg" in case.function else values


def magnitudes(case: Case) -> tuple[float, list[float]]:
    """Conditions of the output and of each gradient."""
    tensors = case.tensors()
    function, others = oracle(case.function), case.others()
    wanted = [name for name in tensors if name not in case.constant]
    moving = [tensors[name] for name in wanted]

    def forward(*values: Tensor) -> Tensor:
        state = {k: t.clone() for k, t in tensors.items() if k.startswith("running")}
        output: Tensor = function(**tensors | state | dict(zip(wanted, values, strict=True)), **others)
        return output

    def backward(*values: Tensor) -> tuple[Tensor, ...]:
        *inputs, grad = values
        output = forward(*inputs)
        found = torch.autograd.grad(output, inputs, grad, create_graph=True)
        return tuple(g if g.requires_grad else g + 0 * grad.sum() for g in found)

    grad = output_gradient(case, forward(*moving))
    (whole,) = conditions(forward, moving)
    return whole, conditions(backward, [*(m.requires_grad_() for m in moving), grad])


@pytest.mark.thinned(4)
@every_case
def test_as_torch(case: Case, road: str, device: str) -> None:
    function, given = getattr(functional, case.function), case.tensors(device=device)
    results, gradients = run(function, case, given, case.others(device=device))
    expected, expected_gradients = run(oracle(case.function), case, case.tensors(), case.others())
    assert len(results) == len(expected)
    if case.exact:
        for found, wanted in zip([*results, *gradients], [*expected, *expected_gradients], strict=True):
            equal(found, wanted)
        return
    elements = sum(t.numel() for t in case.tensors().values()) + results[0].numel()
    whole, shares = magnitudes(case)
    size = max(float(t.abs().max()) ** 2 for t in case.tensors().values())
    for found, wanted in zip(results, expected, strict=True):
        agree(found, wanted, max(whole, size), elements)
    for found, wanted, share in zip(gradients, expected_gradients, shares, strict=True):
        agree(found, wanted, share, elements)


def test_every_function_has_cases() -> None:
    assert {case.function for case in CASES} | {"dropout"} == set(functional.__all__)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaps": lambda t: t.repeat_interleave(2, -1)[..., ::2],
    "reversed": lambda t: t.permute(*reversed(range(t.dim()))).contiguous().permute(*reversed(range(t.dim()))),
    "channels_last": lambda t: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t,
    "expanded": lambda t: t[:1].expand(t.shape),
}


@pytest.mark.thinned(4)
@every_function
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(case: Case, layout: str, road: str, device: str) -> None:
    function = getattr(functional, case.function)
    strided = {name: LAYOUTS[layout](t) for name, t in case.tensors(device=device).items()}
    dense = {name: t.contiguous() for name, t in strided.items()}
    found, found_gradients = run(function, case, strided, case.others(device=device))
    expected, expected_gradients = run(function, case, dense, case.others(device=device))
    if case.exact or road == "reference":
        for left, right in zip([*found, *found_gradients], [*expected, *expected_gradients], strict=True):
            equal(left, right.cpu())
        return
    elements = sum(t.numel() for t in dense.values()) + found[0].numel()
    largest = max(1.0, *(float(t.detach().abs().max()) for t in (*expected, *expected_gradients)))
    for left, right in zip([*found, *found_gradients], [*expected, *expected_gradients], strict=True):
        agree(left, right.cpu(), largest, elements)


@every_function
def test_empty_batch(case: Case, road: str, device: str) -> None:
    """The output has no elements, gradients of tensors without a batch are 0, state stays."""
    batched = {"input", "target", "residual"}
    tensors = {k: t[:0] if k in batched else t for k, t in case.tensors(device=device).items()}
    others = {k: v[:0] if k in batched else v for k, v in case.others(device=device).items()}
    results, gradients = run(getattr(functional, case.function), case, tensors, others)
    assert results[0].shape[:1] in ((0,), ())
    assert gradients[0].shape == tensors["input"].shape
    for gradient in gradients:
        equal(gradient, torch.zeros(gradient.shape, dtype=gradient.dtype))
    for name, state in zip(("running_mean", "running_var"), results[1:], strict=False):
        if name in tensors:
            equal(state, tensors[name].cpu())


NARROW = [torch.float16, torch.bfloat16, torch.float32]


@pytest.mark.thinned(4)
@every_function
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_narrow_types(case: Case, dtype: torch.dtype, road: str, device: str) -> None:
    """Exact functions are exact while integers fit; the reference computes in float64 and rounds once."""
    function = getattr(functional, case.function)
    narrow, others = case.tensors(dtype, device, largest=1), case.others(dtype, device)
    found, gradients = run(function, case, narrow, others, 1)
    assert all(t.dtype == dtype for t in [*found[:1], *gradients])
    wide = {name: t.double() for name, t in narrow.items()}
    same = {k: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in others.items()}
    if road == "reference":
        expected, expected_gradients = run(function, case, wide, same, 1)
        for left, right in zip([*found, *gradients], [*expected, *expected_gradients], strict=True):
            equal(left, nearest(right, dtype) if right.is_floating_point() else right)
    elif case.exact and "avg" not in case.function:
        expected, expected_gradients = run(oracle(case.function), case, wide, same, 1)
        for left, right in zip([*found, *gradients], [*expected, *expected_gradients], strict=True):
            equal(left, right.to(left.dtype))
    else:
        assert all(t.isfinite().all() for t in [*found, *gradients])
