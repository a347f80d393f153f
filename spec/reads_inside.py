"""Where the reads of an expression lie inside their tensors.

A term of a reduction is left out where what it reads lies outside. Under ``Select`` only the branch that is chosen
counts: ``Sum(Select(d < h, x[d + h], x[d - h]), d)`` reads inside for every ``d`` below ``2 * h``, though for none of
them both reads do. What the other branch reads is not used, and is 0 where it lies outside.

Input: expressions. Output: conditions, and expressions in which every read is guarded.
"""

from __future__ import annotations

from collections.abc import Collection

from sympy import Basic, Expr, Integer, Mul, Not, Or, S
from sympy.logic.boolalg import Boolean

from svertka.spec.layer import walk
from svertka.spec.notation import Read, Select
from svertka.spec.rewrite import conditions, conjunction, range_conditions

__all__ = ["guarded", "term_conditions"]

_ABSENT = {"sum": Integer(0), "max": S.NegativeInfinity}
"""The value of a term that is as good as left out."""


def term_conditions(operation: str, body: Expr) -> list[Boolean]:
    """Conditions under which what a reduction's term reads lies inside.

    Args:
        operation: the reduction's. Where a term is as good as left out, what it reads counts, too: the condition is
            simpler, and the result the same.
        body: the term.
    """
    absent = _ABSENT.get(operation)
    found: list[Boolean] = []
    for factor in Mul.make_args(body) if operation == "sum" else (body,):
        chosen = [part for part in factor.args[1:] if part != absent] if isinstance(factor, Select) else []
        if len(chosen) == 1:
            found += [*_inside(factor.args[0]), *term_conditions(operation, chosen[0])]
        else:
            found += _inside(factor)
    return list(dict.fromkeys(found))


def _inside(node: Basic) -> list[Boolean]:
    """Conditions under which all that is read of an expression's value lies inside."""
    if not any(isinstance(part, Select) for part in walk(node)):
        return range_conditions(node)
    if isinstance(node, Read):
        return [*range_conditions(node), *(c for index in node.indices for c in _inside(index))]
    if not isinstance(node, Select):
        return [condition for part in node.args for condition in _inside(part)]
    asked, if_true, if_false = node.args
    held, first, second = set(conditions(asked)), _inside(if_true), _inside(if_false)
    both = [condition for condition in first if condition in second]
    return [
        *_inside(asked),
        *both,
        *(Or(Not(asked), condition) for condition in first if condition not in {*both, *held}),
        *(Or(asked, condition) for condition in second if condition not in both),
    ]


def guarded(node: Basic, held: Collection[Boolean] = ()) -> Basic:
    """The expression with every read 0 where it lies outside.

    Args:
        node: an expression without reductions.
        held: conditions that hold wherever it is evaluated.
    """
    if not node.args:
        return node
    if isinstance(node, Read):
        missing = [condition for condition in range_conditions(node) if condition not in held]
        return Select(conjunction(missing), node, Integer(0)) if missing else node
    if isinstance(node, Select):
        asked, if_true, if_false = node.args
        parts = [guarded(asked, held), guarded(if_true, {*held, *conditions(asked)}), guarded(if_false, held)]
    else:
        parts = [guarded(part, held) for part in node.args]
    return node if all(a is b for a, b in zip(parts, node.args, strict=True)) else node.func(*parts)
