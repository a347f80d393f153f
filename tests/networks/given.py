"""Networks, parameters and pictures that the tests share; the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from svertka.networks import AlexNet, LeNet5

__all__ = ["NARROW", "images", "narrow", "of_both_signs", "photograph", "without_cancellation"]

NARROW: dict[str, Any] = {"maps": (6, 8, 10, 12, 14), "units": 9, "classes": 7}
RAW = [1 / 255] * 3
"""As a divisor it maps 0 to 1 to 0 to 255, so that normalization has an effect."""


def narrow(name: str, **options: Any) -> nn.Module:
    """LeNet-5, or an AlexNet with few maps, in evaluation mode."""
    torch.manual_seed(7)
    made = LeNet5(**options) if name == "lenet" else AlexNet(std=RAW, **NARROW, **options)
    return made.eval()


def without_cancellation(network: nn.Module) -> nn.Module:
    """Every kernel has one sign, three of four positive, its weights those of a mean; biases have the same sign.

    No sum cancels, since the input of a layer is not negative. So the bound of the rounding errors is about as small as
    the errors, and larger differences lie outside. Some kernels are negative, so that ReLU has an effect.
    """
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in network.parameters():
            sign = torch.where(torch.arange(len(parameter)) % 4 == 1, -1.0, 1.0)
            inputs = max(parameter[0].numel(), 2)
            sizes = torch.rand(parameter.shape, generator=draw) * (2 / inputs)
            parameter.copy_(sizes * sign.reshape(-1, *[1] * (parameter.dim() - 1)))
    return network


def of_both_signs(network: nn.Module) -> nn.Module:
    """Normal parameters that preserve the magnitude of values, so that scores depend on the image."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            inputs = max(parameter[0].numel(), 2)
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * (2 / inputs) ** 0.5)
    return network


def images(channels: int, count: int = 2, height: int = 131, width: int = 97) -> torch.Tensor:
    """Bright images of 0 to 1, with values that every floating type represents."""
    draw = torch.Generator().manual_seed(height)
    return torch.randint(32, 256, (count, channels, height, width), generator=draw) / 256


def photograph(width: int = 2048, height: int = 1365) -> Image.Image:
    """A sky, a sun and hills, with fine stripes that a resize without antialiasing would distort."""
    down, across = np.mgrid[0:height, 0:width]
    sky = np.stack([40 + 150 * down / height, 90 + 120 * across / width, 220 - 60 * down / height], axis=-1)
    sky += 30 * ((across + 2 * down) // 3 % 2)[..., None]
    picture = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    pencil = ImageDraw.Draw(picture)
    pencil.ellipse((width * 0.6, height * 0.1, width * 0.75, height * 0.1 + width * 0.15), fill=(255, 220, 90))
    pencil.polygon([(0, height), (width * 0.3, height * 0.45), (width * 0.7, height)], fill=(50, 110, 60))
    return picture
