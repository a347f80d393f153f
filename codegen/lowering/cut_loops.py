"""What guards leave of a contraction's loops: residue classes, bounds, and tiles whose sums are used.

Input: a contraction's equation, how its indices divide, and what is stored. Output: ``CutLoops``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sympy import Basic
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import Axes, Extent, LoopBounds, Node, Tap, TileAxis
from svertka.codegen.ir.loop_patterns import Contraction
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.codegen.lowering.loop_bounds import bounds_of, reached, used_under
from svertka.codegen.lowering.residue_classes import phases, residue_classes
from svertka.spec.layer import Equation, reads
from svertka.spec.rewrite import conditions

__all__ = ["CutLoops", "cut_loops", "every"]


@dataclass(frozen=True)
class CutLoops:
    """How a contraction walks only what its guards allow; the attributes are those of ``Kernel``.

    Attributes:
        answered: conditions that hold of all that is walked.
        steps: the step of every index of which a tile has one phase, as text.
    """

    answered: frozenset[Boolean] = frozenset()
    steps: tuple[tuple[str, str], ...] = ()
    phases: tuple[TileAxis, ...] = ()
    taps: tuple[Tap, ...] = ()
    bounds: LoopBounds | None = None
    used: tuple[tuple[Node, ...], ...] = ()

    def groups(self, batch: Axes, *sides: Axes) -> tuple[Axes, ...]:
        """Indices of the batch with the phases, and those of rows and columns with the number of places of a phase."""
        steps = dict(self.steps)
        walked = tuple(Extent(f"phase_{index}", step, True) for index, step in self.steps)

        def stepped(axes: tuple[Extent, ...]) -> tuple[Extent, ...]:
            return tuple(every(axis, steps[axis.index]) if axis.index in steps else axis for axis in axes)

        batch = Axes((*batch.order, *walked), (*batch.last, *walked))
        return batch, *(Axes(stepped(side.order), stepped(side.last)) for side in sides)


def cut_loops(equation: Equation, split: Contraction, results: Sequence[Any], known: Collection[str]) -> CutLoops:
    """What guards leave of a contraction's loops.

    Args:
        equation: the sum.
        split: how its indices divide.
        results: values that are stored; they may read the sum.
        known: names of compile-time constants.
    """
    value, integer = equation.value, ExpressionLowering({}).integer
    terms = conditions(value.guard)
    divided = phases(residue_classes(terms, value.indices, known), (*split.m, *split.n))
    single = len(value.indices) == 1 and not divided.classes
    stepping = divided.steps.items()
    return CutLoops(
        answered=frozenset(divided.classes),
        steps=tuple((index.name, str(step)) for index, step in stepping),
        phases=tuple(TileAxis(index.name, integer(index.extent), integer(step)) for index, step in stepping),
        taps=tuple(one.walked() for one in divided.classes.values()),
        bounds=bounds_of(terms, value.indices[0]) if single else None,
        used=_used(equation, split, results),
    )


def every(axis: Extent, step: str) -> Extent:
    """The places of every ``step``-th value, as many as the first phase has; the text is Python's and Triton's."""
    return replace(axis, extent=f"(({axis.extent} + ({step} - 1)) // {step})")


def _used(equation: Equation, split: Contraction, results: Sequence[Basic]) -> tuple[tuple[Node, ...], ...]:
    """From the conditions without which no result depends on an element of the sum."""
    read = equation.target[equation.target.axes]
    first, *others = [used_under(value, read) for value in results if read in reads(value)]
    common = [one for one in first if all(one in other for other in others)]
    return tuple(parts for one in common for parts in reached(one, (split.m, split.n)))
