"""Expected results of a call: the formula and its gradients on the call's own numbers.

Input: a variant, the numbers that a function received. Output: results with their bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from svertka.codegen.verify.bounds import bounded_values
from svertka.codegen.verify.equivalence import format_of
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec import RunningError, adjoint
from svertka.spec.definition import Definition, Variant
from svertka.spec.evaluate import shape_of
from svertka.spec.gradient import gradient_definition
from svertka.spec.layer import Layer
from svertka.spec.running_error import Bounded

__all__ = ["Truth"]


class Truth:
    """Values of the formula and its gradients; the adjoints are derived once."""

    def __init__(self, definition: Definition, variant: Variant) -> None:
        self.definition, self.variant, self.layer = definition, variant, variant.layer
        self.names = definition.differentiable(self.layer)
        self.outputs = definition.real_results(self.layer)

    @property
    def first(self) -> Layer:
        """All gradients."""
        return adjoint(self.layer, wrt=self.names, outputs=self.outputs)

    @property
    def gradient(self) -> Layer:
        """The gradient as a layer, which is differentiated once more."""
        place = self.definition.variants.index(self.variant)
        return gradient_definition(self.definition).variants[place].layer

    def values(
        self, layers: Sequence[Layer], given: Mapping[str, torch.Tensor], sizes: Mapping[str, Any], dtype: torch.dtype
    ) -> dict[str, Any]:
        """Outputs of some layers, with bounds for results in a type."""
        storage = format_of(dtype)
        arithmetic = RunningError(storage, Tensors())
        found: dict[str, Any] = {}
        for layer in layers:
            shapes = {tensor.name: shape_of(tensor, sizes) for tensor in layer.inputs}
            known = {name: _numbers(given[name]).reshape(shape) for name, shape in shapes.items() if name in given}
            found |= bounded_values(layer, known, sizes, arithmetic)
        return {n: arithmetic.stored(value) if isinstance(value, Bounded) else value for n, value in found.items()}


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's elements in the types in which formulas are evaluated."""
    return tensor.double() if tensor.is_floating_point() else tensor
