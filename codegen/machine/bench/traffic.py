"""The limits of a call: bytes that must be moved, and operations that must be done.

Bytes follow from the launches: every tensor that existed before the call, or is returned by it, counts once, however
often kernels read it; temporaries do not count. Operations of a matrix product follow from the shapes.

Input: a call. Output: bytes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

__all__ = ["backward_bytes", "forward_bytes", "operations"]

PACKAGE = "svertka.generated"


@contextmanager
def _recorded() -> Iterator[dict[int, int]]:
    """Bytes of every tensor that a launch received, by address."""
    launching, plans = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("launching", "plans"))

    found: dict[int, int] = {}
    run = launching.run

    def record(kernel: Any, how: Any, schedule: Any, arguments: tuple[Any, ...], *rest: Any) -> None:
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                found[argument.data_ptr()] = argument.numel() * argument.itemsize
        run(kernel, how, schedule, arguments, *rest)

    with mock.patch.object(launching, "run", record), mock.patch.object(plans, "ENABLED", False):
        yield found


def _kept(touched: Mapping[int, int], tensors: Any) -> int:
    """Bytes of those accessed tensors that are among some given tensors."""
    wanted = {tensor.data_ptr() for tensor in tensors if tensor is not None}
    return sum(size for address, size in touched.items() if address in wanted)


def forward_bytes(call: Callable[[], torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> int:
    """Bytes of the inputs and outputs of a forward pass; 0 if no kernel was launched."""
    with _recorded() as touched, torch.no_grad():
        output = call()
    return _kept(touched, (*tensors.values(), output))


def backward_bytes(
    call: Callable[[], torch.Tensor], tensors: Mapping[str, torch.Tensor], wanted: list[torch.Tensor]
) -> int:
    """Bytes of the gradients and of the saved tensors that a backward pass accesses."""
    with _recorded() as forward:
        output = call()
    gradient = torch.ones_like(output)
    with _recorded() as touched:
        found = torch.autograd.grad(output, wanted, gradient)
    before = {*forward, *(tensor.data_ptr() for tensor in tensors.values()), gradient.data_ptr()}
    ours = _kept(touched, found)
    return ours + sum(size for address, size in touched.items() if address in before)


def operations(output: torch.Tensor, weight: torch.Tensor) -> int:
    """Operations of a product, multiplies and adds, for a weight with its results on the first axis."""
    return 2 * output.numel() * weight[0].numel()
