"""Substitution that never captures a bound index, and the few rewrites that the stages share.

SymPy's ``subs`` and ``xreplace`` replace bound indices too, so every substitution of an index uses this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count

from sympy import Add, And, Basic, Expr, Integer, Mul, Tuple, expand
from sympy.logic.boolalg import Boolean, true

from svertka.spec.layer import text_of, walk
from svertka.spec.notation import Index, InRange, Read, Reduction, Select

__all__ = [
    "coefficient",
    "conditions",
    "conjunction",
    "fresh",
    "independent_factors",
    "index_set",
    "linear_position",
    "range_conditions",
    "rebuilt",
    "replace",
    "selections",
    "substitute",
]


def index_set(node: Basic) -> frozenset[Index]:
    """Free indices of an expression."""
    return frozenset(s for s in node.free_symbols if isinstance(s, Index))


def fresh(index: Index, taken: Iterable[Index]) -> Index:
    """The index itself, or a renamed twin if its name is taken."""
    names = {other.name for other in taken}
    if index.name not in names:
        return index
    return next(index.twin(name) for number in count(1) if (name := f"{index.name}{number}") not in names)


def replace(node: Basic, mapping: Mapping[Basic, Basic]) -> Basic:
    """Replace whole nodes, structurally and top down; replacements are not searched again."""
    if node in mapping:
        return mapping[node]
    if not node.args:
        return node
    children = [replace(child, mapping) for child in node.args]
    if all(new is old for new, old in zip(children, node.args, strict=True)):
        return node
    return node.func(*children)


def rebuilt(node: Basic, change: Callable[[Basic], Basic]) -> Basic:
    """The node with every part changed, the innermost first."""
    children = [rebuilt(child, change) for child in node.args]
    same = all(new is old for new, old in zip(children, node.args, strict=True))
    return change(node if same else node.func(*children))


def substitute(node: Basic, mapping: Mapping[Index, Expr]) -> Basic:
    """Replace free indices by expressions; bound indices are renamed where they would capture a free one."""
    mapping = {old: new for old, new in mapping.items() if old != new}
    if not mapping or not node.args:
        return mapping.get(node, node)
    if isinstance(node, Reduction):
        inner = {old: new for old, new in mapping.items() if old not in node.indices}
        arriving = set().union(*(index_set(new) for new in inner.values())) | index_set(node)
        renamed: list[Index] = []
        for index in node.indices:
            renamed.append(fresh(index, (*arriving, *renamed)))
        inner |= {old: new for old, new in zip(node.indices, renamed, strict=True) if old != new}
        return Reduction(node.args[0], substitute(node.body, inner), substitute(node.guard, inner), Tuple(*renamed))
    if isinstance(node, Read):
        indices = Tuple(*(expand(substitute(index, mapping)) for index in node.indices))
        return Read(node.args[0], node.args[1], indices, node.args[3])
    return node.func(*(substitute(child, mapping) for child in node.args))


def conditions(guard: Boolean) -> tuple[Boolean, ...]:
    """The terms of a conjunction, sorted by their text."""
    if guard == true:
        return ()
    terms = guard.args if isinstance(guard, And) else (guard,)
    return tuple(sorted(terms, key=text_of))


def conjunction(terms: Iterable[Boolean]) -> Boolean:
    """All of the conditions."""
    return And(*terms)


def range_conditions(body: Basic) -> list[Boolean]:
    """Conditions under which every read of an expression lies inside its tensor."""
    found = []
    for node in walk(body):
        if isinstance(node, Read):
            found += [InRange(i, e) for i, e in zip(node.indices, node.extents, strict=True)]
    return [condition for condition in found if condition != true]


def linear_position(indices: Iterable[Index]) -> Expr:
    """Position of an element in row-major order of the indices, slowest first."""
    position: Expr = Integer(0)
    for index in indices:
        position = position * index.extent + index
    return expand(position)


def coefficient(expression: Expr, index: Index) -> tuple[Expr, Expr] | None:
    """``(a, b)`` with expression = a * index + b, both free of the index; None if it is not affine in it."""
    terms = Add.make_args(expand(expression))
    holding = [term for term in terms if term.has(index)]
    rest = Add(*(term for term in terms if not term.has(index)))
    slope = Add(*(term / index for term in holding))
    if not holding or slope.has(index):
        return None
    return slope, rest


def selections(product: Expr) -> tuple[list[Select], list[Expr]]:
    """Factors that are 0 or 1 by a condition, and the others.

    Such a factor selects: where it is 0 the product is 0 for all values of the others, so 0 times infinity or NaN
    cannot occur.
    """
    factors = Mul.make_args(product)
    found = [f for f in factors if isinstance(f, Select) and set(f.args[1:]) == {Integer(0), Integer(1)}]
    return found, [f for f in factors if f not in found]


def independent_factors(body: Expr, indices: Iterable[Index]) -> tuple[Expr, Expr]:
    """Split a product into the factors that do not depend on the indices and those that do."""
    bound = set(indices)
    outer: list[Expr] = []
    inner: list[Expr] = []
    for factor in Mul.make_args(body):
        (inner if index_set(factor) & bound else outer).append(factor)
    return Mul(*outer), Mul(*inner)
