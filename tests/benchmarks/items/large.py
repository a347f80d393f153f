"""Tensors of more than 2**31 elements, forward and backward: a pointwise kernel, a pooling, a convolution.

All elements are small whole numbers: their sums are exact in float32 in every order. So results have the same bits for
all tiles, and equal PyTorch's float64 results for the last images alone, rounded once. Gradients are 0 except those of
the last images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from svertka.generated import functional

ON_GPU = True
ELEMENTS = 2**31 + 2**20
BYTES_AN_ELEMENT = 12  # input, output, their gradients, and one copy, of two bytes each, with reserve
FAR = 2  # images at the far end
CHANNELS, SIDE = 64, 32
LARGEST = 3

__all__ = ["ELEMENTS", "FUNCTIONS", "ON_GPU", "far_end", "run"]

Function = Callable[..., Any]
PLAIN = torch.nn.functional
FUNCTIONS: dict[str, tuple[Function, Function, dict[str, Any]]] = {
    "relu": (functional.relu, PLAIN.relu, {}),
    "max_pool2d": (functional.max_pool2d, PLAIN.max_pool2d, {"kernel_size": 2}),
    "conv2d": (functional.conv2d, PLAIN.conv2d, {"stride": 2, "padding": 1}),
}
"""svertka's function, PyTorch's, and their arguments; a convolution gets a weight in addition."""


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Run one function on tensors of that size."""
    free, _ = torch.cuda.mem_get_info()
    needed = BYTES_AN_ELEMENT * item["elements"]
    if free < needed:
        return {"inapplicable": f"{needed / 2**30:.0f} GiB are needed, {free / 2**30:.0f} GiB are free"}
    try:
        wrong = far_end(item["function"], item["elements"], "cuda")
    finally:
        torch.cuda.empty_cache()
    return {"failures": [f"values: {text}" for text in wrong]}


def far_end(name: str, elements: int, device: str) -> list[str]:
    """A function's result at the far end of that many elements, against PyTorch for the far end alone."""
    ours, plain, arguments = FUNCTIONS[name]
    count = elements // (CHANNELS * SIDE * SIDE) + 1
    images = torch.empty((count, SIDE, SIDE, CHANNELS), dtype=torch.bfloat16, device=device)
    images.random_(-LARGEST, LARGEST + 1)
    images = images.permute(0, 3, 1, 2).requires_grad_()
    weight = _weight(device) if name == "conv2d" else None
    found = _both(ours, images, weight, arguments)
    last = images[-FAR:].detach().double().requires_grad_()
    right = _both(plain, last, None if weight is None else weight.detach().double().requires_grad_(), arguments)
    return [f"{part} differs at the far end" for part in right if not _same(found[part], right[part])]


def _weight(device: str) -> torch.Tensor:
    weight = torch.empty((32, 3, 3, CHANNELS), device=device, dtype=torch.bfloat16).random_(-LARGEST, LARGEST + 1)
    return weight.permute(0, 3, 1, 2).requires_grad_()


def _both(function: Function, images: torch.Tensor, weight: torch.Tensor | None, arguments: Any) -> dict[str, Any]:
    """Output and gradients; those of images only for the last ones."""
    given = [images] if weight is None else [images, weight]
    output = function(*given, **arguments)
    gradient = torch.zeros_like(output)
    pattern = torch.arange(gradient[-FAR:].numel(), device=output.device) % (2 * LARGEST + 1) - LARGEST
    gradient[-FAR:] = pattern.reshape(gradient[-FAR:].shape).to(gradient.dtype)
    back = torch.autograd.grad(output, given, gradient)
    found = {"output": output[-FAR:].detach(), "gradient of images": back[0][-FAR:]}
    return found if weight is None else {**found, "gradient of weight": back[1]}


def _same(found: torch.Tensor, right: torch.Tensor) -> bool:
    """Equality with unrounded results after one rounding."""
    return torch.equal(found, right.to(found.dtype))
