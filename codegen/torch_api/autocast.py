"""In which type a formula computes under autocast. Its operations decide, nothing else does.

The rule is that of torch's lists of operators, told by structure: products of tensors take half the bytes and the
matrix unit; what leaves the range of half precision takes float32; everything else goes on in the type it is given, and
is computed in float32 and rounded once all the same.

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
        LOWERED: they enter in autocast's type: some sum is a matrix product of what is given. It comes first: within
            a kernel everything behind the product is computed in float32 anyway.
        FULL: they enter in float32: a sum or maximum is taken where exponentials, logarithms or powers leave the range
            of half precision, or a sum of everything, as losses are, may.
        KEPT: each stays as it is; tensors of one shape take the widest type among them.
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
    """The first tensor, and those that have an element for each of its elements."""
    first = layer.inputs[0]
    return tuple(tensor for tensor in layer.inputs if tensor.dims == first.dims and tensor.kind == "real")


def _multiplies(layer: Layer) -> bool:
    """Whether some equation is a matrix product, both sides of which are made of what is given."""
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
    """Whether values between the tensors, or a sum of everything, may be out of the range of half precision."""
    if not any(isinstance(equation.value, Reduction) for equation in layer.equations):
        return False
    if any(not layer.tensors[output].dims for output in layer.outputs):
        return True
    return any(_is_transcendental(node) for equation in layer.equations for node in walk(equation.value))


def _is_transcendental(node: Basic) -> bool:
    if isinstance(node, Pow):
        return not node.exp.is_Rational and bool(reads(node))
    return isinstance(node, exp | log) and bool(reads(node))
