"""The type in which autocast computes a formula. It follows from the formula's operations alone.

A definition can name another (``Definition.autocast``), where torch's lists have one operator otherwise than its kind.

The rule is that of torch's lists of operators, stated for the structure of a formula. Products of tensors are computed
in autocast's type: it needs half the memory traffic, and matrix units support it. A formula whose values can leave the
range of half precision is computed in float32. Any other formula keeps the type of its tensors; its kernels compute in
float32 and round once in every case.

Input: a ``Layer``. Output: a ``Precision``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sympy import Basic, Pow, exp, log

from svertka.codegen.ir.loop_patterns import as_contraction
from svertka.spec import normal_form
from svertka.spec.layer import Layer, reads, walk
from svertka.spec.notation import Reduction, Tensor

__all__ = ["Precision", "precision", "shaped_alike"]


class Precision(StrEnum):
    """What autocast does to the real tensors of a formula.

    Attributes:
        LOWERED: they are cast to autocast's type, because some sum is a matrix product of the inputs. This rule comes
            before ``FULL``: within a kernel everything after the product is computed in float32 in any case.
        FULL: they are cast to float32, because the formula has a sum or maximum, and exponentials, logarithms, powers
            or a sum over all elements (as losses have) can leave the range of half precision.
        KEPT: each keeps its type; tensors of one shape take the widest type among them.
    """

    LOWERED = "lowered"
    FULL = "full"
    KEPT = "kept"


def precision(layers: Iterable[Layer]) -> Precision:
    """What autocast does to the tensors of a function whose variants have these formulas."""
    every = [normal_form(layer) for layer in layers]
    if any(map(_multiplies, every)):
        return Precision.LOWERED
    return Precision.FULL if any(map(_leaves_half, every)) else Precision.KEPT


def shaped_alike(layer: Layer) -> tuple[Tensor, ...]:
    """The first real tensor, and those that have the same dimensions."""
    real = [tensor for tensor in layer.inputs if tensor.kind == "real"]
    return tuple(tensor for tensor in real if tensor.dims == real[0].dims)


def _multiplies(layer: Layer) -> bool:
    """Whether some equation is a matrix product whose two factors depend on the inputs."""
    made_of = {tensor.name: {tensor.name} for tensor in layer.inputs}
    for equation in layer.equations:
        product = as_contraction(equation)
        if product and all(_made_of(side, made_of) for side in (product.left, product.right)):
            return True
        made_of[equation.target.name] = _made_of(equation.value, made_of)
    return False


def _made_of(value: Basic, known: dict[str, set[str]]) -> set[str]:
    return set().union(*(known[read.tensor] for read in reads(value)))


def _leaves_half(layer: Layer) -> bool:
    """Whether intermediate values, or a sum over all elements, can leave the range of half precision."""
    if not any(isinstance(equation.value, Reduction) for equation in layer.equations):
        return False
    if any(not layer.tensors[output].dims for output in layer.outputs):
        return True
    return any(_is_transcendental(node) for equation in layer.equations for node in walk(equation.value))


def _is_transcendental(node: Basic) -> bool:
    if isinstance(node, Pow):
        return not node.exp.is_Rational and bool(reads(node))
    return isinstance(node, exp | log) and bool(reads(node))
