"""Every public function in PyTorch: ``torch.nn.functional`` if it has the function, else the formula in tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["oracle"]


def oracle(name: str) -> Callable[..., Any]:
    """PyTorch's own function of that name, or one written here from the formula."""
    return OWN.get(name) or getattr(functional, name)  # type: ignore[no-any-return]


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    entries = [size] if isinstance(size, int) else size
    return entries[0], entries[-1]


def resize(input: Tensor, size: int | Sequence[int], antialias: bool = True) -> Tensor:
    images = input if input.dim() == 4 else input[None]
    found = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=antialias)
    return found if input.dim() == 4 else found[0]


def center_crop(input: Tensor, size: int | Sequence[int]) -> Tensor:
    height, width = _pair(size)
    top, left = round((input.shape[-2] - height) / 2), round((input.shape[-1] - width) / 2)
    return input[..., top : top + height, left : left + width]


def normalize(input: Tensor, mean: Tensor | None = None, std: Tensor | None = None, place: int = 1) -> Tensor:
    shape = [-1, *[1] * (input.dim() - place - 1)]
    centred = input if mean is None else input - mean.view(shape)
    return centred if std is None else centred / std.view(shape)


def image_input(
    input: Tensor,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    size: int | Sequence[int] = 224,
    crop: bool = False,
    antialias: bool = True,
) -> Tensor:
    height, width = _pair(size)
    old_height, old_width = input.shape[-2:]
    covering = (height, width)
    if crop:
        covering = max(height, old_height * width // old_width), max(width, old_width * height // old_height)
    resized = center_crop(resize(input, covering, antialias), (height, width))
    return normalize(resized, mean, std, input.dim() - 3)


def cross_channel_norm(
    input: Tensor, window_channel_size: int, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> Tensor:
    before, after = (window_channel_size - 1) // 2, window_channel_size // 2
    channels = range(input.shape[1])
    squares = [input[:, max(0, c - before) : c + after + 1].square().sum(dim=1) for c in channels]
    return input / (k + alpha * torch.stack(squares, dim=1) / window_channel_size) ** beta


def conv2d_relu(input: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any) -> Tensor:
    return functional.relu(functional.conv2d(input, weight, bias, **options))


def batch_norm_relu(input: Tensor, running_mean: Any, running_var: Any, **options: Any) -> Tensor:
    return functional.relu(functional.batch_norm(input, running_mean, running_var, **options))


def batch_norm_add_relu(input: Tensor, running_mean: Any, running_var: Any, residual: Tensor, **options: Any) -> Tensor:
    return functional.relu(functional.batch_norm(input, running_mean, running_var, **options) + residual)


def relu_cross_channel_norm(input: Tensor, window_channel_size: int, **options: float) -> Tensor:
    return cross_channel_norm(functional.relu(input), window_channel_size, **options)


def interpolated(input: Tensor, size: Any, step: Any, lead: Any, parts: Any, linear: bool) -> Tensor:
    """One axis after the other, by a matrix of weights of its elements."""
    for axis, (many, by, first, part) in enumerate(zip(size, step, lead, parts, strict=True), 2):
        elements = torch.arange(input.shape[axis], dtype=input.dtype, device=input.device)
        places = (torch.arange(many, dtype=input.dtype, device=input.device)[:, None] * by + first) / part
        if linear:
            inside = (places >= 0) & (places < len(elements) + 1)
            weights = (1 - ((places - 1).clamp(0, len(elements) - 1) - elements).abs()).clamp(min=0) * inside
        else:
            weights = places.floor() == elements
        input = (input.movedim(axis, -1) @ weights.to(input.dtype).T).movedim(-1, axis)
    return input


def hardsigmoid(input: Tensor) -> Tensor:
    return functional.relu6(input + 3) / 6  # torch's own has no second derivative


OWN: dict[str, Callable[..., Any]] = {
    "conv2d_relu": conv2d_relu,
    "batch_norm_relu": batch_norm_relu,
    "batch_norm_add_relu": batch_norm_add_relu,
    "relu_cross_channel_norm": relu_cross_channel_norm,
    "hardsigmoid": hardsigmoid,
    **{f"interpolate_nearest{rank}d": partial(interpolated, linear=False) for rank in (2, 3)},
    **{f"interpolate_linear{rank}d": partial(interpolated, linear=True) for rank in (2, 3)},
    "resize": resize,
    "center_crop": center_crop,
    "normalize": normalize,
    "image_input": image_input,
    "cross_channel_norm": cross_channel_norm,
}
