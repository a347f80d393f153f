"""The launches of a workload, found without a GPU: its call runs on tensors of torch's ``meta`` device and is recorded.

Input: a ``Workload`` and a target. Output: ``Pass``es with their launches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch

from svertka.codegen.machine.bench.workload import Workload, precision
from svertka.codegen.verify.recording import Launched, recording

__all__ = ["Pass", "meta_tensors", "passes"]


@dataclass(frozen=True)
class Pass:
    """One direction of a workload.

    Attributes:
        direction: as in ``measure.Row``.
        launches: in order.
        before: tensors that existed before and may be read; ``results``: tensors that are returned.
    """

    direction: str
    launches: tuple[Launched, ...]
    before: tuple[torch.Tensor, ...]
    results: tuple[torch.Tensor, ...]


@dataclass
class _Call:
    """The operator that a function called, with its arguments."""

    operator: Any = None
    tensors: tuple[torch.Tensor | None, ...] = ()
    symbols: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def passes(workload: Workload, target: str, boxes: bool = True) -> list[Pass]:
    """The forward pass in training, and the backward; for matrix products each gradient separately.

    Args:
        workload: the call.
        target: the target whose tables choose the tiles.
        boxes: whether operands that are boxes are loaded as such, if the target can.

    Raises:
        ValueError: the function calls no operator, or several.
    """
    with precision(workload):
        return _passes(workload, target, boxes)


def _passes(workload: Workload, target: str, boxes: bool) -> list[Pass]:
    tensors = meta_tensors(workload)
    call = _called(workload, tensors)
    operator = call.operator
    with _recorded(target, boxes) as forward:
        saved = operator.forward(call.tensors, call.symbols, True, call.skipped)
    given = tuple(tensor for tensor in call.tensors if tensor is not None)
    found = [Pass("forward", tuple(forward), given, tuple(tensor for tensor in saved if tensor is not None))]
    outputs, saved = saved[: len(operator.outputs)], saved[len(operator.outputs) :]
    gradients = [None if outputs[i] is None else torch.empty_like(outputs[i]) for i in operator.results]
    before = (*given, *(tensor for tensor in (*gradients, *saved) if tensor is not None))
    for direction, wanted in _directions(workload, operator, call.tensors):
        with _recorded(target, boxes) as backward:
            results = operator.backward(gradients, call.tensors, saved, call.symbols, wanted)
        made = tuple(tensor for tensor in results if tensor is not None)
        found.append(Pass(direction, tuple(backward), before, made))
    return found


def meta_tensors(workload: Workload) -> dict[str, torch.Tensor]:
    """Tensors with the shapes and strides of the workload's tensors, without memory."""
    made = {}
    for name, shape in workload.shapes.items():
        last = workload.layout == "channels_last" and len(shape) == 4
        form = torch.channels_last if last else torch.contiguous_format
        tensor = torch.empty(shape, dtype=getattr(torch, workload.storage), device="meta", memory_format=form)
        made[name] = tensor.requires_grad_(not name.startswith("running"))
    for name, shape in workload.labels.items():
        made[name] = torch.empty(shape, dtype=torch.int64, device="meta")
    return made


def _directions(
    workload: Workload, operator: Any, tensors: tuple[torch.Tensor | None, ...]
) -> Iterator[tuple[str, tuple[bool, ...]]]:
    names = [operator.tensors[place] for place in operator.differentiable]
    there = {name for name, tensor in zip(operator.tensors, tensors, strict=True) if tensor is not None}
    if workload.kind == "matrix":
        for name in ("input", "weight"):
            yield f"gradient of {name}", tuple(other == name for other in names)
    else:
        yield "backward", tuple(name in there and not name.startswith("running") for name in names)


def _called(workload: Workload, tensors: Mapping[str, torch.Tensor]) -> _Call:
    """Call the function up to its operator, which is recorded and returns results of the right shapes."""
    functional = importlib.import_module("svertka.generated.functional")
    operator_type = importlib.import_module("svertka.generated.runtime").Operator
    calls: list[_Call] = []
    plain: Callable[..., Any] = operator_type.__call__

    def note(
        operator: Any, *given: Any, shapes: Any = (), around: Any = None, skipped: Any = (), **symbols: Any
    ) -> Any:
        view = operator.view(given, around)
        flat = given if view is None else view.flat(operator.tensors, given)
        detached = tuple(None if tensor is None else tensor.detach() for tensor in flat)
        calls.append(_Call(operator, detached, symbols, skipped))
        return plain(operator, *given, shapes=shapes, around=around, skipped=skipped, **symbols)

    with mock.patch.object(operator_type, "__call__", note), torch.no_grad():
        getattr(functional, workload.function)(**tensors, **workload.arguments)
    if len(calls) != 1:
        raise ValueError(f"workload {workload.name!r}: {len(calls)} operators are called; it must be 1")
    return calls[0]


@contextmanager
def _recorded(target: str, boxes: bool) -> Iterator[list[Launched]]:
    """Record launches instead of running them, with tiles from a target's tables, although tensors are on no GPU."""
    runtime = importlib.import_module("svertka.generated.runtime")
    with recording(target, boxes=boxes) as found, mock.patch.object(runtime.Operator, "on_kernels", return_value=True):
        yield found
