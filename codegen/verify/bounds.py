"""Values of a formula, with error bounds that hold for its kernels too.

A formula's running error holds for any order of its sums. Kernels that merge squares of deviations (``passes.split``)
compute another polynomial form, which the formula's bound need not cover: the mean of a part may have a larger error
than the mean of all. For these the kernels' equations are evaluated as well, and the larger bound is used, around the
formula's own value. ``computed`` gives the equations with shifted exponents, whose bound stays finite where
exponentials of the formula overflow (``extremes``). Where the formula's own bound is infinite, as that of
log(exp(-1000)) is in float64, the value is computed in float64, or, where that is no better, in numbers without
overflow (``precise``); the bound is that of these equations, and the value's own. Sums of exponentials that kernels
rescale while they find the maximum (``ir.online``) have more roundings than the formula: where there are such, the
bound of these equations counts, too, if it is larger.

Input: as ``evaluate_tensors``. Output: the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from sympy import Expr

from svertka.codegen.ir.online import as_online
from svertka.codegen.passes.centered_sums import over
from svertka.codegen.passes.pipeline import merged, through
from svertka.codegen.verify.precise import precise_values
from svertka.codegen.verify.tensor_evaluate import evaluate_tensors
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec.exact import Exact
from svertka.spec.layer import Layer
from svertka.spec.notation import Reduction
from svertka.spec.running_error import FORMATS, Bounded, RunningError

__all__ = ["bounded_values", "computed", "rescaled"]

NEGLIGIBLE = 2.0**-10  # share of a bound that an error of the formula's value may add to it


def bounded_values(
    layer: Layer,
    tensors: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    sampled: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Evaluate all outputs of a formula; for arguments and result see ``evaluate_tensors``."""
    found = evaluate_tensors(layer, tensors, sizes, arithmetic, sampled)
    bounds = not isinstance(arithmetic, Exact)  # it tells only whether something was rounded
    infinite = any(isinstance(v, Bounded) and not bool(v.error.isfinite().all()) for v in found.values())
    if bounds and sampled is None and infinite:
        found = _without_overflow(layer, tensors, sizes, arithmetic, found)
    sums = rescaled(layer) if bounds else {}
    for others, online in ((merged(layer), {}), (computed(layer) if sums else None, sums)):
        if others is not None:
            names = {tensor.name for tensor in others.inputs}
            given = {name: tensor for name, tensor in tensors.items() if name in names}
            wider = evaluate_tensors(others, given, sizes, arithmetic, sampled, online)
            found = {name: _wider(value, wider[name], arithmetic) for name, value in found.items()}
    return found


def _without_overflow(
    layer: Layer,
    tensors: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """The results with other values and bounds where their bound is infinite."""
    bounds = evaluate_tensors(computed(layer), tensors, sizes, arithmetic, rescaled=rescaled(layer))
    exact = _in_double(layer, tensors, sizes, arithmetic, bounds)
    try:
        exact = exact or {
            name: (value, 0.0) for name, value in precise_values(layer, dict(tensors), dict(sizes)).items()
        }
    except OverflowError:
        return dict(found)

    def replaced(name: str, own: Any) -> Any:
        if not isinstance(own, Bounded):
            return own
        known = own.error.isfinite()
        right, error = exact[name]
        value = torch.where(known, own.value, right.reshape(own.value.shape).to(own.value.device))
        return Bounded(value, torch.where(known, own.error, (bounds[name].error + error).reshape(own.error.shape)))

    return {name: replaced(name, own) for name, own in found.items()}


def _in_double(
    layer: Layer,
    tensors: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    bounds: Mapping[str, Any],
) -> dict[str, tuple[torch.Tensor, Any]]:
    """The results in float64, with their errors; nothing unless these are far smaller than the bounds."""
    if arithmetic.format.compute <= FORMATS["float64"].compute:
        return {}
    found = evaluate_tensors(layer, tensors, sizes, RunningError(FORMATS["float64"], Tensors()))
    real = {name: (one.value, one.error) for name, one in found.items() if isinstance(one, Bounded)}
    small = all(bool((error <= NEGLIGIBLE * bounds[name].error).all()) for name, (_, error) in real.items())
    return real if small else {}


def computed(layer: Layer) -> Layer:
    """A formula's equations as kernels and launchers compute them: with shifted exponents."""
    return through(layer, "stabilize")


@lru_cache(maxsize=64)
def rescaled(layer: Layer) -> Mapping[str, Expr]:
    """Sums of these equations that a kernel may rescale, with the weights of their exponentials."""
    equations = computed(layer).equations
    maxima = [e for e in equations if isinstance(e.value, Reduction) and e.value.operation == "max"]
    sums = [e for e in equations if isinstance(e.value, Reduction) and e.value.operation == "sum"]
    found = {e.target.name: as_online(e, [over(one, e.value.indices) for one in maxima]) for e in sums}
    return {name: online.weight for name, online in found.items() if online is not None}


def _wider(value: Any, other: Any, arithmetic: RunningError) -> Any:
    if not isinstance(value, Bounded):
        return value
    return Bounded(value.value, arithmetic.numbers.larger(value.error, other.error))
