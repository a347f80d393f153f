"""Checks and steps for every image before its pixels are used: eight bits per channel, and upright orientation."""

from __future__ import annotations

from PIL import Image, ImageOps

__all__ = ["upright"]

DEEP = ("I", "F")
"""First letters of Pillow's modes with more than eight bits, which Pillow would clip at 255."""


def upright(image: Image.Image, name: str) -> Image.Image:
    """A decoded image, rotated as its EXIF orientation says.

    Args:
        image: what Pillow decoded.
        name: its name in messages.

    Raises:
        ValueError: it has more than eight bits per channel.
    """
    if image.mode.startswith(DEEP):
        raise ValueError(
            f"{name}.mode={image.mode!r}: must have eight bits a channel, more would be cut off; "
            "scale the values to 0 to 255 and convert to 'L' or 'RGB'"
        )
    return ImageOps.exif_transpose(image)
