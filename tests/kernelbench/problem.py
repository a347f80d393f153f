"""A problem: its number and name, what computes it here, torch's own function, and shapes to compare the two at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch

__all__ = ["Drawn", "Problem", "Shape", "labels", "mask", "positive", "state"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """An argument that is drawn, in float64 where it is real.

    Attributes:
        shape: its shape.
        kind: ``"real"`` and ``"positive"`` have a gradient, ``"state"`` (positive) has none, ``"integer"``.
        below: integers are less than this.
    """

    shape: Shape
    kind: str = "real"
    below: int = 0

    def tensor(self, seed: int) -> torch.Tensor:
        """The tensor; the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        if self.kind == "integer":
            return torch.randint(self.below, self.shape, generator=generator)
        if self.kind == "real":
            return torch.randn(self.shape, dtype=torch.float64, generator=generator, requires_grad=True)
        drawn = torch.rand(self.shape, dtype=torch.float64, generator=generator) + 0.25
        return drawn.requires_grad_(self.kind == "positive")


def positive(*shape: int) -> Drawn:
    """Positive numbers."""
    return Drawn(shape, "positive")


def state(*shape: int) -> Drawn:
    """Running estimates."""
    return Drawn(shape, "state")


def labels(*shape: int, below: int) -> Drawn:
    """Whole numbers from 0."""
    return Drawn(shape, "integer", below)


def mask(*shape: int) -> Drawn:
    """Zeros and ones."""
    return Drawn(shape, "integer", 2)


@dataclass(frozen=True)
class Problem:
    """A problem of KernelBench.

    Attributes:
        number, name: KernelBench's; the name is that of its file.
        function: of the library or of a formula in ``examples/kernelbench``.
        theirs: what torch computes from the same tensors.
        shapes: of the tensors.
        settings: other arguments of ``function``.
        own: whether it is a formula of ``examples/kernelbench``.
        names: the arguments of ``function`` that the tensors are, if they are not its first.
    """

    number: int
    name: str
    function: str
    theirs: Callable[..., torch.Tensor]
    shapes: tuple[Shape | Drawn, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False
    names: tuple[str, ...] = ()

    def ours(self, package: ModuleType) -> Callable[..., torch.Tensor]:
        """What a package with ``function`` computes from the tensors."""
        function = getattr(package.functional, self.function)

        def call(*tensors: torch.Tensor) -> torch.Tensor:
            named = dict(zip(self.names, tensors, strict=True)) if self.names else {}
            result: torch.Tensor = function(*() if named else tensors, **named, **self.settings)
            return result

        return call

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The tensors of a call, drawn from fixed seeds."""
        drawn = (one if isinstance(one, Drawn) else Drawn(one) for one in self.shapes)
        return tuple(one.tensor(seed) for seed, one in enumerate(drawn))
