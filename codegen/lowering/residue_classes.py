"""Which values of a summed index a divisibility leaves: those of one residue class, each a period behind the last one.

``stride divides h + padding - dilation * r`` leaves of the values of ``r`` those with ``dilation * r = h + padding``
modulo the stride. A loop over ``r`` then begins at the first of them and takes ``stride / gcd(dilation, stride)``
steps at once, instead of visiting all values and leaving most of them out.

Input: conditions of a reduction. Output: ``ResidueClass``, and the ``Tap`` that a kernel walks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sympy import Expr
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import Tap
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.spec.layer import walk
from svertka.spec.notation import Divides, Index, Read
from svertka.spec.rewrite import coefficient, index_set

__all__ = ["ResidueClass", "residue_classes"]


@dataclass(frozen=True)
class ResidueClass:
    """The values of an index for which ``slope * tap = residue`` modulo a number; they are walked one by one."""

    tap: Index
    slope: Expr
    residue: Expr
    modulus: Expr

    def walked(self) -> Tap:
        """The index as a kernel walks it."""
        numbers = (self.tap.extent, self.slope, self.residue, self.modulus)
        return Tap(self.tap.name, *map(ExpressionLowering({}).integer, numbers))


def residue_classes(
    conditions: Iterable[Boolean], bound: Sequence[Index], known: Collection[str]
) -> dict[Boolean, ResidueClass]:
    """The conditions that leave a summed index the values of one residue class, at most one of each index.

    Args:
        conditions: terms of a reduction's guard.
        bound: the summed indices.
        known: names of extents and parameters that are compile-time constants; slope, modulus and the index's extent
            must follow from them, so that the number of steps does.
    """
    found: dict[Boolean, ResidueClass] = {}
    for condition in conditions:
        left = _left(condition, bound, known) if isinstance(condition, Divides) else None
        if left is not None and all(left.tap != other.tap for other in found.values()):
            found[condition] = left
    return found


def _left(condition: Divides, bound: Sequence[Index], known: Collection[str]) -> ResidueClass | None:
    """What a divisibility leaves of a summed index; None if it has none or several of them, or is not affine in it."""
    modulus, number = condition.args
    taps = [index for index in bound if index in index_set(number)]
    line = coefficient(number, taps[0]) if len(taps) == 1 else None
    if line is None or not modulus.is_positive or any(isinstance(part, Read) for part in walk(number)):
        return None
    slope, rest = line
    fixed = {symbol.name for part in (slope, modulus, taps[0].extent) for symbol in part.free_symbols}
    if not fixed <= set(known):
        return None
    if slope.could_extract_minus_sign():
        return ResidueClass(taps[0], -slope, rest, modulus)
    return ResidueClass(taps[0], slope, -rest, modulus)
