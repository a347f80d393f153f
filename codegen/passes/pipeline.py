"""The passes in their order, as data: what each does to a layer's equations, and what holds of them afterwards.

Every kernel, every plain formula and every bound is made from equations that went through these passes, up to one of
them. The order is written here alone.

Input: a ``Layer``. Output: a ``Layer`` of the same meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from svertka.codegen.passes.centered_sums import of_squares, without_vanishing
from svertka.codegen.passes.inline import epilogues, inline_maps, is_selection, operands
from svertka.codegen.passes.outer_conditions import outer_conditions, without_outer_conditions
from svertka.codegen.passes.recurrences import with_recurrences
from svertka.codegen.passes.row_factors import without_row_factors
from svertka.codegen.passes.scans import without_hidden_scans
from svertka.codegen.passes.single_terms import single_terms, without_single_terms
from svertka.codegen.passes.split import merging, split
from svertka.codegen.passes.stabilize import stabilize, unshifted
from svertka.spec import normal_form
from svertka.spec.layer import Layer, reads, walk
from svertka.spec.notation import Reduction

__all__ = ["PASSES", "Pass", "merged", "through"]


@dataclass(frozen=True)
class Pass:
    """A rewriting of equations that keeps their meaning.

    Attributes:
        name: by which ``through`` knows it.
        rewrite: the pass.
        invariant: what holds of its result, in words.
        violations: where it does not hold: a sentence for each place.
    """

    name: str
    rewrite: Callable[[Layer], Layer]
    invariant: str
    violations: Callable[[Layer], Iterator[str]]


def _nested(layer: Layer) -> Iterator[str]:
    known = {tensor.name for tensor in layer.inputs}
    for equation in layer.equations:
        value = equation.value
        inner = value.args if isinstance(value, Reduction) else (value,)
        if any(isinstance(node, Reduction) for part in inner for node in walk(part)):
            yield f"{equation.target.name} has a reduction within its value"
        yield from (
            f"{equation.target.name} reads {read.tensor} before it is computed"
            for read in reads(value)
            if read.tensor not in known
        )
        known.add(equation.target.name)


def _conditional(layer: Layer) -> Iterator[str]:
    for equation in layer.equations:
        if outer_conditions(equation):
            yield f"{equation.target.name} is a product under a condition that holds no summed index"


def _foldable(layer: Layer) -> Iterator[str]:
    stored, followed = operands(layer), epilogues(layer)
    for equation in layer.equations:
        name = equation.target.name
        kept = isinstance(equation.value, Reduction) or name in layer.outputs
        if not kept and name not in followed and not (name in stored and is_selection(equation.value)):
            yield f"{name} is a map that its readers could compute"


def _hidden(layer: Layer) -> Iterator[str]:
    again = {equation.target.name for equation in without_hidden_scans(layer).equations}
    yield from (f"{name} is a scan within a sum" for name in sorted(again - {*layer.tensors}))


def _apart(layer: Layer) -> Iterator[str]:
    after = with_recurrences(layer).equations
    yield from (f"{e.target.name} is a recurrence without its products" for e in layer.equations if e not in after)


def _single(layer: Layer) -> Iterator[str]:
    yield from (
        f"{e.target.name} sums a term that stands at one place" for e in layer.equations if single_terms(e.value)[0]
    )


def _waiting(layer: Layer) -> Iterator[str]:
    after = without_row_factors(layer).equations
    yield from (f"{e.target.name} has terms with a factor of their row" for e in layer.equations if e not in after)


def _vanishing(layer: Layer) -> Iterator[str]:
    for place, equation in enumerate(layer.equations):
        if any(of_squares(equation, total) == 0 for total in layer.equations[:place]):
            yield f"{equation.target.name} sums deviations from their own mean, which is 0"


def _unshifted(layer: Layer) -> Iterator[str]:
    yield from (f"{name} sums exponentials that may be larger than 1" for name in unshifted(layer))


def _long(layer: Layer) -> Iterator[str]:
    again = {equation.target.name for equation in split(layer).equations}
    yield from (f"{name} is a part of a reduction of few long rows" for name in sorted(again - {*layer.tensors}))


PASSES = (
    Pass(
        "normal form",
        normal_form,
        "a reduction is the whole value of an equation, and an equation reads what stands before it",
        _nested,
    ),
    Pass(
        "outer conditions",
        without_outer_conditions,
        "no condition without a summed index hides that a sum is a product",
        _conditional,
    ),
    Pass(
        "inline maps",
        inline_maps,
        "every equation is a reduction, the map of an output, an epilogue, or a selection that a contraction reads",
        _foldable,
    ),
    Pass("nest scans", without_hidden_scans, "no sum over several indices has a scan in it", _hidden),
    Pass("drop vanishing sums", without_vanishing, "no sum is of deviations from their own mean", _vanishing),
    Pass("stabilize", stabilize, "no sum is of exponentials that may be larger than 1", _unshifted),
    Pass("split", split, "no reduction of few long rows is left that two steps could do", _long),
    Pass("recurrences", with_recurrences, "a sum of products of all places between has them in it", _apart),
    Pass("single terms", without_single_terms, "no sum has a term that stands at one place", _single),
    Pass("row factors", without_row_factors, "no sum of computed elements waits for a factor of its row", _waiting),
)


@lru_cache(maxsize=128)  # levels ask for the same layers again
def through(layer: Layer, last: str, first: str = PASSES[0].name) -> Layer:
    """The layer after a pass and all before it.

    Args:
        layer: as it leaves the pass before ``first``.
        last: name of the last pass.
        first: name of the first.
    """
    names = [one.name for one in PASSES]
    for one in PASSES[names.index(first) : names.index(last) + 1]:
        layer = one.rewrite(layer)
    return layer


@lru_cache(maxsize=128)
def merged(layer: Layer) -> Layer | None:
    """A formula as its kernels compute it, where squares of deviations are merged; None where none are."""
    return merging(through(layer, "stabilize"))
