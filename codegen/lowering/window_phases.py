"""A window kernel whose lanes compute neighbouring results together, so that the compiler knows residue classes.

Of a strided window's gradient, ``stride divides h + padding - dilation * r`` leaves another residue class of ``r`` for
each remainder of ``h``. With ``h = stride * cell + phase`` and one lane for all phases of a cell, the values of ``r``
follow from the phase alone, quotients become ``cell + (phase + padding - dilation * r) // stride``, in which only the
cell varies from lane to lane, and an element that several phases read is loaded once.

Input: a fusion group of the window pattern. Output: ``WindowPhases``, or None where phases do not decide its loops.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sympy import Basic, Expr, Symbol
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.kernel import Axes, Extent, Tap, TileAxis
from svertka.codegen.lowering.cut_loops import every
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.codegen.lowering.fusion import FusionGroup
from svertka.codegen.lowering.residue_classes import Phases, phase_of, phases, residue_classes
from svertka.codegen.lowering.tap_ranges import tap_ranges
from svertka.spec.layer import Equation, reads, walk
from svertka.spec.notation import FloorDiv, Index, Reduction
from svertka.spec.rewrite import coefficient, conditions, conjunction, index_set
from svertka.spec.rewrite import replace as replaced

__all__ = ["WindowPhases", "window_phases"]


@dataclass(frozen=True)
class WindowPhases:
    """How a lane computes all phases of some indices.

    Attributes:
        group: the group, its reductions in terms of cells and phases and without the conditions that phases answer.
        steps: the divided indices, with the number of their phases.
        taps: what the phases leave of the summed indices.
    """

    group: FusionGroup
    steps: dict[Index, Expr]
    taps: tuple[Tap, ...]

    @property
    def axes(self) -> tuple[TileAxis, ...]:
        """The divided indices as a kernel has them."""
        integer = ExpressionLowering({}).integer
        return tuple(TileAxis(index.name, integer(index.extent), integer(step)) for index, step in self.steps.items())

    def cells(self, rows: Axes) -> Axes:
        """The rows, with the cells of each divided index in its place; ``phases_x`` is the number of phases of x."""
        counts = {index.name: f"phases_{index.name}" for index in self.steps}

        def divided(axes: tuple[Extent, ...]) -> tuple[Extent, ...]:
            return tuple(
                replace(every(axis, counts[axis.index]), index=f"cell_{axis.index}") if axis.index in counts else axis
                for axis in axes
            )

        return Axes(divided(rows.order), divided(rows.last))


def window_phases(group: FusionGroup, known: Collection[str]) -> WindowPhases | None:
    """The phases of a window kernel's result.

    They are found where all reductions share one loop, each of its conditions of divisibility has one index of the
    result, the residue follows otherwise from compile-time constants, and nothing else is read at a divided index.

    Args:
        group: what the kernel computes.
        known: names of compile-time constants.
    """
    values = [equation.value for equation in group.reductions]
    if not values or any(value.indices != values[0].indices or _reads_any(group, value) for value in values):
        return None
    first, *others = (conditions(value.guard) for value in values)
    common = [condition for condition in first if all(condition in other for other in others)]
    classes = residue_classes(common, values[0].indices, known)
    divided = phases(classes, group.rows)
    rest = [index for index in values[0].indices if all(index != one.tap for one in classes.values())]
    if not divided.steps or len(divided.classes) < len(classes) or tap_ranges(common, rest, group.rows, known):
        return None
    decided = {*known, *(phase_of(index).name for index in divided.steps)}
    if any(symbol.name not in decided for one in divided.classes.values() for symbol in one.residue.free_symbols):
        return None
    reductions = tuple(replace(equation, value=_divided(equation.value, divided)) for equation in group.reductions)
    left = [read for equation in reductions for read in reads(equation.value)]
    of_results: list[Any] = [result.value for result in group.results]
    left += [read for value in of_results for read in reads(value) if read.tensor not in _names(reductions)]
    if any(index_set(read) & {*divided.steps} for read in left):
        return None
    taps = tuple(one.walked() for one in divided.classes.values())
    return WindowPhases(replace(group, reductions=reductions), divided.steps, taps)


def _names(equations: Collection[Equation]) -> set[str]:
    return {equation.target.name for equation in equations}


def _reads_any(group: FusionGroup, value: Reduction) -> bool:
    """Whether a reduction reads another one of the group."""
    return any(read.tensor in _names(group.reductions) for read in reads(value))


def _divided(value: Reduction, divided: Phases) -> Reduction:
    """A reduction with quotients in terms of cells and phases, and without the conditions that the phases answer."""
    quotients = {
        node: quotient
        for node in walk(value)
        if isinstance(node, FloorDiv) and (quotient := _quotient(node, divided.steps)) is not None
    }
    terms: list[Boolean] = [term for term in conditions(value.guard) if term not in divided.classes]
    guard: Any = conjunction([replaced(term, quotients) for term in terms])
    body: Any = replaced(value.body, quotients)
    return Reduction(value.args[0], body, guard, value.args[3])


def _quotient(node: FloorDiv, steps: dict[Index, Expr]) -> Basic | None:
    """``slope * cell`` and a quotient of phases, for the quotient of an index by the number of its phases."""
    number, divisor = node.args
    for index, step in steps.items():
        line = coefficient(number, index) if divisor == step else None
        if line is not None:
            slope, rest = line
            cell = Symbol(f"cell_{index.name}", integer=True, nonnegative=True)
            return slope * cell + FloorDiv(rest + slope * phase_of(index), divisor)
    return None
