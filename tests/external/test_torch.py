"""torch's own checks: gradients against finite differences, and operators by ``torch.library``'s checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from svertka.generated import functional, runtime, saving

from .calls import CALLS, Call, registered

every_call = pytest.mark.parametrize("call", CALLS, ids=str)


def recorded(call: Call, monkeypatch: pytest.MonkeyPatch) -> tuple[runtime.Operator, list[Any]]:
    """The operator that a call uses, with its arguments in ``torch.library``'s form."""
    found: list[tuple[runtime.Operator, list[Any]]] = []
    original = runtime.Operator.__call__

    def record(
        operator: runtime.Operator,
        *tensors: Any,
        shapes: Any = (),
        around: int | None = None,
        skipped: tuple[str, ...] = (),
        **symbols: Any,
    ) -> Any:
        view = operator.view(tensors, around)
        given = tensors if view is None else view.flat(operator.tensors, tensors)
        found.append((operator, [*given, *operator.packed(symbols)]))
        return original(operator, *tensors, shapes=shapes, around=around, skipped=skipped, **symbols)

    with monkeypatch.context() as patch:
        patch.setattr(runtime.Operator, "__call__", record)
        tensors = call.tensors()
        call.bound(tensors)(*(tensors[name] for name in call.wanted()))
    (pair,) = found
    return pair


def asking(operator: runtime.Operator, values: list[Any]) -> list[Any]:
    """The arguments, which now require gradients."""
    return [
        value.detach().requires_grad_() if place in operator.differentiable and isinstance(value, Tensor) else value
        for place, value in enumerate(values)
    ]


def test_every_operator_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    assert [recorded(call, monkeypatch)[0].name for call in CALLS] == [call.operator for call in CALLS]
    assert {call.operator for call in CALLS} == set(registered())
    assert {call.function for call in CALLS} == set(functional.__all__)


@every_call
def test_gradient_against_differences(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every element of the Jacobian, for the reference."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    tensors = call.tensors()
    moving = [tensors[name].requires_grad_() for name in call.wanted()]
    assert torch.autograd.gradcheck(call.bound(tensors), moving)


@pytest.mark.thinned(9)
@pytest.mark.skipif(not runtime.INTERPRETED, reason="needs the interpreter")
@every_call
def test_kernels_gradient_against_differences(call: Call) -> None:
    """Random combinations of the Jacobian's rows and columns, for the kernels in Triton's interpreter."""
    tensors = call.tensors()
    moving = [tensors[name].requires_grad_() for name in call.wanted()]
    with np.errstate(divide="ignore", invalid="ignore"):  # the interpreter divides in masked lanes too
        assert torch.autograd.gradcheck(call.bound(tensors), moving, fast_mode=True)


@pytest.mark.thinned(5)
@every_call
def test_operator_as_torch_asks(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema, autograd registration, fake tensors, and the graph of forward and backward for all extents."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    operator, values = recorded(call, monkeypatch)
    torch.library.opcheck(operator.registered, tuple(asking(operator, values)))


@every_call
@pytest.mark.thinned(5)
def test_operator_with_saved_tensors_as_torch_asks(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator for training: results, followed by the saved tensors."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    operator, values = recorded(call, monkeypatch)
    torch.library.opcheck(operator.registered_saving, tuple(asking(operator, values)))


@pytest.mark.thinned(5)
@every_call
def test_operator_s_gradient_as_torch_asks(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward is a separate operator; it gets every tensor, or only the shape if it does not read the values."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    operator, values = recorded(call, monkeypatch)
    results = operator.registered_saving(*values)
    listed = list(results) if isinstance(results, tuple) else [results]
    grads = [torch.ones_like(listed[place]) for place in operator.results]
    known, count = len(operator.tensors), len(operator.outputs)
    tensors, symbols = values[:known], values[known:]
    wanted = [values[place] is not None for place in operator.differentiable]
    for spared in (False, True):
        kept, unread = saving.sparing(operator, tensors, listed, kernels=False) if spared else (tensors, {})
        given = [*kept, *[None] * len(operator.asked), *listed[count:], *symbols]
        rest = (*grads, *given, *saving.described(operator, unread), wanted)
        torch.library.opcheck(operator.registered_backward, rest)
