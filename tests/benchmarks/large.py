"""Tensors of more than 2**31 elements, forward and backward: a pointwise kernel, a pooling, a convolution.

What the kernels give at the far end must be what they give for the far end alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["large_tensors"]

ELEMENTS = 2**31 + 2**20
ROOM = 40 * 2**30  # bytes


def large_tensors() -> dict[str, str]:
    """What is wrong, by kernel; empty texts where nothing is."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    if free < ROOM:
        return {"not run": ""}
    found = {}
    for name, run in {"relu": _relu, "max_pool2d": _pooling, "conv2d": _convolution}.items():
        try:
            found[name] = run()
        except Exception as error:  # a line of the report
            found[name] = f"{type(error).__name__}: {str(error)[:300]}"
        torch.cuda.empty_cache()
    return found


def _images(channels: int, side: int) -> Any:
    """Random images, so many that their elements exceed 2**31, channels last."""
    import torch

    count = ELEMENTS // (channels * side * side) + 1
    images = torch.empty((count, channels, side, side), dtype=torch.bfloat16, device="cuda")
    images = images.to(memory_format=torch.channels_last)
    return images.normal_()


def _same_at_the_end(images: Any, function: Callable[[Any], Any]) -> str:
    """Run a function and its gradient on all images and on the last two; compare these two."""
    import torch

    results = []
    for some in (images, images[-2:].clone()):
        some.requires_grad_()
        output = function(some)
        gradient = torch.zeros_like(output)
        gradient[-2:] = torch.linspace(-1, 1, gradient[-2:].numel(), device="cuda").reshape(gradient[-2:].shape)
        (back,) = torch.autograd.grad(output, some, gradient)
        results.append((output[-2:].detach().clone(), back[-2:].clone()))
        del output, gradient, back
    names = ("output", "gradient")
    pairs = zip(names, *results, strict=True)
    return ", ".join(f"{name} differs at the far end" for name, a, b in pairs if not torch.equal(a, b))


def _relu() -> str:
    from svertka.generated.functional import relu

    return _same_at_the_end(_images(64, 32), relu)


def _pooling() -> str:
    from svertka.generated.functional import max_pool2d

    return _same_at_the_end(_images(64, 32), lambda images: max_pool2d(images, 2))


def _convolution() -> str:
    import torch

    from svertka.generated.functional import conv2d

    weight = torch.randn(32, 64, 3, 3, device="cuda", dtype=torch.bfloat16)
    return _same_at_the_end(_images(64, 32), lambda images: conv2d(images, weight, stride=2, padding=1))
