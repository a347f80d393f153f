"""Divisions of whole numbers that need care: a formula's ``FloorDiv`` rounds down, a kernel's ``//`` toward 0.

They differ where the number is negative and no multiple of the divisor. Most numbers cannot be: indices, extents and
places of a maximum are not negative, and what a condition asks to be a multiple is used only where it is one.

Input: the expressions of a kernel. Output: the divisions of which neither is known.
"""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Basic, Dummy, Expr

from svertka.codegen.ir.loop_patterns import extent_names
from svertka.spec.layer import Layer, walk
from svertka.spec.notation import Divides, FloorDiv, Index, Read, Reduction, Select

__all__ = ["signed_divisions"]


def signed_divisions(values: Iterable[Basic], layer: Layer) -> frozenset[FloorDiv]:
    """The divisions in some expressions whose numbers may be negative and no multiples.

    Args:
        values: the expressions of a kernel.
        layer: its layer, which tells the places of maxima and extents from other whole numbers.
    """
    signs = _Signs(layer)
    found: set[FloorDiv] = set()
    for value in values:
        nodes = walk(value)
        multiples = {(one.args[1], one.args[0]) for one in nodes if isinstance(one, Divides)}
        divisions = [one for one in nodes if isinstance(one, FloorDiv) and one.args not in multiples]
        found |= {one for one in divisions if not signs.is_natural(one)}
    return frozenset(found)


class _Signs:
    """Which whole numbers of a layer cannot be negative, as far as they show as sums of products of such."""

    def __init__(self, layer: Layer) -> None:
        reductions = [(e.target.name, e.value) for e in layer.equations if isinstance(e.value, Reduction)]
        self.places = {name for name, value in reductions if value.operation == "argmax"}
        self.extents = extent_names(layer)

    def is_natural(self, node: Basic) -> bool:
        """Whether a number, or the number that is divided, is not negative."""
        if isinstance(node, Read):
            return node.tensor in self.places
        return bool(self._written(node.args[0] if isinstance(node, FloorDiv) else node).expand().is_nonnegative)

    def _written(self, number: Expr) -> Expr:
        """The number in terms of naturals; where something is divided or used at all, no extent is 0."""
        known = {
            node: _natural() for node in walk(number) if isinstance(node, FloorDiv | Read) and self.is_natural(node)
        }
        largest = [node for node in walk(number) if isinstance(node, Select) and _is_maximum(node)]
        rest = number.xreplace(known | {node: node.args[2] + _natural() for node in largest})
        indices = {index.extent: index for index in rest.free_symbols if isinstance(index, Index)}
        least = {s: indices.get(s, 0) + 1 for s in rest.free_symbols if s in indices or s.name in self.extents}
        least |= {s: 1 for s in rest.free_symbols - {*least} if s.is_integer and s.is_positive}
        return rest.xreplace({symbol: value + _natural() for symbol, value in least.items()})


def _is_maximum(choice: Select) -> bool:
    """Whether a choice is the larger of two numbers."""
    asked, if_true, if_false = choice.args
    return getattr(asked, "rel_op", "") in (">", ">=") and asked.args == (if_true, if_false)


def _natural() -> Dummy:
    return Dummy(integer=True, nonnegative=True)
