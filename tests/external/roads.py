"""The roads (implementations) of a call: the NumPy reference, and the generated functions on each of their paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svertka import reference
from svertka.generated import functional, runtime

from .suite import Array

__all__ = ["REFERENCE", "ROADS", "Road"]


@dataclass(frozen=True)
class Road:
    """An implementation.

    Attributes:
        name: ``numpy``: ``svertka.reference`` in float64, or the formula, also in float64, for a layer that it does not
            have; ``functional``: ``svertka.generated.functional`` on float32
            tensors of the CPU, which computes in float64 and rounds once; ``interpreter``: the same with the kernels in
            Triton's interpreter; ``device``: the same with the kernels on a GPU.
    """

    name: str

    @property
    def single(self) -> bool:
        """Whether results are float32."""
        return self.name != "numpy"

    def __call__(self, function: str, *, state: tuple[str, ...] = (), **arguments: Any) -> list[Array]:
        """The results of a function, followed by the arguments that it changes in place."""
        taken = {name: self._taken(value) for name, value in arguments.items()}
        if not hasattr(self._library, function):
            taken = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in taken.items()}
        results = getattr(self._library, function, getattr(functional, function))(**taken)
        listed = list(results) if isinstance(results, tuple) else [results]
        return [self._given(value) for value in (*listed, *(taken[name] for name in state))]

    def gradient(self, function: str, of: str, grad: Array, **arguments: Any) -> Array:
        """The gradient of one argument."""
        taken = {name: self._taken(value) for name, value in arguments.items()}
        if not self.single:
            gradients = getattr(self._library, f"{function}_backward")(self._taken(grad), **taken)
            return self._given(gradients[list(arguments).index(of)])
        taken[of].requires_grad_()
        output = getattr(self._library, function)(**taken)
        (found,) = torch.autograd.grad(output, taken[of], self._taken(grad))
        return self._given(found)

    @property
    def _library(self) -> Any:
        return functional if self.single else reference

    def _taken(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        real = np.issubdtype(value.dtype, np.floating)
        if not self.single:
            return value.astype(np.float64 if real else value.dtype)  # a copy, because state may be changed
        tensor = torch.from_numpy(value.astype(np.float32 if real else value.dtype))
        return tensor.cuda() if self.name == "device" else tensor

    def _given(self, value: Any) -> Array:
        return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


REFERENCE = Road("numpy")
KERNELS = ("interpreter",) if runtime.INTERPRETED else ("device",) * torch.cuda.is_available()
ROADS = tuple(Road(name) for name in ("numpy", "functional", *KERNELS))
