"""Every worked number of the lecture, computed by the formula, the reference and the generated kernel.

Input: ``svertka.spec.slides`` and ``svertka.spec.errata``. Output: ``Row``s of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from svertka import reference
from svertka.codegen.verify.replay import replaying_on
from svertka.spec import FORMATS, Rational, RunningError, errata
from svertka.spec.binding import call
from svertka.spec.definition import Definition
from svertka.spec.layers import DEFINITIONS
from svertka.spec.slides import EXAMPLES, IMAGE_SIZE, LOST, NETWORK_SIZE, POOLING_STEPS, WORKED_SUMS, A, B, Example

__all__ = ["Row", "slide_rows"]

AGREES, DIFFERS, NONE = "agrees", "differs", "-"


@dataclass(frozen=True)
class Row:
    """A number or matrix of a slide, and the result of each of the three computations.

    Attributes:
        cells: slide, what it shows, the expected value, then formula, reference and kernel.
    """

    cells: tuple[str, str, str, str, str, str]

    @property
    def holds(self) -> bool:
        """Whether all three computations agree with the slide."""
        return DIFFERS not in self.cells


@dataclass(frozen=True)
class _Roads:
    """An example's exact result; reference and kernel must agree within a bound of float64's rounding."""

    exact: Any
    reference: Any
    kernel: Any
    bound: Any


def slide_rows() -> list[Row]:
    """All rows in the order of the slides."""
    # Masked lanes at a tile's end compute with arbitrary values; they store nothing.
    with np.errstate(all="ignore"), replaying_on("cpu"):
        return _rows()


def _rows() -> list[Row]:
    roads = {id(example): _roads(example) for example in EXAMPLES}
    rows = [_example_row(example, roads[id(example)]) for example in EXAMPLES]
    convolution = next(roads[id(e)] for e in EXAMPLES if e.slide == 3)
    pooling = next(roads[id(e)] for e in EXAMPLES if e.slide == 16 and not e.ours)
    rows += _sum_rows(convolution)
    rows += _pooling_rows(pooling)
    rows += [_photograph(), *_errata_rows()]
    rows += [Row((str(slide), f"lost: {what}", NONE, NONE, NONE, NONE)) for slide, what in LOST.items()]
    return sorted(rows, key=lambda row: int(row.cells[0]))


def _roads(example: Example) -> _Roads:
    definition = DEFINITIONS[example.definition]
    named = {**example.inputs, **example.arguments}
    bounded = call(definition, RunningError(FORMATS["float64"]), **named)
    return _Roads(
        exact=call(definition, Rational(), **named) if _rational(definition) else _mapped(bounded, lambda b: b.value),
        reference=_through_reference(definition, example),
        kernel=_through_kernel(definition, example),
        bound=bounded,
    )


def _rational(definition: Definition) -> bool:
    """Whether no formula of the definition has a transcendental function."""
    texts = [str(e.value) for v in definition.variants for e in v.layer.equations]
    return not any(f"{name}(" in text for text in texts for name in ("exp", "log"))


def _through_reference(definition: Definition, example: Example) -> Any:
    arrays = {n: None if v is None else np.array(_mapped(v, float)) for n, v in example.inputs.items()}
    result = getattr(reference, definition.function)(**arrays, **_plain(example.arguments))
    return result.tolist()


def _through_kernel(definition: Definition, example: Example) -> Any:
    from svertka.generated import functional

    tensors = {
        n: None if v is None else torch.tensor(_mapped(v, float), dtype=torch.float64)
        for n, v in example.inputs.items()
    }
    result = getattr(functional, definition.function)(**tensors, **_plain(example.arguments))
    return result.tolist()


def _plain(arguments: Any) -> dict[str, Any]:
    return {n: float(v) if isinstance(v, Fraction) else v for n, v in arguments.items()}


def _example_row(example: Example, roads: _Roads) -> Row:
    title = f"{example.title}{' (ours)' if example.ours else ''}"
    formula = AGREES if _equal(roads.exact, example.expected) else DIFFERS
    cells = (
        _within(roads.reference, example.expected, roads.bound),
        _within(roads.kernel, example.expected, roads.bound),
    )
    return Row((str(example.slide), title, _shown(example.expected), formula, *cells))


def _sum_rows(roads: _Roads) -> Iterator[Row]:
    """The sums that the slides write out: the sum of their products equals the element in each computation."""
    for worked in WORKED_SUMS:
        text = " + ".join(f"{a}*{b}" for a, b in worked.products)
        total = sum(a * b for a, b in worked.products)
        found = [road[0][0][worked.row][worked.column] for road in (roads.exact, roads.reference, roads.kernel)]
        marks = [AGREES if total == worked.result == value else DIFFERS for value in found]
        yield Row((str(worked.slide), text, str(worked.result), marks[0], marks[1], marks[2]))


def _pooling_rows(roads: _Roads) -> Iterator[Row]:
    """The pooled matrix as far as each slide has filled it in."""
    for step in POOLING_STEPS:
        marks = []
        for road in (roads.exact, roads.reference, roads.kernel):
            pairs = [
                (value, road[0][0][row][column])
                for row, values in enumerate(step.filled)
                for column, value in enumerate(values)
            ]
            marks.append(AGREES if all(value is None or value == found for value, found in pairs) else DIFFERS)
        shown = _shown(tuple(tuple("" if v is None else v for v in row) for row in step.filled))
        yield Row((str(step.slide), "windows filled in so far", shown, marks[0], marks[1], marks[2]))


def _photograph() -> Row:
    """Slide 2: from the photograph's size to the network's input size."""
    from svertka.generated import functional

    expected = f"{NETWORK_SIZE[1]} x {NETWORK_SIZE[0]}"
    photograph = np.ones((1, 1, *IMAGE_SIZE))
    shapes = (
        reference.resize(photograph, NETWORK_SIZE).shape,
        tuple(functional.resize(torch.from_numpy(photograph), NETWORK_SIZE).shape),
    )
    marks = [AGREES if shape == (1, 1, *NETWORK_SIZE) else DIFFERS for shape in shapes]
    return Row(("2", f"a photograph of {IMAGE_SIZE[1]} x {IMAGE_SIZE[0]}, resized", expected, NONE, marks[0], marks[1]))


def _errata_rows() -> Iterator[Row]:
    """Omissions and errors of the slides, each shown by a computation with the formula."""
    values = (1, 5, 1, 5)
    with_root = errata.normalised_variance(values, root=True)
    without = errata.normalised_variance(values, root=False)
    straight, turned = (errata.first_element(A, B, turned=turned) for turned in (False, True))
    checks = (
        (
            3,
            "erratum: first element with the kernel turned round is another number",
            f"{straight} and {turned}",
            straight != turned,
        ),
        (
            18,
            "identity: softmax of ln p(x|C) p(C) is the posterior",
            "identity",
            errata.softmax_of_logarithms_is_bayes(4),
        ),
        (
            18,
            "identity: softmax does not change when all scores shift",
            "identity",
            errata.softmax_is_shift_invariant(4),
        ),
        (20, "erratum: variance of the normalised batch with the square root", "1", with_root == 1),
        (20, "erratum: the same as the slide has it, without the root", str(without), without != 1),
        (21, "erratum: the border divides by the whole window too", _borders(), _borders_differ()),
    )
    for slide, what, expected, holds in checks:
        yield Row((str(slide), what, expected, AGREES if holds else DIFFERS, NONE, NONE))


def _borders() -> str:
    return ", ".join(f"{name} {_shown(errata.squares_at((1, 2, 3, 4, 5), 4, name))}" for name in errata.BORDERS)


def _borders_differ() -> bool:
    return len({errata.squares_at((1, 2, 3, 4, 5), 4, name) for name in errata.BORDERS}) == len(errata.BORDERS)


def _mapped(values: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(values, tuple | list):
        return [_mapped(value, function) for value in values]
    return function(values)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(right, tuple | list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _within(found: Any, expected: Any, bound: Any) -> str:
    return AGREES if _is_within(found, expected, bound) else DIFFERS


def _is_within(found: Any, expected: Any, bound: Any) -> bool:
    if isinstance(expected, tuple | list):
        same = len(found) == len(expected)
        return same and all(_is_within(*three) for three in zip(found, expected, bound, strict=True))
    return bool(abs(Fraction(found) - Fraction(expected)) <= Fraction(bound.error))


def _shown(values: Any) -> str:
    """A matrix in one line, rows separated by slashes."""
    if not isinstance(values, tuple | list):
        return str(values)
    if (
        values
        and isinstance(values[0], tuple | list)
        and not isinstance(values[0][0] if values[0] else 0, tuple | list)
    ):
        return " / ".join(" ".join(str(v) if v != "" else "." for v in row) for row in values)
    if values and isinstance(values[0], tuple | list):
        return "; ".join(_shown(value) for value in values)
    return " ".join(str(value) for value in values)
