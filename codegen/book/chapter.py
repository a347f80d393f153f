"""A definition's chapter: its explanation, its worked examples as figures, its gradient as figures.

Input: a ``Definition``, a generated package's folder. Output: a ``Chapter`` of ``Figure``s, ready for a template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svertka.codegen.book.example import WorkedExample, worked_examples
from svertka.codegen.book.explanation import Explanation, explain
from svertka.codegen.book.picture import Frame, Picture, picture
from svertka.codegen.book.printers import plain
from svertka.codegen.book.svg import draw
from svertka.codegen.book.worked import Worked
from svertka.spec.definition import Definition
from svertka.spec.slides import LOST, POOLING_STEPS, WORKED_SUMS, Example, Illustration, PoolingStep, WorkedSum

__all__ = ["Chapter", "Figure", "Plate", "chapter", "first_slide", "slides_of"]


@dataclass(frozen=True)
class Plate:
    """One frame of a figure: the drawing, the computation in words, and the slide that shows the same."""

    drawing: str
    words: str
    note: str


@dataclass(frozen=True)
class Figure:
    """A figure of several frames.

    Attributes:
        name: identifier within the page; ``slide``: the slide to which it belongs.
        title: what it shows; ``notes``: the source of the numbers, and what is lost.
        symbols: drawings that the frames share.
        plates: the frames, in order; ``total``: their number if none were left out.
        before: computations of intermediate tensors, which come first.
    """

    name: str
    slide: int
    title: str
    notes: tuple[str, ...]
    symbols: str
    plates: tuple[Plate, ...]
    total: int
    before: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """A definition's page.

    Attributes:
        explanation: everything about the definition.
        figures: its examples.
        gradients: figures of their gradients, by number of the example.
        thumbnail: the first figure again, under a name that is unique among all pages.
    """

    explanation: Explanation
    figures: tuple[Figure, ...]
    gradients: tuple[Figure, ...]
    thumbnail: Figure | None

    @property
    def definition(self) -> Definition:
        """The definition."""
        return self.explanation.definition

    @property
    def heading(self) -> str:
        """The definition's title as a heading, without its full stop."""
        return self.definition.title.removesuffix(".")


def slides_of(definition: Definition) -> tuple[int, ...]:
    """Numbers of the slides in a definition's source."""
    found = re.match(r"slides? (\d+)(?: (to|and) (\d+))?", definition.source)
    if not found:
        return ()
    first, last = int(found[1]), int(found[3] or found[1])
    return (first, last) if found[2] == "and" else tuple(range(first, last + 1))


def first_slide(definition: Definition) -> int:
    """A definition's position in the lecture; after the last slide if it has none."""
    return next(iter(slides_of(definition)), 1000)


def chapter(definition: Definition, package: Path) -> Chapter:
    """Compute a definition's examples and draw them."""
    explanation = explain(definition, package)
    worked = worked_examples(explanation)
    figures = tuple(_forward(one, f"example-{number}") for number, one in enumerate(worked, 1))
    gradients = tuple(figure for number, one in enumerate(worked, 1) for figure in _backward(one, number))
    thumbnail = _forward(worked[0], definition.name) if worked else None
    return Chapter(explanation, figures, gradients, thumbnail)


def _forward(one: WorkedExample, name: str) -> Figure:
    example = one.example
    notes = ["The numbers are ours."]
    if example.slide:
        notes = [f"To slide {example.slide}; the numbers are ours." if example.ours else f"Slide {example.slide}."]
    if example.slide in LOST:
        notes.append(f"The slide's own figure is lost ({LOST[example.slide]}); this one stands in its place.")
    return _figure(one, one.forward, one.result, name, _capital(example.title), notes)


def _backward(one: WorkedExample, number: int) -> list[Figure]:
    return [
        _figure(one, one.backward, name, f"gradient-{number}-{place}", f"{name}: {one.example.title}", ())
        for place, name in enumerate(one.gradients, 1)
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _figure(one: WorkedExample, worked: Worked, result: str, name: str, title: str, notes: Sequence[str]) -> Figure:
    found = picture(worked, result, one.call.shape)
    drawing = draw(found, name)
    plates = tuple(
        Plate(svg, plain(frame.step.written), _repeats(frame, found, worked, one.example) if notes else "")
        for svg, frame in zip(drawing.frames, found.frames, strict=True)
    )
    before = tuple(plain(step.written) for step in found.before)
    return Figure(name, one.example.slide, title, tuple(notes), drawing.symbols, plates, found.total, before)


def _repeats(frame: Frame, found: Picture, worked: Worked, example: Example | Illustration) -> str:
    """The slide that shows this step, if there is one."""
    if example.ours:
        return ""
    slides = [str(one.slide) for one in WORKED_SUMS if _is_sum(one, frame, worked)]
    slides += [str(one.slide) for one in POOLING_STEPS if _is_filled(one, frame, found)]
    return f"as worked out on slide {', '.join(slides)}" if slides else ""


def _is_sum(worked_sum: WorkedSum, frame: Frame, worked: Worked) -> bool:
    """Whether a step has the slide's products in the slide's order, at the slide's position."""
    values = [worked.values[name][place] for name, place in frame.step.reads]
    pairs = tuple(zip(values[::2], values[1::2], strict=False))
    place = frame.here[1][-2:] == (worked_sum.row, worked_sum.column)
    return place and pairs == worked_sum.products and frame.step.value == worked_sum.result


def _is_filled(step: PoolingStep, frame: Frame, found: Picture) -> bool:
    """Whether the result is filled in exactly as far as on the slide, with the same numbers."""
    shown = [value for row in step.filled for value in row]
    values = [other.step.value for other in found.frames]
    so_far = [value if number < frame.filled else None for number, value in enumerate(values)]
    return found.total == len(shown) and so_far == shown
