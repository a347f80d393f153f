"""The errata with their computations in detail.

Input: ``svertka.spec.errata``. Output: ``ShownErratum``s for a template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from svertka.codegen.book.line import Line, lines_of
from svertka.codegen.book.printers import plain
from svertka.codegen.book.worked import work
from svertka.spec.binding import bind
from svertka.spec.errata import Computation, Erratum, errata
from svertka.spec.evaluate import Array
from svertka.spec.layers import DEFINITIONS
from svertka.spec.slides import Illustration

__all__ = ["ShownErratum", "shown_errata"]


@dataclass(frozen=True)
class ShownErratum:
    """An erratum; ``parts`` are titled computations: equations, if it has its own, and steps with numbers."""

    erratum: Erratum
    parts: tuple[tuple[str, tuple[Line, ...], tuple[str, ...]], ...]


def shown_errata() -> tuple[ShownErratum, ...]:
    """All errata, computed."""
    return tuple(
        ShownErratum(one, (*map(_of_computation, one.computations), *map(_of_call, one.calls))) for one in errata()
    )


def _of_computation(computation: Computation) -> tuple[str, tuple[Line, ...], tuple[str, ...]]:
    arrays = {name: Array((len(values),), list(values)) for name, values in computation.inputs.items()}
    worked = work(computation.layer, arrays, {})
    steps = [step for e in computation.layer.equations for step in worked.steps(e.target.name)]
    return computation.title, lines_of(computation.layer), tuple(plain(step.written) for step in steps)


def _of_call(call: Illustration) -> tuple[str, tuple[Line, ...], tuple[str, ...]]:
    definition = DEFINITIONS[call.definition]
    bound = bind(definition, **call.inputs, **call.arguments)
    worked = work(bound.variant.layer, bound.arrays, bound.sizes)
    first: Sequence[str] = [plain(worked.steps(definition.result[0])[0].written)]
    return call.title, (), tuple(first)
