"""The derivative of a product by one of its factors: the product of all others, without a division.

A factor that is 0 has a gradient like any other. The others are those before it and those behind it,
``Π_{j != k} f(j) = Π_{j < k} f(j) · Π_{j > k} f(j)``, and both are running products.

Input: a product. Output: an expression.
"""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Expr, Mul, Tuple
from sympy.logic.boolalg import Boolean

from svertka.spec.notation import Index, Reduction
from svertka.spec.rewrite import coefficient, conditions, conjunction, fresh, substitute

__all__ = ["other_factors"]


def other_factors(product: Reduction, taken: Iterable[Index]) -> Expr:
    """The product of all factors but that at the product's own index, where that factor is one of the product.

    Args:
        product: the product.
        taken: indices whose names are not used.
    """
    (index,) = product.indices
    other = fresh(index, (*taken, index))
    body, held = substitute(product.body, {index: other}), conditions(product.guard)
    sides = []
    for side, sign in ((other < index, 1), (other > index, -1)):
        kept = [substitute(term, {index: other}) for term in held if _bound(term, index) != sign]
        sides.append(Reduction(product.args[0], body, conjunction([side, *kept]), Tuple(other)))
    return Mul(*sides)


def _bound(term: Boolean, index: Index) -> int:
    """1 if a condition that holds for an index holds for all before it too, -1 if for all behind it, else 0."""
    relation = str(getattr(term, "rel_op", ""))
    split = coefficient(term.args[0] - term.args[1], index) if relation in ("<", "<=", ">", ">=") else None
    if split is None or not split[0].is_nonzero or split[0].is_positive is None:
        return 0
    return 1 if (relation in ("<", "<=")) == bool(split[0].is_positive) else -1
