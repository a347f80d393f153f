"""A formula at one element of its result: indices and parameters are numbers, reductions are written out.

Input: an equation's value, the element's indices, the values of all tensors. Output: an expression over elements with
numbers as indices, whose reductions are ``Listed``; the elements it reads; the positions that it would read outside a
tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

from sympy import Abs, Basic, Expr, Float, Integer, Mul, Tuple, oo, sympify
from sympy.core.relational import Relational
from sympy.core.symbol import Str
from sympy.logic.boolalg import true

from svertka.codegen.book.tree import Binding, Function, Number, Tree, fenced
from svertka.codegen.book.typeset import joined
from svertka.spec.arithmetic import uniform
from svertka.spec.evaluate import Array, Places
from svertka.spec.layer import walk
from svertka.spec.notation import Index, Read, Reduction, Select, Uniform, maximum, minimum
from svertka.spec.rewrite import conditions, conjunction, range_conditions, replace, selections

__all__ = ["Instance", "Listed"]

MANY = 24  # members of a reduction; of a larger one only the first few are written out
FIRST = 6

Here = Mapping[str, int]


class Listed(Expr):  # type: ignore[misc]
    """``Listed(operation, members)``: a reduction with its members written out."""

    is_commutative = True
    is_real = True

    def typeset(self, trees: Any) -> Tree:
        """The members with operators between them, or as a function's arguments."""
        operation, members = self.args[0].name, self.args[1]
        parts = [trees.tree(member) for member in members]
        if len(parts) > MANY:
            parts = [*parts[:FIRST], Number("…"), parts[-1]]
        if operation == "sum":
            return joined([fenced(part, Binding.REDUCTION) for part in parts], "+", Binding.SUM)
        return Function(operation, tuple(parts))


class Instance:
    """Instantiates expressions and records what they read.

    Args:
        values: every tensor that is known.
        sizes: extents and parameters by name.
        defaults: values of elements of tensors that were not given.
        places: conditions and positions at these sizes; instances share it.
    """

    def __init__(
        self, values: Mapping[str, Array], sizes: Mapping[str, Any], defaults: Mapping[str, Expr], places: Places
    ) -> None:
        self.values = values
        self.defaults = defaults
        self.places = places
        self.sizes = {name: sympify(value) for name, value in sizes.items()}
        self.reads: list[tuple[str, tuple[int, ...]]] = []
        self.outside: list[tuple[str, tuple[int, ...]]] = []

    def at(self, node: Basic, here: Here, target: bool = False) -> Basic:
        """The expression at some indices.

        Args:
            node: the expression.
            here: values of its free indices by name.
            target: whether it is the equation's target; its element is not read.
        """
        if isinstance(node, Index):
            return Integer(here[node.name]) if node.name in here else node
        if node.is_Symbol:
            return self.sizes[node.name]
        if isinstance(node, Read):
            indices = Tuple(*(self.at(index, here) for index in node.indices))
            element = Read(node.args[0], node.args[1], indices, node.args[3])
            return element if target else self._element(element)
        if isinstance(node, Reduction):
            return self._listed(node, here)
        if isinstance(node, Select):
            return self.at(node.args[1] if self._holds(node.args[0], here) else node.args[2], here)
        if not node.args:
            return node
        if node.is_Mul:
            return self._product(node, here)
        return _folded(node.func(*(self.at(part, here) for part in node.args)))

    def _product(self, node: Mul, here: Here) -> Basic:
        """A product; if a selecting factor is 0, the others are not read."""
        selecting, others = selections(node)
        if not all(self._holds(factor.args[0], here) == (factor.args[1] == 1) for factor in selecting):
            return Integer(0)
        return Mul(*(self.at(factor, here) for factor in others))

    def _element(self, element: Read) -> Expr:
        """The element; a number if its tensor is not given, or if the position is outside."""
        if any(not index.is_Integer for index in element.indices):
            indices = Tuple(*(self._number(index) for index in element.indices))
            element = Read(element.args[0], element.args[1], indices, element.args[3])
        place = tuple(int(index) for index in element.indices)
        if element.tensor not in self.values:
            return self.defaults[element.tensor]
        if not _lies_in(place, self.values[element.tensor].shape):
            self.outside.append((element.tensor, place))
            return Integer(0)
        self.reads.append((element.tensor, place))
        return element

    def _listed(self, node: Reduction, here: Here) -> Expr:
        names = [index.name for index in node.indices]
        ranges = [range(self.places.position(index.extent, {})) for index in node.indices]
        members: list[Expr] = []
        for places in product(*ranges):
            inner = {**here, **dict(zip(names, places, strict=True))}
            if self._holds(node.guard, inner) and self._inside(node.body, inner):
                members.append(self.at(node.body, inner))
            elif node.operation == "argmax":
                members.append(-oo)  # it has a position, but is never the maximum
        if node.operation == "argmax" or len(members) > 1:
            return Listed(Str(node.operation), Tuple(*members))
        return members[0] if members else Integer(0) if node.operation == "sum" else -oo

    def _inside(self, body: Expr, here: Here) -> bool:
        """Whether every read of a reduction's body lies in its tensor; positions outside are recorded."""
        lying = True
        for read in _own_reads(body):
            place = tuple(self._position(index, here) for index in read.indices)
            extents = tuple(self.places.position(extent, {}) for extent in read.extents)
            if not _lies_in(place, extents):
                self.outside.append((read.tensor, place))
                lying = False
        return lying

    def _position(self, index: Expr, here: Here) -> int:
        if _reads(index):
            return int(self._number(self.at(index, here)))
        return self.places.position(index, here)

    def _holds(self, condition: Basic, here: Here) -> bool:
        """Whether a condition is true; elements are read only where the parts that read none allow it."""
        plain, reading = _parts(condition)
        if not all(self.places.holds(part, here) for part in plain):
            return False
        return bool(conjunction([self._truth(part, here) for part in reading]) == true)

    def _truth(self, condition: Basic, here: Here) -> Basic:
        """A condition of numbers; SymPy is slow to compare elements, of which it knows nothing."""
        if isinstance(condition, Relational):
            return condition.func(*(self._number(self.at(side, here)) for side in condition.args))
        return self._number(self.at(condition, here))

    def _number(self, node: Basic) -> Basic:
        """The expression with elements replaced by their values."""
        found = {}
        for read in (part for part in walk(node) if isinstance(part, Read)):
            found[read] = sympify(self.values[read.tensor][[int(index) for index in read.indices]])
        return _computed(replace(node, found)) if found else node


@cache
def _reads(node: Basic) -> bool:
    return bool(node.has(Read))


@cache
def _parts(condition: Basic) -> tuple[tuple[Basic, ...], tuple[Basic, ...]]:
    """The parts of a conjunction that read no element, and those that do."""
    parts = conditions(condition)
    return tuple(part for part in parts if not _reads(part)), tuple(part for part in parts if _reads(part))


@cache
def _own_reads(body: Expr) -> tuple[Read, ...]:
    """Reads of a reduction's body that may be outside their tensors, without those of inner reductions."""
    return tuple(dict.fromkeys(_walked(body)))


def _walked(body: Expr) -> Iterator[Read]:
    if isinstance(body, Reduction):
        return
    if isinstance(body, Read):
        if range_conditions(body):
            yield body
        return
    for part in body.args:
        yield from _walked(part)


def _lies_in(place: tuple[int, ...], extents: tuple[int, ...]) -> bool:
    return all(0 <= index < extent for index, extent in zip(place, extents, strict=True))


def _computed(node: Basic) -> Basic:
    """An expression of numbers as a number, whatever functions are inside it."""
    return _folded(node.func(*map(_computed, node.args))) if node.args else node


def _folded(node: Basic) -> Basic:
    """Functions of numbers as numbers; the notation does not evaluate them."""
    if not node.args or not all(getattr(part, "is_Number", False) for part in node.args):
        return node
    if isinstance(node, maximum | minimum):
        return (max if isinstance(node, maximum) else min)(*node.args)
    if isinstance(node, Uniform):
        return Float(uniform(int(node.args[0]), int(node.args[1])))
    return node if not isinstance(node, Abs) else abs(node.args[0])
