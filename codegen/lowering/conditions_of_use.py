"""Conditions without which a reduction is not used.

``Select(smoothing > 0, smoothing * total[n], 0)`` is the only reader of ``total``: where the condition does not hold,
what ``total`` would be is irrelevant, and its loop need not run. Only conditions that are the same for a whole launch
count: then no program runs the loop for some of its rows alone.

Input: a reduction's target, and all values that may read it. Output: conditions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sympy import Basic, Mul
from sympy.logic.boolalg import Boolean

from svertka.spec.layer import reads, symbols_of
from svertka.spec.notation import Read, Select
from svertka.spec.rewrite import conditions, selections

__all__ = ["conditions_of_use"]


def conditions_of_use(target: Read, values: Iterable[Basic], parameters: Collection[str]) -> frozenset[Boolean]:
    """Conditions on parameters alone that hold wherever a value is read; none if nothing reads it.

    Args:
        target: the value.
        values: all expressions that may read it.
        parameters: names that a condition may have, and has one of at least.
    """
    uses = [held for value in values for held in _uses(value, target, frozenset())]
    common = frozenset.intersection(*uses) if uses else frozenset()
    return frozenset(condition for condition in common if _is_of(condition, parameters))


def _is_of(condition: Boolean, parameters: Collection[str]) -> bool:
    names = {symbol.name for symbol in symbols_of(condition)}
    return bool(names) and names <= {*parameters} and not list(reads(condition))


def _uses(node: Basic, target: Read, held: frozenset[Boolean]) -> Iterator[frozenset[Boolean]]:
    """For every read of a value, the conditions on the way to it."""
    if node == target:
        yield held
    elif isinstance(node, Select):
        asked, if_true, if_false = node.args
        yield from _uses(asked, target, held)
        yield from _uses(if_true, target, held | {*conditions(asked)})
        yield from _uses(if_false, target, held)
    else:
        inner = held
        if isinstance(node, Mul):
            chosen = [factor for factor in selections(node)[0] if factor.args[1] == 1]
            inner |= {condition for factor in chosen for condition in conditions(factor.args[0])}
        for part in node.args:
            yield from _uses(part, target, inner)
