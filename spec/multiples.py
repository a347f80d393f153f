"""A sum over the multiples of a number is a sum over the quotients.

Of the terms of Σ over i with ``stride divides i + rest`` only every ``stride``-th can count. If another condition is
``0 <= (i + rest) / stride < Q``, they are those at ``i = stride q - rest`` for every q of the axis with extent Q, as
far as i lies within its own axis. Such sums occur in the gradient of a gradient of a convolution with a stride.

Input: a term, its conditions and its bound indices. Output: the same sum over other indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sympy import Basic, Expr, expand
from sympy.logic.boolalg import Boolean, true

from svertka.spec.layer import walk
from svertka.spec.notation import Divides, FloorDiv, Index, InRange
from svertka.spec.rewrite import coefficient, fresh, replace, substitute

__all__ = ["Terms"]


@dataclass
class Terms:
    """The terms of a sum.

    Attributes:
        value: a term.
        conditions: when it counts.
        indices: the bound indices.
        named: for an index, the one whose name it should have.
    """

    value: Expr
    conditions: tuple[Boolean, ...]
    indices: tuple[Index, ...]
    named: dict[Index, Index] = field(default_factory=dict)

    def by_quotients(self, axes: Sequence[Index], taken: Sequence[Index]) -> Terms:
        """The sum over quotients, wherever an index has only multiples.

        Args:
            axes: indices that are known; a quotient is a twin of one of them.
            taken: indices whose names a new one must not have.
        """
        found = next((one for one in map(self._quotient, self.conditions) if one and one.index in self.indices), None)
        axis = next((axis for axis in axes if found and axis.extent == found.extent), None)
        if found is None or axis is None:
            return self
        return self._over(found, axis, fresh(axis, (*taken, *self.indices))).by_quotients(axes, taken)

    def _quotient(self, condition: Boolean) -> _Quotient | None:
        """The quotient of which a condition says that it is whole, if another says within which extent."""
        if not isinstance(condition, Divides):
            return None
        divisor, multiple = condition.args
        ranges = (one.args for one in self.conditions if isinstance(one, InRange))
        extent = next((extent for place, extent in ranges if _is_quotient(place, multiple, divisor)), None)
        for index in self.indices:
            split = coefficient(multiple, index)
            if extent is not None and split is not None and split[0] == 1 and divisor.is_positive:
                return _Quotient(index, divisor, multiple, split[1], extent)
        return None

    def _over(self, found: _Quotient, axis: Index, quotient: Index) -> Terms:
        """The sum over a quotient instead of its index."""
        place = expand(found.divisor * quotient - found.rest)

        def told(node: Basic) -> Basic:
            same = {part: quotient for part in walk(node) if _is_quotient(part, found.multiple, found.divisor)}
            return substitute(replace(node, same), {found.index: place})

        kept = (one for one in self.conditions if one != Divides(found.divisor, found.multiple))
        terms = (*map(told, kept), InRange(place, found.index.extent))
        indices = tuple(quotient if index == found.index else index for index in self.indices)
        conditions = tuple(dict.fromkeys(term for term in terms if term != true))
        return Terms(told(self.value), conditions, indices, {**self.named, quotient: axis})


@dataclass(frozen=True)
class _Quotient:
    """``multiple = index + rest`` is a multiple of ``divisor``, and the quotient lies within ``extent``."""

    index: Index
    divisor: Expr
    multiple: Expr
    rest: Expr
    extent: Expr


def _is_quotient(node: Basic, multiple: Expr, divisor: Expr) -> bool:
    return isinstance(node, FloorDiv) and node.args[1] == divisor and expand(node.args[0] - multiple) == 0
