"""Receptive fields, propagated while a network runs.

A module's window widens the field of its input. Every other operation of torch passes on the widest field of its
inputs, so that reshapes, additions and concatenations between modules are followed too.

Input: modules and tensors during the run. Output: one ``Field`` per tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from svertka.generated import ImageInput

__all__ = ["Field", "Fields", "Window", "window_of"]


@dataclass(frozen=True)
class Window:
    """The window that a convolution or a pooling slides over its input, one number per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]


def window_of(module: nn.Module, axes: int) -> Window | None:
    """The window of a module over the given number of axes; None if it has none."""
    kernel = getattr(module, "kernel_size", None)
    if kernel is None:
        return None
    stride, dilation = getattr(module, "stride", kernel), getattr(module, "dilation", 1)
    return Window(_each(kernel, axes), _each(stride, axes), _each(dilation, axes))


@dataclass(frozen=True)
class Field:
    """The pixels on which an element depends, one number per spatial axis.

    Attributes:
        size: pixels, from the first to the last on which it may depend; padding counts.
        jump: pixels from one element's field to its neighbour's.
        elements: number of elements along the axis; a fully connected layer sees all of them.
    """

    size: tuple[int, ...]
    jump: tuple[int, ...]
    elements: tuple[int, ...]

    @classmethod
    def pixels(cls, shape: Sequence[int]) -> Field:
        """The fields of an image's pixels, each its own; the shape has batch and channels first."""
        extents = tuple(shape[2:])
        return cls((1,) * len(extents), (1,) * len(extents), extents)

    def windowed(self, window: Window, output: Tensor) -> Field:
        """The field of windows of these elements."""
        reach = [(k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True)]
        size = tuple(s + r * j for s, r, j in zip(self.size, reach, self.jump, strict=True))
        return Field(size, tuple(j * s for j, s in zip(self.jump, window.stride, strict=True)), tuple(output.shape[2:]))

    def joined(self) -> Field:
        """The field of all elements together."""
        spans = zip(self.size, self.jump, self.elements, strict=True)
        ones = (1,) * len(self.size)
        return Field(tuple(size + (count - 1) * jump for size, jump, count in spans), ones, ones)

    def beside(self, other: Field) -> Field:
        """The field of two elements that are combined into one."""
        wider = tuple(map(max, self.size, other.size))
        return Field(wider, tuple(map(max, self.jump, other.jump)), tuple(map(min, self.elements, other.elements)))


class Fields(TorchFunctionMode):
    """The fields of the tensors of a run; a context in which every operation propagates fields.

    Args:
        images: the images whose pixels are counted, unless the network has an input layer.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._known: dict[int, tuple[Tensor, Field]] = {}  # keeps the tensors alive, so that no id is reused
        self._set(images, Field.pixels(images.shape))

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and propagate the widest field."""
        result = function(*args, **(kwargs or {}))
        field = self._of((*args, *(kwargs or {}).values()))
        for tensor in _tensors([result]):
            if field is not None and id(tensor) not in self._known:
                self._set(tensor, field)
        return result

    def through(self, module: nn.Module, given: Sequence[Any], output: Tensor) -> Field | None:
        """The field of a module's output, recorded; None if its input has none."""
        field = self._of(given)
        if field is not None:
            field = self._passed(module, field, output)
            self._set(output, field)
        return field

    @staticmethod
    def _passed(module: nn.Module, field: Field, output: Tensor) -> Field:
        if isinstance(module, ImageInput):  # its output pixels are the ones that are counted
            return Field.pixels(output.shape)
        if isinstance(module, nn.Linear):
            return field.joined()
        window = window_of(module, len(field.size))
        return field if window is None else field.windowed(window, output)

    def _set(self, tensor: Tensor, field: Field) -> None:
        self._known[id(tensor)] = tensor, field

    def _of(self, given: Iterable[Any]) -> Field | None:
        """The widest field of the arguments."""
        found: Field | None = None
        for tensor in _tensors(given):
            _, field = self._known.get(id(tensor), (None, None))
            if field is not None:
                found = field if found is None else found.beside(field)
        return found


def _tensors(given: Iterable[Any]) -> Iterator[Tensor]:
    for one in given:
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, list | tuple):
            yield from _tensors(one)


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """A setting as one number per axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)
