"""Sums of products of all places between, as linear recurrences.

The gradient of a running product has two indices for the product between two places,
``P[k, i] = Π_j x[j], k < j <= i``, and sums over one of them, ``S[k] = Σ_i g[i] P[k, i], k <= i``. The product is put
into the sum, which is then a scan (``ir.scans``), and the tensor of two indices is never computed.

Input: a ``Layer`` without hidden scans. Output: the same, with products within such sums.
"""

from __future__ import annotations

from sympy import Mul

from svertka.codegen.ir.scans import as_scan
from svertka.codegen.passes.inline import at
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Read, Reduction

__all__ = ["with_recurrences"]


def with_recurrences(layer: Layer) -> Layer:
    """Put products into sums that are recurrences with them."""
    made = {equation.target.name: equation for equation in layer.equations}
    found = [_recurrence(equation, made) or equation for equation in layer.equations]
    return Layer(layer.name, layer.inputs, tuple(found), layer.outputs).only(layer.outputs)


def _recurrence(equation: Equation, made: dict[str, Equation]) -> Equation | None:
    """A sum as a recurrence; None where it is none."""
    value = equation.value
    if not isinstance(value, Reduction) or value.operation != "sum" or as_scan(equation) is not None:
        return None
    factors = Mul.make_args(value.body)
    for factor in factors:
        product = made.get(factor.tensor) if isinstance(factor, Read) else None
        if product is None or not isinstance(product.value, Reduction) or product.value.operation != "product":
            continue
        body = Mul(*(at(product.target, product.value, one) if one is factor else one for one in factors))
        whole = Equation(equation.target, Reduction(value.args[0], body, value.guard, value.args[3]))
        if as_scan(whole) is not None:
            return whole
    return None
