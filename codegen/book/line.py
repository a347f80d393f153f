"""Equations for display: long positions of elements and long factors get names, explained beside the equation.

``input[n, c, stride_h·p + dilation_h·r − padding_h]`` becomes ``input[n, c, h′]`` where h′ is that position; the name
is that of the axis of the position. A long part that reads no tensor (the number of a window's elements inside the
image) is named by a letter.

Input: an element, its value, and the axes of every tensor by name. Output: ``Line``s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sympy import Basic, Expr, Symbol, Tuple, preorder_traversal
from sympy.logic.boolalg import Boolean, true

from svertka.codegen.book.tree import Over, Tree, parts_of
from svertka.codegen.book.typeset import Typesetter, equals
from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Index, Read, Reduction
from svertka.spec.rewrite import replace

__all__ = ["Line", "axes_of", "line", "lines_of"]

LONG = 3  # nodes of a position that needs no name
LONG_FACTOR = 14  # and of a factor
LETTERS = "uvxyzabcdefghijklmnopqrst"


@dataclass(frozen=True)
class Line:
    """An equation for display.

    Attributes:
        left: the element on its left side.
        value: its value, as in the formula or kernel.
        short: the value with names for long parts.
        named: the names and their expressions, in order.
    """

    left: Read
    value: Expr
    short: Expr
    named: tuple[tuple[Symbol, Expr], ...]

    @property
    def _lone(self) -> Reduction | None:
        """The reduction whose conditions are shown beside the equation: the only one with conditions."""
        found = [n for n in walk(self.short) if isinstance(n, Reduction) and n.guard != true]
        return found[0] if len(found) == 1 and self.named else None

    @property
    def tree(self) -> Tree:
        """The equation."""
        value, lone = self.short, self._lone
        if lone is not None:
            value = replace(value, {lone: Reduction(lone.args[0], lone.body, true, lone.args[3])})
        return equals(self._typesetter.tree(self.left), self._typesetter.tree(value))

    @property
    def where(self) -> tuple[Tree, ...]:
        """The definitions of the names."""
        names = {part: name for name, part in self.named}
        found = []
        for name, part in self.named:
            shown = _with_names(part, {other: given for other, given in names.items() if given != name})
            found.append(equals(self._typesetter.tree(name), self._typesetter.tree(shown)))
        return tuple(found)

    @property
    def conditions(self) -> tuple[Tree, ...]:
        """Conditions under which elements are included, if they are shown beside the equation."""
        if self._lone is None:
            return ()
        tree = self._typesetter.tree(self._lone)
        return next(part.conditions for part in parts_of(tree) if isinstance(part, Over))

    @property
    def _typesetter(self) -> Typesetter:
        return Typesetter(index for index in self.left.indices if index.is_Symbol)


def axes_of(layer: Layer) -> dict[str, tuple[str, ...]]:
    """Names of the axes of every tensor of a layer."""
    return {name: tuple(index.name for index in tensor.axes) for name, tensor in layer.tensors.items()}


def lines_of(layer: Layer) -> tuple[Line, ...]:
    """All equations of a layer."""
    return tuple(_line(equation, axes_of(layer)) for equation in layer.equations)


def _line(equation: Equation, axes: Mapping[str, tuple[str, ...]]) -> Line:
    return line(equation.target[equation.target.axes], equation.value, axes)


def line(left: Read, value: Expr, axes: Mapping[str, tuple[str, ...]]) -> Line:
    """The line of ``left = value``."""
    names: dict[Expr, Symbol] = {}
    used = {node.name for node in walk(value) if node.is_Symbol} | {index.name for index in left.indices}
    for read in (node for node in walk(value) if isinstance(node, Read)):
        letters = axes.get(read.tensor, ())
        for letter, place in zip(letters, read.indices, strict=False):
            if place not in names and _is_long(place):
                names[place] = _primed(letter, used)
                used.add(names[place].name)
    for part in value.args:
        for factor in _long_factors(part):
            if factor not in names:
                letter = next(letter for letter in LETTERS if letter not in used)
                names[factor] = _lettered(letter, factor, left)
                used |= {letter, names[factor].name}
    return Line(left, value, _with_names(value, names), tuple((name, part) for part, name in names.items()))


def _long_factors(node: Basic) -> Iterator[Expr]:
    """The largest long parts that read no tensor."""
    nodes = list(preorder_traversal(node))
    if isinstance(node, Read | Boolean) or len(nodes) <= LONG_FACTOR:
        return
    if node.is_Pow and node.exp.is_Integer:
        yield from _long_factors(node.base)  # the divisor gets the name, not its reciprocal
    elif isinstance(node, Expr) and not any(isinstance(part, Read | Reduction) for part in nodes):
        yield node
    else:
        for part in node.args:
            yield from _long_factors(part)


def _lettered(letter: str, factor: Expr, left: Read) -> Symbol:
    """A letter's name, with the index of a reduction below it if the part depends on one."""
    own = {index.name for index in left.indices}
    bound = sorted({node.name for node in walk(factor) if isinstance(node, Index)} - own)
    return Symbol(f"{letter}_{bound[0]}" if len(bound) == 1 and len(bound[0]) == 1 else letter)


def _is_long(place: Basic) -> bool:
    return len(list(preorder_traversal(place))) > LONG and not any(isinstance(node, Read) for node in walk(place))


def _primed(letter: str, used: set[str]) -> Symbol:
    name = f"{letter}'"
    while name in used:
        name += "'"
    return Symbol(name, integer=True)


def _with_names(value: Expr, names: Mapping[Expr, Symbol]) -> Expr:
    """The value with names for positions; the extents in a read stay unchanged."""
    if not names:
        return value
    if value in names:
        return names[value]
    if isinstance(value, Read):
        indices = Tuple(*(_with_names(index, names) for index in value.indices))
        return Read(value.args[0], value.args[1], indices, value.args[3])
    if not value.args:
        return value
    return value.func(*(_with_names(part, names) for part in value.args))
