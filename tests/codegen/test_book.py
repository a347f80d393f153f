"""``svertka book``: pages that stand alone, figures that show what the formula reads, numbers that are the slides'."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from sympy import Integer

from svertka.codegen.book.chapter import Chapter, Figure, chapter
from svertka.codegen.book.example import WorkedExample, examples_of, worked_example
from svertka.codegen.book.explanation import Explanation, explain
from svertka.codegen.book.picture import picture
from svertka.codegen.book.printers import plain
from svertka.codegen.book.site import pages
from svertka.codegen.book.svg import cell_text
from svertka.codegen.book.typeset import number_of
from svertka.codegen.book.worked import Worked, work
from svertka.codegen.generate import PACKAGE
from svertka.spec import ArgMax, Equation, Layer, Sum, Tensor, axes, axis, evaluate
from svertka.spec import Rational as Exact
from svertka.spec.arithmetic import Float
from svertka.spec.evaluate import Array
from svertka.spec.layers import DEFINITIONS
from svertka.spec.rewrite import substitute
from svertka.spec.slides import EXAMPLES, ILLUSTRATIONS, LOST, POOLING_STEPS, WORKED_SUMS, PoolingStep, WorkedSum


@cache
def book() -> dict[str, str]:
    return pages(DEFINITIONS.values(), PACKAGE)


@cache
def explanation(name: str) -> Explanation:
    return explain(DEFINITIONS[name], PACKAGE)


@cache
def chapter_of(name: str) -> Chapter:
    return chapter(DEFINITIONS[name], PACKAGE)


@cache
def worked(name: str) -> tuple[WorkedExample, ...]:
    return tuple(worked_example(example, explanation(name)) for example in examples_of(name))


PAGES = ["index.html", "notation.html", "errata.html", "proofs.html", *(f"layers/{name}.html" for name in DEFINITIONS)]


# The pages --------------------------------------------------------------------------------------------------------


def test_there_is_a_page_a_layer_in_the_lectures_order() -> None:
    assert set(book()) == set(PAGES)
    linked = re.findall(r'class="card" href="layers/(\w+)\.html"', book()["index.html"])
    assert sorted(linked) == sorted(DEFINITIONS)
    first = [int(re.search(r"slides? (\d+)", DEFINITIONS[name].source)[1]) for name in linked]  # type: ignore[index]
    assert first == sorted(first)


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_valid(path: str) -> None:
    """A strict parser finds no error; names are given once."""
    html5lib.HTMLParser(strict=True).parse(book()[path])
    names = re.findall(r'\bid="([^"]*)"', book()[path])
    assert len(names) == len(set(names))


ARGUMENTS = {"mfrac": 2, "msup": 2, "msub": 2, "munder": 2, "msqrt": 1}
MATHML = {*ARGUMENTS, "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mtable", "mtr", "mtd"}


@pytest.mark.parametrize("path", PAGES)
def test_formulas_and_drawings_are_well_formed(path: str) -> None:
    """MathML with the elements of browsers alone, each with as many parts as it needs; SVG that is XML."""
    found = re.findall(r"<math.*?</math>", book()[path], re.DOTALL)
    for text in found:
        for node in ElementTree.fromstring(text.replace("&nbsp;", " ")).iter():
            assert node.tag in MATHML
            assert len(node) == ARGUMENTS.get(node.tag, len(node)), text
    drawings = re.findall(r"<svg.*?</svg>", book()[path], re.DOTALL)
    for text in drawings:
        ElementTree.fromstring(text)
    if path.startswith("layers/"):
        assert found
        assert drawings


@pytest.mark.parametrize("path", PAGES)
def test_pages_need_no_network(path: str) -> None:
    """Nothing is fetched from elsewhere, and every link leads to a page and a place that are there."""
    text = book()[path]
    assert not re.search(r"@import|url\(|<(?:link|img|iframe|object|embed)\b", text)
    targets = re.findall(r'\b(?:href|src|srcset|action|data)="([^"]*)"', text)
    assert targets
    for target in targets:
        assert not re.match(r"\w+:|//", target), target
        file, _, place = target.partition("#")
        page = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        assert page in book(), target
        assert not place or f'id="{place}"' in book()[page], target


def test_pages_say_when_nothing_is_proven(tmp_path: Path) -> None:
    """Without kernels and certificates there is no number of elements on any page."""
    found = pages([DEFINITIONS["relu"]], tmp_path)
    for path in ("layers/relu.html", "proofs.html"):
        assert "there is no kernels/relu.py; run `svertka generate relu`" in found[path]
        assert not re.search(r"\d elements in|, certain<", found[path])
    assert "elements in" in book()["layers/relu.html"]


# The lecture's numbers --------------------------------------------------------------------------------------------


def words_of(figure: Figure) -> list[str]:
    return [plate.words for plate in figure.plates]


def own_figure(slide: int) -> Figure:
    """The figure of an example whose numbers are the slide's own."""
    example = next(e for e in EXAMPLES if e.slide == slide and not e.ours)
    place = examples_of(example.definition).index(example)
    return chapter_of(example.definition).figures[place]


def written(number: int) -> str:
    return f"(−{-number})" if number < 0 else str(number)


@pytest.mark.parametrize("one", WORKED_SUMS, ids=str)
def test_every_sum_that_a_slide_writes_out_stands_in_the_book(one: WorkedSum) -> None:
    products = " + ".join(f"{written(a)}·{written(b)}" for a, b in one.products)
    text = f"= {products} = {written(one.result).strip('()')}"
    plates = [p for p in own_figure(3).plates if p.note == f"as worked out on slide {one.slide}"]
    assert len(plates) == 1
    assert plates[0].words.endswith(text)
    assert text in unescape(book()["layers/convolution_2d.html"])


@pytest.mark.parametrize("step", POOLING_STEPS[1:], ids=str)
def test_every_matrix_that_a_slide_fills_in_stands_in_the_book(step: PoolingStep) -> None:
    figure = own_figure(16)
    (place,) = [n for n, plate in enumerate(figure.plates) if plate.note == f"as worked out on slide {step.slide}"]
    filled = [value for row in step.filled for value in row if value is not None]
    assert place + 1 == len(filled)
    assert [int(words.rpartition("= ")[2]) for words in words_of(figure)[: place + 1]] == filled
    result = figure.plates[place].drawing.rpartition("<use")[2]
    assert [int(number) for number in re.findall(r">(\d+)</text>", result)] == filled


def flat(values: Any) -> list[Any]:
    return [v for part in values for v in flat(part)] if isinstance(values, tuple) else [values]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.slide}-{e.definition}-{e.title}")
def test_every_example_comes_out_step_by_step(example: Any) -> None:
    figure = chapter_of(example.definition).figures[examples_of(example.definition).index(example)]
    expected = [plain(number_of(value)) for value in flat(example.expected)]
    assert figure.total == len(expected) == len(figure.plates)
    assert [re.split("[=≈] ", words)[-1] for words in words_of(figure)] == expected
    assert bool(example.ours) == any("are ours" in note for note in figure.notes)
    assert (example.slide in LOST) == any("is lost" in note for note in figure.notes)


def test_every_lost_figure_is_named() -> None:
    for slide, what in LOST.items():
        assert what in unescape(book()["index.html"]), slide


def test_every_layer_has_a_figure() -> None:
    assert {one.definition for one in (*EXAMPLES, *ILLUSTRATIONS)} == set(DEFINITIONS)
    for name in DEFINITIONS:
        assert all(figure.plates for figure in chapter_of(name).figures)


SIMPLE = re.compile(r"= ([^=≈]*[+·/(][^=≈]*) = ([^=≈]*)$")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_what_is_written_out_adds_up(name: str) -> None:
    """The text itself, read as arithmetic, has the value behind its last sign of equality."""
    found = 0
    for figure in (*chapter_of(name).figures, *chapter_of(name).gradients):
        for words in (*words_of(figure), *figure.before):
            match = SIMPLE.search(words)
            if match and "…" not in words and not re.search(r"exp|log|√|\^", words):
                found += 1
                assert arithmetic(match[1]) == arithmetic(match[2]), words
    transcendental = {"softmax", "log_softmax", "cross_entropy"}
    assert found or name in transcendental | {"center_crop"}


def arithmetic(text: str) -> Fraction:
    text = text.replace("·", "*").replace("−", "-").replace("²", "**2")
    known = {"Fraction": Fraction, "max": max, "argmax": lambda *values: values.index(max(values))}
    return Fraction(eval(re.sub(r"(\d+)", r"Fraction(\1)", text), known))


# Figures ----------------------------------------------------------------------------------------------------------


class Watched(list[Any]):
    """Values that note which of them are taken."""

    def __init__(self, values: list[Any], taken: set[tuple[str, int]], name: str) -> None:
        super().__init__(values)
        self.taken, self.name = taken, name

    def __getitem__(self, place: Any) -> Any:
        self.taken.add((self.name, place))
        return super().__getitem__(place)


def read_by_the_evaluator(one: Worked, tensor: str) -> Iterator[set[tuple[str, tuple[int, ...]]]]:
    """For each element, what ``spec.evaluate`` takes when it computes this element alone."""
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
    """Slide 7's place: stride 2, padding 1, a window of 2."""
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
    assert through == {(n, 0, 0) for n in (1, 2, 3)}  # its own element it reads itself


def numbers_under_marks(figure: Figure, plate: int, kind: str) -> list[str]:
    """The numbers in the middle of cells that a frame marks, wherever they are drawn."""
    frame = re.sub(r"<use[^>]*/>", "", figure.plates[plate].drawing)
    texts = [n for text in (figure.symbols, frame) for n in ElementTree.fromstring(text).iter() if n.tag == "text"]
    at = {(int(n.get("x", 0)), int(n.get("y", 0))): n.text or "" for n in texts if n.get("class") != "label"}
    marks = [n for n in ElementTree.fromstring(frame).iter("rect") if n.get("class") == f"mark {kind}"]
    places = [(int(n.get("x", 0)), int(n.get("y", 0)), int(n.get("width", 0))) for n in marks]
    return sorted(at[x + size // 2, y + size // 2 + 5] for x, y, size in places)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_marks_lie_on_the_numbers_that_are_read(name: str) -> None:
    """In the drawing itself: under the marks stand the values that the step reads and the one it computes."""
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


# The command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["0", "1"])
def test_same_input_same_bytes(seed: str, tmp_path: Path) -> None:
    """Whatever the hash seed, the command writes the same pages."""
    command = [sys.executable, "-m", "svertka.codegen", "book", "--into", str(tmp_path / "book")]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    written = {str(p.relative_to(tmp_path / "book")) for p in (tmp_path / "book").rglob("*.html")}
    assert written == set(book())
    for path, text in book().items():
        assert (tmp_path / "book" / path).read_text(encoding="utf-8") == text, path


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    command = [sys.executable, "-m", "svertka.codegen", "book", "--into", str(file)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "name a folder" in refused.stderr
