"""What every image goes through before its pixels are taken: it has eight bits a channel, and it stands upright."""

from __future__ import annotations

from PIL import Image, ImageOps

__all__ = ["upright"]

DEEP = ("I", "F")
"""First letters of the modes of more than eight bits, which Pillow would cut off at 255."""


def upright(image: Image.Image, name: str) -> Image.Image:
    """A decoded image, turned as its EXIF orientation says.

    Args:
        image: what Pillow decoded.
        name: what messages call it.

    Raises:
        ValueError: it has more than eight bits a channel.
    """
    if image.mode.startswith(DEEP):
        raise ValueError(
            f"{name}.mode={image.mode!r}: must have eight bits a channel, more would be cut off; "
            "scale the values to 0 to 255 and convert to 'L' or 'RGB'"
        )
    return ImageOps.exif_transpose(image)
