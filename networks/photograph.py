"""From a photograph to class probabilities.

A photograph is a file, a Pillow image or an array of bytes. It becomes a tensor of 0 to 1, in full size: the network's
own input layer resizes it.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn

from svertka.generated import Conv2dReLU, Softmax

from .decoding import upright
from .evaluation import evaluating

__all__ = ["Photograph", "classify", "tensor_of"]

Photograph: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8]"

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by the number of channels of a tensor."""


def tensor_of(photograph: Photograph, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """A photograph as a tensor of 0 to 1.

    Files and Pillow images are rotated upright as their EXIF orientation says, and converted to grey or to red, green
    and blue. Arrays are used unchanged.

    Args:
        photograph: a path, a Pillow image, or an array (H, W), (H, W, 1) or (H, W, 3) of uint8.
        channels: 1 for grey, 3 for red, green and blue.
        dtype: of the tensor, a floating one.

    Returns:
        (1, channels, H, W), each value the number of the dtype nearest to value / 255.

    Raises:
        ValueError: the number of channels, the array's shape or the depth of the image is not supported.
        TypeError: it is neither of these, or the dtype is not a floating one.
        OSError: the file cannot be read, or is no image.
    """
    if channels not in MODES:
        raise ValueError(f"channels={channels}: must be 1 (grey) or 3 (red, green, blue); pass one of them")
    if not dtype.is_floating_point:
        raise TypeError(f"dtype={dtype}: must be a floating type; pass torch.float32")
    if isinstance(photograph, np.ndarray):
        pixels = _checked(photograph, channels)
    elif isinstance(photograph, Image.Image):
        pixels = _pixels(photograph, channels)
    elif isinstance(photograph, str | os.PathLike):
        pixels = _pixels(_opened(photograph), channels)
    else:
        raise TypeError(
            f"photograph={type(photograph).__name__}: must be a path, a Pillow image or a NumPy array of uint8; "
            "convert it"
        )
    values = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float64, order="C"))
    return values.div_(255).to(dtype)[None]


def classify(network: nn.Module, photograph: Photograph) -> Tensor:
    """Class probabilities of a photograph, through the network and the generated softmax.

    The network runs in evaluation mode, without dropout; its mode is restored afterwards. The tensor gets the type and
    device of the network's parameters and the channels of its first convolution.

    Args:
        network: maps images (N, channels, H, W) to scores (N, classes).
        photograph: see ``tensor_of``.

    Returns:
        (classes,), on the network's device.

    Raises:
        ValueError, TypeError, OSError: as ``tensor_of``; ValueError also if the network has no convolution.
    """
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d | Conv2dReLU)), None)
    if first is None:
        raise ValueError(
            f"network={type(network).__name__}: must have a convolution, whose channels the photograph gets; "
            "call the network on tensor_of(photograph, channels) instead"
        )
    images = tensor_of(photograph, first.in_channels, first.weight.dtype).to(first.weight.device)
    with evaluating(network), torch.no_grad():
        probabilities: Tensor = Softmax(dim=1)(network(images))[0]
    return probabilities


def _opened(path: str | os.PathLike[str]) -> Image.Image:
    """The image of a file.

    Raises:
        OSError: it cannot be read, or is no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except UnidentifiedImageError as error:
        raise OSError(f"photograph={os.fspath(path)!r}: no image format that Pillow reads; save it as PNG") from error


def _pixels(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """An upright image as bytes, (H, W, channels)."""
    pixels: NDArray[Any] = np.asarray(upright(image, "photograph").convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _checked(array: NDArray[Any], channels: int) -> NDArray[np.uint8]:
    """An array with its channels as the last axis."""
    if array.dtype != np.uint8:
        raise TypeError(f"photograph.dtype={array.dtype}: must be uint8, 0 to 255; convert it with .astype(np.uint8)")
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] != channels or not pixels.size:
        raise ValueError(
            f"photograph.shape={array.shape}: must be (height, width, {channels}) and hold at least one pixel; "
            "transpose it, or convert it with Pillow"
        )
    return pixels
