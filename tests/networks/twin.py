"""The same network with PyTorch's own layers."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from svertka.generated import ImageInput

from ..generated.oracles import image_input

__all__ = ["twin"]


class _Input(nn.Module):
    """The input layer, for which PyTorch has no module, in PyTorch's functions; it uses no generated code."""

    def __init__(self, layer: ImageInput) -> None:
        super().__init__()
        self.size, self.crop, self.antialias = layer.size, layer.crop, layer.antialias
        self.register_buffer("mean", layer.mean)
        self.register_buffer("std", layer.std)

    def forward(self, input: Tensor) -> Tensor:
        found: Tensor = image_input(input, self.mean, self.std, self.size, self.crop, self.antialias)  # type: ignore[arg-type]
        return found


def twin(network: nn.Module) -> nn.Module:
    """A copy with the same parameters whose generated layers are replaced by ``torch.nn``'s of the same names."""
    copied = copy.deepcopy(network)
    _exchange(copied)
    return copied


def _exchange(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ImageInput):
            setattr(module, name, _Input(child))
        elif type(child).__module__.startswith("svertka.generated"):
            child.__class__ = getattr(nn, type(child).__name__)
        else:
            _exchange(child)
