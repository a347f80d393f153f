"""``log(1 + u)`` and ``exp(u) - 1`` as functions of u, which keep the digits of a small u.

``1 + u`` rounds a small u away, and ``exp(u) - 1`` cancels all but its error.

Input: an expression. Output: the same value, with SymPy's ``log1p`` or ``expm1`` at its root where it has that form.
"""

from __future__ import annotations

from sympy import Add, Basic, S, exp, log
from sympy.codegen.cfunctions import expm1, log1p

__all__ = ["of_small_argument"]


def of_small_argument(node: Basic) -> Basic:
    """The expression, rewritten at its root alone."""
    if isinstance(node, log) and isinstance(node.args[0], Add) and S.One in node.args[0].args:
        return log1p(node.args[0] - 1, evaluate=False)
    if isinstance(node, Add) and node.args[0].is_Number:
        number, *terms = node.args
        for place, term in enumerate(terms):
            coefficient, factor = term.as_coeff_Mul()
            if isinstance(factor, exp) and coefficient == -number:
                others = terms[:place] + terms[place + 1 :]
                return Add(*others, coefficient * expm1(factor.args[0], evaluate=False))
    return node
