"""Figures of the book: highlighted cells are the formula's reads, and the numbers are at the right positions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from sympy import Integer

from svertka.codegen.book.chapter import Figure
from svertka.codegen.book.example import worked_examples
from svertka.codegen.book.explanation import explain
from svertka.codegen.book.picture import picture
from svertka.codegen.book.printers import plain
from svertka.codegen.book.svg import cell_text
from svertka.codegen.book.worked import Worked, work
from svertka.codegen.driver.generate import PACKAGE
from svertka.codegen.frontend.formula_file import definitions_of
from svertka.spec import ArgMax, Equation, Layer, Sum, Tensor, axes, axis, evaluate
from svertka.spec import Rational as Exact
from svertka.spec.arithmetic import Float
from svertka.spec.evaluate import Array
from svertka.spec.layers import DEFINITIONS
from svertka.spec.rewrite import substitute

from .chapters import chapter_of, words_of, worked

# Figures ----------------------------------------------------------------------------------------------------------


class Watched(list[Any]):
    """Values that record which of them are read."""

    def __init__(self, values: list[Any], taken: set[tuple[str, int]], name: str) -> None:
        super().__init__(values)
        self.taken, self.name = taken, name

    def __getitem__(self, place: Any) -> Any:
        self.taken.add((self.name, place))
        return super().__getitem__(place)


def read_by_the_evaluator(one: Worked, tensor: str) -> Iterator[set[tuple[str, tuple[int, ...]]]]:
    """For each element, the reads of ``spec.evaluate`` when it computes this element alone."""
    equation = next(e for e in one.layer.equations if e.target.name == tensor)
    arithmetic = Exact() if one.exact else Float()
    known = {t.name: t for t in one.layer.tensors.values() if t.name in one.values and t.name != tensor}
    absent = tuple(t for t in one.layer.inputs if t.name not in one.values)
    for place in product(*map(range, one.values[tensor].shape)):
        here = {index: Integer(p) for index, p in zip(equation.target.axes, place, strict=True)}
        alone = Equation(Tensor("alone", kind=equation.target.kind), substitute(equation.value, here))
        layer = Layer("alone", (*known.values(), *absent), (alone,), ("alone",))
        taken: set[tuple[str, int]] = set()
        arrays = {
            name: Array(one.values[name].shape, Watched(list(one.values[name].values), taken, name)) for name in known
        }
        evaluate(layer, arrays, one.sizes, arithmetic)
        yield {(name, unravelled(offset, one.values[name].shape)) for name, offset in taken}


def unravelled(offset: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    found: deque[int] = deque()
    for extent in reversed(shape):
        offset, index = divmod(offset, extent)
        found.appendleft(index)
    return tuple(found)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_windows_are_what_the_evaluator_reads(name: str) -> None:
    """Forward and backward, for every element of every example."""
    assert worked(name)
    for one in worked(name):
        for layer, tensor in ((one.forward, one.result), *((one.backward, g) for g in one.gradients)):
            steps = layer.steps(tensor)
            for step, reads in zip(steps, read_by_the_evaluator(layer, tensor), strict=True):
                assert set(step.reads) == reads
                for tensor_outside, place in step.outside:
                    shape = layer.values[tensor_outside].shape
                    assert not all(0 <= i < extent for i, extent in zip(place, shape, strict=True))


def test_a_window_moves_by_the_stride_and_reaches_into_the_padding() -> None:
    """The position on slide 7: stride 2, padding 1, a window of 2."""
    one = next(w for w in worked("convolution_2d") if w.example.arguments == {"stride": 2, "padding": 1})
    found = picture(one.forward, one.result, one.call.shape)
    for frame, (p, q) in zip(found.frames, product(range(2), range(2)), strict=True):
        window = {(0, 0, 2 * p - 1 + r, 2 * q - 1 + s) for r, s in product(range(2), range(2))}
        shown = {place for name, place in frame.read | frame.outside if name == "input"}
        assert shown == window
        assert {place for name, place in frame.outside} == {w for w in window if min(w) < 0}
    image = next(block for block in found.blocks if block.name == "input")
    assert image.margin == (1, 0, 0, 1)


def test_origins_reach_through_other_tensors() -> None:
    """An element of a normalised batch depends on the whole batch, through mean and variance."""
    (one,) = worked("batch_normalization")
    (first, *_) = one.forward.steps(one.result)
    through = {place for name, place in one.forward.origins(first) if name == "input"}
    assert through == {(n, 0, 0) for n in (1, 2, 3)}  # its own element is a direct read


def numbers_under_marks(figure: Figure, plate: int, kind: str) -> list[str]:
    """The numbers in the middle of the cells that a frame marks, in drawing coordinates."""
    frame = re.sub(r"<use[^>]*/>", "", figure.plates[plate].drawing)
    texts = [n for text in (figure.symbols, frame) for n in ElementTree.fromstring(text).iter() if n.tag == "text"]
    at = {(int(n.get("x", 0)), int(n.get("y", 0))): n.text or "" for n in texts if n.get("class") != "label"}
    marks = [n for n in ElementTree.fromstring(frame).iter("rect") if n.get("class") == f"mark {kind}"]
    places = [(int(n.get("x", 0)), int(n.get("y", 0)), int(n.get("width", 0))) for n in marks]
    return sorted(at[x + size // 2, y + size // 2 + 5] for x, y, size in places)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_marks_lie_on_the_numbers_that_are_read(name: str) -> None:
    """In the drawing itself, the marked cells contain the values that the step reads and the one it computes."""
    for one, figure in zip(worked(name), chapter_of(name).figures, strict=True):
        found = picture(one.forward, one.result, one.call.shape)
        drawn = {block.name: block for block in found.blocks}
        for place, frame in enumerate(found.frames):
            read = [drawn[t].values[spot] for t, spot in frame.read if t in drawn]
            assert numbers_under_marks(figure, place, "read") == sorted(cell_text(value) for value in read)
            assert numbers_under_marks(figure, place, "here") == [cell_text(frame.step.value)]
            outside = re.findall('class="mark beyond"', figure.plates[place].drawing)
            assert len(outside) == len([spot for t, spot in frame.outside if t in drawn])


def test_rounded_numbers_are_not_called_equal() -> None:
    words = words_of(chapter_of("softmax").figures[0])
    assert all("≈" in one and "= 0." not in one for one in words)


def test_long_sums_are_cut_in_the_middle() -> None:
    i = axis("i")
    x, total = Tensor("x", i), Tensor("total")
    layer = Layer("long", (x,), (Equation(total, Sum(x[i], i)),), ("total",))
    (step,) = work(layer, {"x": Array((40,), list(range(40)))}, {}).steps("total")
    assert plain(step.written) == "total = 0 + 1 + 2 + 3 + 4 + 5 + … + 39 = 780"
    assert len(step.reads) == 40


def test_padding_counts_in_a_position_and_never_wins() -> None:
    q, s, w = axes("q s w")
    x, place = Tensor("x", w), Tensor("place", q, kind="integer")
    layer = Layer("first", (x,), (Equation(place, ArgMax(x[q + s - 1], s)),), ("place",))
    steps = work(layer, {"x": Array((2,), [-3, -5])}, {"Q": 3, "S": 2}).steps("place")
    assert [plain(step.written) for step in steps] == [
        "place[0] = argmax(−∞, −3) = 1",
        "place[1] = argmax(−3, −5) = 0",
        "place[2] = argmax(−5, −∞) = 0",
    ]


# Users' formulas ---------------------------------------------------------------------------------------------------

OWN = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.thinned(4)
@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_formulas_without_examples_have_figures_of_small_numbers(file: Path) -> None:
    """Few steps, finite numbers, and windows that agree with the evaluator's reads, forward and backward."""
    for definition in definitions_of(file):
        (one,) = worked_examples(explain(definition, PACKAGE))
        assert len(one.forward.steps(one.result)) <= 24
        for layer, tensor in ((one.forward, one.result), *((one.backward, g) for g in one.gradients)):
            steps = layer.steps(tensor)
            assert all(isfinite(step.value) for step in steps)
            for step, reads in zip(steps, read_by_the_evaluator(layer, tensor), strict=True):
                assert set(step.reads) == reads
        assert one.gradients


@pytest.mark.slow
def test_the_book_of_a_file(tmp_path: Path) -> None:
    file = next(file for file in OWN if file.stem == "losses")
    names = [definition.name for definition in definitions_of(file)]
    command = [sys.executable, "-m", "svertka.codegen", "book", str(file), "--into", str(tmp_path / "book")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    index = (tmp_path / "book" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'class="card" href="layers/(\w+)\.html"', index) == names
    page = (tmp_path / "book" / "layers" / f"{names[0]}.html").read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(page)
    assert "svertka generate FILE.py --into DIR" in page
    assert "The numbers are ours." in page
