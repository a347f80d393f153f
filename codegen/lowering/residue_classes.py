"""Which values of a summed index a divisibility leaves: those of one residue class, each a period behind the last one.

``stride divides h + padding - dilation * r`` leaves of the values of ``r`` those with ``dilation * r = h + padding``
modulo the stride. A loop over ``r`` then begins at the first of them and takes ``stride / gcd(dilation, stride)``
steps at once, instead of visiting all values and leaving most of them out.

All elements of a contraction's tile walk the same values. Where the residue varies along the result, a tile therefore
has only indices of one *phase*: every stride-th ``h``. The phases are further indices of the batch.

Input: conditions of a reduction. Output: ``ResidueClass``, and the ``Tap`` that a kernel walks; ``Phases``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sympy import Expr, Symbol
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import Tap
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.spec.layer import walk
from svertka.spec.notation import Divides, Index, Read
from svertka.spec.rewrite import coefficient, index_set, substitute

__all__ = ["Phases", "ResidueClass", "phase_of", "phases", "residue_classes"]


@dataclass(frozen=True)
class ResidueClass:
    """The values of an index for which ``slope * tap = residue`` modulo a number; they are walked one by one."""

    tap: Index
    slope: Expr
    residue: Expr
    modulus: Expr

    def follows_from(self, known: Collection[str]) -> bool:
        """Whether the number of its values follows from some names: what kernels take as compile-time constants."""
        numbers = (self.slope, self.modulus, self.tap.extent)
        return {symbol.name for number in numbers for symbol in number.free_symbols} <= {*known}

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
    if slope.could_extract_minus_sign():
        slope, rest = -slope, -rest
    found = ResidueClass(taps[0], slope, -rest, modulus)
    return found if found.follows_from(known) else None


@dataclass(frozen=True)
class Phases:
    """How the tiles of a contraction divide its result, so that each of them walks one residue class.

    Attributes:
        steps: indices of the result of which a tile has every step-th value.
        classes: the conditions that the phases answer, with residues that follow from the phases.
    """

    steps: dict[Index, Expr]
    classes: dict[Boolean, ResidueClass]


def phase_of(index: Index) -> Symbol:
    """The symbol of the remainder of an index modulo its step."""
    return Symbol(f"phase_{index.name}", integer=True, nonnegative=True)


def phases(classes: dict[Boolean, ResidueClass], moving: Collection[Index]) -> Phases:
    """The phases of a contraction's result.

    Args:
        classes: what conditions leave of its summed indices.
        moving: indices of the result that vary within a tile. A condition that contains several of them, or one that
            another condition divides by another number, is not answered.
    """
    found = Phases({}, {})
    for condition, one in classes.items():
        within = [index for index in moving if index in index_set(one.residue)]
        if len(within) > 1 or not (one.modulus.is_Symbol or one.modulus.is_Integer):
            continue
        if within and (coefficient(one.residue, within[0]) is None):
            continue
        if any(found.steps.setdefault(index, one.modulus) != one.modulus for index in within):
            continue
        residue = substitute(one.residue, {index: phase_of(index) for index in within})
        found.classes[condition] = replace(one, residue=residue)
    return found
