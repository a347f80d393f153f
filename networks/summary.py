"""A summary of a network, layer by layer: shapes, parameters, multiply-adds, receptive field, memory.

The network runs once on tensors without data (torch's ``meta`` device), so nothing is computed and nothing copied.
Every number follows from the modules' attributes and from the shapes of their inputs and outputs.

A *multiply-add* is a multiplication and the addition that follows it, in convolutions and fully connected layers,
including multiplications by padding; biases, windows and elementwise layers do not count. Floating-point operations are
twice as many.

The *receptive field* of a layer is the number of pixels, along each axis, on which one element of its output depends.
Its *jump* is the distance of these pixels from one element to the next. Pixels are those of the input layer's output,
padding included; in a network without an input layer, those of the image.

Input: a network and an image's shape. Output: a ``Summary``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .evaluation import evaluating
from .receptive_field import Field, Fields, Window, window_of

__all__ = ["LayerSummary", "Summary", "product", "row_of", "summarize"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerSummary:
    """One call of a module without submodules.

    Attributes:
        name: path in the network, as in its ``state_dict``.
        kind: the module's class.
        settings: the module's own description of its constructor arguments.
        input, output: shapes, with the batch.
        parameters: number of trained numbers.
        multiply_adds: see the docstring of this module; for the whole batch.
        field: the receptive field of an element of the output; None if it depends on no known pixel.
        window: of a convolution or a pooling; None for others.
        groups: number of groups of a convolution; 1 for others.
        parameter_bytes, output_bytes: memory of parameters and buffers, and of the output.
    """

    name: str
    kind: str
    settings: str
    input: Shape
    output: Shape
    parameters: int
    multiply_adds: int
    field: Field | None
    window: Window | None
    groups: int
    parameter_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class Summary:
    """A network's layers in their order of execution.

    Attributes:
        name: the network's class.
        image: the shape of the images, with the batch.
        dtype: of images, parameters and results.
        layers: one per call of a module.
        parameters: of the whole network, shared ones once.
        parameter_bytes: of parameters and buffers, shared ones once.
        image_bytes: memory of the images.
    """

    name: str
    image: Shape
    dtype: torch.dtype
    layers: tuple[LayerSummary, ...]
    parameters: int
    parameter_bytes: int
    image_bytes: int

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers, for the whole batch."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Outputs of all layers, which training saves for the gradients."""
        return sum(layer.output_bytes for layer in self.layers)

    @property
    def working_bytes(self) -> int:
        """The largest input and output of one layer, which evaluation needs in addition to the parameters."""
        before = [self.image_bytes, *(layer.output_bytes for layer in self.layers)]
        return max((a + b for a, b in pairwise(before)), default=self.image_bytes)


def row_of(layer: LayerSummary, times: str = "x") -> tuple[str, ...]:
    """The table row of a layer: name, module, output, parameters, multiply-adds, receptive field, if it has them."""
    return (
        layer.name,
        layer.kind,
        product(layer.output[1:], times),
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        product(layer.field.size, times) if layer.field is not None else "",
    )


def product(numbers: Sequence[int], times: str = "x") -> str:
    """Extents in the usual form: 3 x 224 x 224."""
    return f" {times} ".join(map(str, numbers))


def summarize(network: nn.Module, image: Shape, dtype: torch.dtype = torch.float32) -> Summary:
    """Describe a network by one run without data, in evaluation mode.

    Args:
        network: consists of generated modules; it may be on any device and is not changed.
        image: shape of the images, (N, channels, *pixels).
        dtype: the floating type of images and parameters for the memory.

    Raises:
        ValueError: the image's shape is not valid, or does not fit a layer; the message names the layer.
        TypeError: the dtype is not a floating one.
    """
    if not dtype.is_floating_point:
        raise TypeError(f"dtype={dtype}: must be a floating type; pass torch.float32")
    if len(image) < 3 or min(image) < 1:
        raise ValueError(
            f"image={tuple(image)}: must be (N, channels, *pixels), all of them positive; pass (1, 3, 224, 224)"
        )
    state = {
        name: torch.empty(tensor.shape, dtype=dtype if tensor.is_floating_point() else tensor.dtype, device="meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    images = torch.empty(image, dtype=dtype, device="meta")
    layers: list[LayerSummary] = []
    fields = Fields(images)
    with evaluating(network), _watched(network, partial(_note, layers, fields)), torch.no_grad(), fields:
        functional_call(network, state, (images,))
    return Summary(
        type(network).__name__,
        tuple(image),
        dtype,
        tuple(layers),
        sum(parameter.numel() for parameter in network.parameters()),
        sum(_bytes(tensor) for tensor in state.values()),
        _bytes(images),
    )


def _note(layers: list[LayerSummary], fields: Fields, name: str, module: nn.Module, given: Any, output: Any) -> None:
    """Record a call."""
    (first, *_), result = given, output[0] if isinstance(output, tuple) else output
    own = list(module.parameters())
    weight = getattr(module, "weight", None)
    multiplied = isinstance(weight, Tensor) and weight.dim() > 1  # a product over all axes except the first
    layers.append(
        LayerSummary(
            name=name,
            kind=type(module).__name__,
            settings=module.extra_repr(),
            input=tuple(first.shape),
            output=tuple(result.shape),
            parameters=sum(parameter.numel() for parameter in own),
            multiply_adds=result.numel() * math.prod(weight.shape[1:]) if multiplied and weight is not None else 0,
            field=fields.through(module, given, result),
            window=window_of(module, result.dim() - 2),
            groups=getattr(module, "groups", 1),
            parameter_bytes=sum(map(_bytes, (*own, *module.buffers()))),
            output_bytes=_bytes(result),
        )
    )


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextmanager
def _watched(network: nn.Module, note: Any) -> Iterator[None]:
    """Call ``note`` after every call of a module without submodules."""
    modules = {module: name for name, module in network.named_modules() if not any(module.children())}
    names = {module: name for module, name in modules.items() if not isinstance(module, nn.Sequential)}
    hooks = [
        module.register_forward_hook(lambda module, given, output, name=name: note(name, module, given, output))
        for module, name in names.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
