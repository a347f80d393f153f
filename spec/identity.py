"""Decide whether two expressions are the same function, exactly and without ``simplify``.

Every exponential, logarithm, root and reciprocal of a sum is replaced by a new symbol, the same symbol for the same
argument. The rest is a polynomial, which ``expand`` decides. Since the new symbols are taken as independent, the answer
"identical" is proven; the answer "not identical" only means that this method found no proof.

Input: two SymPy expressions. Output: whether they were proven identical.
"""

from __future__ import annotations

from sympy import Add, Dummy, Expr, Integer, Mul, Pow, exp, expand

__all__ = ["identical"]


def identical(left: Expr, right: Expr) -> bool:
    """Whether two expressions were proven to be the same function of their symbols."""
    if left == right:
        return True
    atoms: dict[tuple[str, Expr], Expr] = {}
    return bool(expand(_polynomial(left, atoms) - _polynomial(right, atoms)) == 0)


def _polynomial(node: Expr, atoms: dict[tuple[str, Expr], Expr]) -> Expr:
    """The expression as a polynomial in symbols and powers of symbols."""
    if not node.args:
        return node
    if isinstance(node, exp):
        return _exponential(node.args[0], atoms)
    parts = [_polynomial(part, atoms) for part in node.args]
    if isinstance(node, Add | Mul):
        return node.func(*parts)
    if isinstance(node, Pow):
        return _power(parts[0], parts[1], atoms)
    return _atom(node.func.__name__, expand(parts[0]), atoms)


def _exponential(argument: Expr, atoms: dict[tuple[str, Expr], Expr]) -> Expr:
    """Exp of a sum as a product, so that exp(a + b) and exp(a) exp(b) are the same."""
    result: Expr = Integer(1)
    for term in Add.make_args(expand(argument)):
        factor, rest = term.as_coeff_Mul()
        result *= _atom("exp", _polynomial(rest, atoms), atoms) ** factor
    return result


def _power(base: Expr, exponent: Expr, atoms: dict[tuple[str, Expr], Expr]) -> Expr:
    """Powers with whole exponents stay; of any other the base becomes a symbol, without its numeric factor."""
    if exponent.is_Integer and exponent > 0:
        return base**exponent
    content, rest = expand(base).primitive()
    if not rest.is_Symbol and not rest.is_Number:
        rest = _atom("power", rest, atoms)
    return content**exponent * rest**exponent


def _atom(kind: str, argument: Expr, atoms: dict[tuple[str, Expr], Expr]) -> Expr:
    return atoms.setdefault((kind, argument), Dummy(kind, positive=True))
