"""Values of a formula with bounds that hold for its kernels too.

A formula's running error holds for any order of its sums. Where kernels merge squares of deviations
(``passes.split``), they compute another polynomial form, whose error the formula's bound need not cover: a part's mean
may err by more than the mean of all. There the kernels' equations are evaluated as well, and the larger bound is taken,
about the formula's own value; nowhere else. ``computed`` gives the equations with shifted exponents, whose bound stays
finite where exponentials of the formula overflow (``extremes``).

Input: as ``evaluate_tensors``. Output: the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from svertka.codegen.passes.centered_sums import without_vanishing
from svertka.codegen.passes.inline import inline_maps
from svertka.codegen.passes.split import merged
from svertka.codegen.passes.stabilize import stabilize
from svertka.codegen.verify.tensor_evaluate import evaluate_tensors
from svertka.spec import normal_form
from svertka.spec.layer import Layer
from svertka.spec.running_error import Bounded, RunningError

__all__ = ["bounded_values", "computed"]


def bounded_values(
    layer: Layer,
    tensors: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    sampled: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Evaluate all outputs of a formula; for arguments and result see ``evaluate_tensors``."""
    found = evaluate_tensors(layer, tensors, sizes, arithmetic, sampled)
    others = _merged(layer)
    if others is None:
        return found
    names = {tensor.name for tensor in others.inputs}
    given = {name: tensor for name, tensor in tensors.items() if name in names}
    wider = evaluate_tensors(others, given, sizes, arithmetic, sampled)
    return {name: _wider(value, wider[name], arithmetic) for name, value in found.items()}


@lru_cache(maxsize=64)
def _merged(layer: Layer) -> Layer | None:
    return merged(layer)


@lru_cache(maxsize=64)
def computed(layer: Layer) -> Layer:
    """A formula's equations as kernels and host functions compute them: with exponents shifted."""
    return stabilize(without_vanishing(inline_maps(normal_form(layer))))


def _wider(value: Any, other: Any, arithmetic: RunningError) -> Any:
    if not isinstance(value, Bounded):
        return value
    return Bounded(value.value, arithmetic.numbers.larger(value.error, other.error))
