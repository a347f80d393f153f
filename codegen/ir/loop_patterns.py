"""The loop pattern of an equation. It depends on the equation's indices only.

Input: an equation after ``inline_maps``. Output: a ``LoopPattern``, and for contractions how its indices divide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from sympy import Add, Expr, Mul

from svertka.codegen.ir.scans import as_scan
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.notation import Index, Reduction
from svertka.spec.rewrite import conditions, index_set
from svertka.spec.window import window_extents, windowed_indices

__all__ = ["Contraction", "LoopPattern", "as_contraction", "constant_extents", "extent_names", "loop_pattern"]


class LoopPattern(StrEnum):
    """The loop patterns, one template each."""

    POINTWISE = "pointwise"
    ROW = "row"
    SCAN = "scan"
    WINDOW = "window"
    CONTRACTION = "contraction"
    CHAIN = "chain"


@dataclass(frozen=True)
class Contraction:
    """How the indices of a sum of products divide.

    Attributes:
        left: factor over batch, m and k indices; ``right``: factor over batch, k and n indices.
        batch: indices of the result that both factors have.
        m: indices of the result that only the left factor has; ``n``: those that only the right factor has.
    """

    left: Expr
    right: Expr
    batch: tuple[Index, ...]
    m: tuple[Index, ...]
    n: tuple[Index, ...]


def loop_pattern(equation: Equation) -> LoopPattern:
    """The loop pattern of one equation."""
    value = equation.value
    if not isinstance(value, Reduction):
        return LoopPattern.POINTWISE
    if as_contraction(equation) is not None:
        return LoopPattern.CONTRACTION
    if as_scan(equation) is not None:
        return LoopPattern.SCAN
    return LoopPattern.WINDOW if windowed_indices(value) else LoopPattern.ROW


def constant_extents(layer: Layer) -> tuple[str, ...]:
    """Extents of the windows of a layer in normal form: small, and compile-time constants of its kernels."""
    return tuple(sorted(window_extents(layer)))


def extent_names(layer: Layer) -> set[str]:
    """Names of the extents of all axes of a layer in normal form, bound ones too."""
    indices = [index for tensor in layer.tensors.values() for index in tensor.axes]
    indices += [i for e in layer.equations if isinstance(e.value, Reduction) for i in e.value.indices]
    return {symbol.name for index in indices for symbol in index.extent.free_symbols}


def as_contraction(equation: Equation) -> Contraction | None:
    """A sum as a (batched) matrix product, or None if it is not one.

    Factors that all terms of a sum have in common are factors of the sum. They must form two groups. Each group has an
    index of the result that the other lacks, and both have a summed index in common. No condition may contain indices
    of the result of both groups. Where conditions keep a summed index near one of the result, both groups read tensors:
    weights that are computed are mostly 0 there.
    """
    value, target = equation.value, equation.target
    if not isinstance(value, Reduction) or value.operation != "sum":
        return None
    factors = _factors(value.body)
    if not 2 <= len(factors) <= 5:
        return None
    free, bound = set(target.axes), set(value.indices)
    windows = windowed_indices(value)
    best: tuple[int, Contraction] | None = None
    for sides in product((True, False), repeat=len(factors)):
        left = Mul(*(f for f, side in zip(factors, sides, strict=True) if side))
        right = Mul(*(f for f, side in zip(factors, sides, strict=True) if not side))
        split = _split(left, right, free, bound, target.axes)
        if split is None or (windows and not (reads(left) and reads(right))):
            continue
        if _separable(value, split) and (best is None or len(split.batch) < best[0]):
            best = len(split.batch), split
    return best[1] if best else None


def _factors(body: Expr) -> tuple[Expr, ...]:
    """The factors of a product; of a sum, those of all its terms and what is left of these."""
    if not isinstance(body, Add):
        found: tuple[Expr, ...] = Mul.make_args(body)
        return found
    first, *others = (Mul.make_args(term) for term in body.args)
    common = [factor for factor in first if all(factor in other for other in others)]
    rest = Add(*(Mul(*(factor for factor in term if factor not in common)) for term in (first, *others)))
    return (*common, rest)


def _split(left: Expr, right: Expr, free: set[Index], bound: set[Index], order: Iterable[Index]) -> Contraction | None:
    of_left, of_right = index_set(left), index_set(right)
    batch = of_left & of_right & free
    only_left, only_right = (of_left & free) - batch, (of_right & free) - batch
    axes = tuple(order)
    if not only_left or not only_right or batch | only_left | only_right != free:
        return None
    if not of_left & of_right & bound or axes[[i in batch for i in axes].index(False)] not in only_left:
        return None
    chosen = (tuple(i for i in axes if i in group) for group in (batch, only_left, only_right))
    return Contraction(left, right, *chosen)


def _separable(value: Reduction, split: Contraction) -> bool:
    for condition in conditions(value.guard):
        indices = index_set(condition)
        if indices & set(split.m) and indices & set(split.n):
            return False
    return True
