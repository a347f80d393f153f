"""Labelled images: scikit-learn's digits, or a folder of images; the split, and the order of batches.

Everything is a function of the images and a seed: the split is the same in every run, and the order of an epoch is the
same with or without an interruption before it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn

from .decoding import upright

__all__ = ["Dataset", "Examples", "digits", "drawn_moves", "folder", "moved", "order"]

SUFFIXES = (".png", ".jpg", ".jpeg")
TEST_SHARE = 0.2
SPLIT_SEED = 1998
"""The split does not depend on the run's seed: every run is evaluated on the same images."""


@dataclass(frozen=True)
class Examples:
    """Images and their classes.

    Attributes:
        pixels: whole numbers from 0 to 255, uint8 of shape (images, channels, height, width).
        labels: positions in the list of classes, int64 of shape (images).
        largest: the whole number that stands for 1.
    """

    pixels: Tensor
    labels: Tensor
    largest: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, places: Tensor | slice, like: Tensor) -> Tensor:
        """Some images, 0 to 1, with the type and device of another tensor."""
        return self.pixels[places].to(like.device).to(like.dtype) / self.largest

    def at(self, places: Tensor) -> Examples:
        """Some of the examples."""
        return replace(self, pixels=self.pixels[places], labels=self.labels[places])


@dataclass(frozen=True)
class Dataset:
    """Examples for training and for evaluation.

    Attributes:
        classes: their names.
        training: used for training.
        test: never used for training.
    """

    classes: tuple[str, ...]
    training: Examples
    test: Examples

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.training.pixels.shape[1]

    @cached_property
    def digest(self) -> str:
        """A digest of the images, their order and classes."""
        found = hashlib.sha256("\0".join(self.classes).encode())
        for part in (self.training, self.test):
            found.update(str((*part.pixels.shape, part.largest)).encode())
            found.update(part.pixels.numpy().tobytes())
            found.update(part.labels.numpy().tobytes())
        return found.hexdigest()[:32]

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel of the training images; a constant channel has deviation 1.

        Pixels are whole numbers, so sums are exact: neither their order nor the number of threads changes a bit.
        """
        values, largest = self.training.pixels.long(), self.training.largest
        count = values.numel() // self.channels
        sums, squares = (part.sum((0, 2, 3)).tolist() for part in (values, values**2))
        spreads = [math.sqrt(count * square - total**2) for total, square in zip(sums, squares, strict=True)]
        return (
            [total / (count * largest) for total in sums],
            [spread / (count * largest) or 1.0 for spread in spreads],
        )


def order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch's examples, a function of seed and epoch only."""
    key = int.from_bytes(hashlib.sha256(f"{seed} {epoch}".encode()).digest()[:8], "big")
    generator = torch.Generator().manual_seed(key >> 1)  # torch takes 63 bits
    return torch.randperm(count, generator=generator)


def drawn_moves(count: int, turn: float, zoom: float, shift: float) -> Tensor:
    """Random affine moves, one per image: rotation, zoom and shift; drawn from the process's random numbers.

    Args:
        count: how many.
        turn: the largest angle, in degrees, in both directions.
        zoom: the largest share by which an image shrinks or grows.
        shift: the largest shift, as a share of the side, in both directions along both axes.

    Returns:
        Source coordinates of the results' pixels: float64 of shape (count, 2, 3), as for ``affine_grid``, whose
        coordinates go from -1 to 1.
    """
    angle, size, right, down = 2 * torch.rand(4, count, dtype=torch.float64) - 1
    angle, size = torch.deg2rad(angle * turn), 1 + size * zoom
    along, across = size * angle.cos(), size * angle.sin()
    first = torch.stack([along, -across, 2 * shift * right], dim=1)
    return torch.stack([first, torch.stack([across, along, 2 * shift * down], dim=1)], dim=1)


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """Images (count, channels, height, width) moved, bilinearly; border pixels are repeated outside."""
    shape = list(images.shape)
    grid = nn.functional.affine_grid(moves.to(images.device, images.dtype), shape, align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def digits() -> Dataset:
    """The 1797 handwritten digits that come with scikit-learn: 8 x 8 pixels of 0 to 16, ten classes.

    Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository, 1998.
    """
    from sklearn.datasets import load_digits

    bundled = load_digits()
    pixels = torch.from_numpy(bundled.images.astype(np.uint8))[:, None]
    examples = Examples(pixels, torch.from_numpy(bundled.target.astype(np.int64)), largest=16)
    return _split(tuple(str(name) for name in bundled.target_names), examples)


def folder(path: Path, resized: Callable[[Tensor], Tensor]) -> Dataset:
    """Images in folders by class, ``path/class_name/*.png`` or ``.jpg``, of any sizes.

    If any image is in colour, grey images get three equal channels.

    Args:
        path: the folder that contains the class folders.
        resized: resizes an image (channels, height, width) to a common size.

    Raises:
        ValueError: there is no such folder, fewer than two classes, a class with fewer than two images, or a file that
            is no image with eight bits per channel.
    """
    files = {place.name: _images_in(place) for place in _classes_in(path)}
    classes = tuple(files)
    if len(classes) < 2:
        found = f"one class, {classes[0]!r}" if classes else "no folders with images"
        raise ValueError(
            f"--data {path}: has {found}; images belong in a folder a class, at least two of them: "
            f"{path}/CLASS/*.png or *.jpg"
        )
    for name, images in files.items():
        if len(images) < 2:
            raise ValueError(
                f"--data {path}: class {name!r} has one image; a class needs at least two, one to train on and "
                "one to test; add images or take the folder away"
            )
    opened = [_opened(image) for images in files.values() for image in images]
    mode = "L" if all(image.mode in ("1", "L") for image in opened) else "RGB"
    pixels = torch.stack([_pixels(image.convert(mode), resized) for image in opened])
    labels = [place for place, images in enumerate(files.values()) for _ in images]
    return _split(classes, Examples(pixels, torch.tensor(labels)))


def _classes_in(path: Path) -> list[Path]:
    """Folders with images, sorted by name, because the order of the file system may vary."""
    if not path.is_dir():
        raise ValueError(f"--data {path}: there is no such folder; give one with a folder of images for each class")
    folders = sorted(place for place in path.iterdir() if place.is_dir())
    return [place for place in folders if _images_in(place)]


def _images_in(place: Path) -> list[Path]:
    return sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)


def _opened(path: Path) -> Image.Image:
    """A decoded image, upright.

    Raises:
        ValueError: the file is no image, or its pixels have more than eight bits per channel.
    """
    try:
        with Image.open(path) as image:
            image.load()
            turned = upright(image, path.name)
            return turned if turned.mode in ("1", "L", "RGB") else turned.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"--data: {path} cannot be read as an image ({error}); repair it or take it out of the folder"
        ) from error


def _pixels(image: Image.Image, resized: Callable[[Tensor], Tensor]) -> Tensor:
    """A resized image in whole numbers."""
    values = torch.from_numpy(np.array(image, dtype=np.float32))
    planes = values[None] if values.dim() == 2 else values.permute(2, 0, 1)
    return resized(planes).round().clamp(0, 255).to(torch.uint8)


def _split(classes: Sequence[str], examples: Examples) -> Dataset:
    """The same share of every class for the test, at least one image and not all."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    training, test = [], []
    for label in range(len(classes)):
        places = (examples.labels == label).nonzero()[:, 0]
        places = places[torch.randperm(len(places), generator=generator)]
        count = min(max(round(len(places) * TEST_SHARE), 1), len(places) - 1)
        test.append(places[:count])
        training.append(places[count:])
    return Dataset(tuple(classes), examples.at(_sorted(training)), examples.at(_sorted(test)))


def _sorted(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat(list(parts)).sort().values
