"""``svertka book``: self-contained pages, figures that show the formula's reads, and the slides' numbers."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from fractions import Fraction
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest

from svertka.codegen.book.architecture import architectures
from svertka.codegen.book.chapter import Figure
from svertka.codegen.book.example import examples_of
from svertka.codegen.book.printers import plain
from svertka.codegen.book.site import pages
from svertka.codegen.book.typeset import number_of
from svertka.codegen.driver.generate import PACKAGE
from svertka.networks import NETWORKS
from svertka.networks.summary import summarize
from svertka.spec import Equation, Layer, Tensor, axis, define
from svertka.spec.layers import DEFINITIONS
from svertka.spec.slides import (
    EXAMPLES,
    ILLUSTRATIONS,
    IMAGE_SIZE,
    LOST,
    POOLING_STEPS,
    WORKED_SUMS,
    PoolingStep,
    WorkedSum,
)

from .chapters import chapter_of, words_of


@cache
def book() -> dict[str, str]:
    return pages(DEFINITIONS.values(), PACKAGE)


COMMON = ["index.html", "notation.html", "networks.html", "errata.html", "proofs.html"]
PAGES = [*COMMON, *(f"layers/{name}.html" for name in DEFINITIONS)]


# The pages --------------------------------------------------------------------------------------------------------


def test_there_is_a_page_a_layer_in_the_lectures_order() -> None:
    assert set(book()) == set(PAGES)
    linked = re.findall(r'class="card" href="layers/(\w+)\.html"', book()["index.html"])
    assert sorted(linked) == sorted(DEFINITIONS)
    slides, _, joined = book()["index.html"].partition("Layers computed together")
    first = [int(number) for number in re.findall(r">Slides? (\d+)", slides)]
    assert first == sorted(set(first))
    assert first[0] == 1
    fused = {name for name, definition in DEFINITIONS.items() if " and " in definition.source.split(";")[0]}
    assert fused <= set(re.findall(r'class="card" href="layers/(\w+)\.html"', joined))


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_valid(path: str) -> None:
    """A strict parser finds no error; identifiers are unique."""
    html5lib.HTMLParser(strict=True).parse(book()[path])
    names = re.findall(r'\bid="([^"]*)"', book()[path])
    assert len(names) == len(set(names))


ARGUMENTS = {"mfrac": 2, "msup": 2, "msub": 2, "munder": 2, "msqrt": 1}
MATHML = {*ARGUMENTS, "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mtable", "mtr", "mtd"}


@pytest.mark.parametrize("path", PAGES)
def test_formulas_and_drawings_are_well_formed(path: str) -> None:
    """MathML only with elements that browsers know, each with the right number of parts; SVG that is XML."""
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
    """Nothing is loaded from elsewhere, and every link leads to an existing page and anchor."""
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
    """Without kernels and certificates no page states a number of proven elements."""
    found = pages([DEFINITIONS["relu"]], tmp_path)
    for path in ("layers/relu.html", "proofs.html"):
        assert "there is no kernels/relu.py; run `svertka generate relu`" in found[path]
        assert not re.search(r"\d elements in|, certain<", found[path])
    assert "elements in" in book()["layers/relu.html"]


def test_every_network_is_drawn_and_told_in_numbers() -> None:
    """One drawing each, one row per layer, and the totals of the summary."""
    page = book()["networks.html"]
    shown = architectures()
    assert [one.name for one in shown] == list(NETWORKS)
    for one, (name, constructor) in zip(shown, NETWORKS.items(), strict=True):
        channels = inspect.signature(constructor).parameters["channels"].default
        _, _, section = page.partition(f'id="{name}"')
        section = section.partition("</section>")[0]
        assert section.count("<svg") == section.count(one.drawing.strip()) == 1
        known = summarize(constructor(), (1, channels, *IMAGE_SIZE))
        assert section.count("<tr>") == 1 + len(known.layers) + 1
        total = re.findall(r"<td[^>]*>([^<]*)</td>", section.rpartition("<tr>")[2])
        assert total == ["", "", f"{known.parameters:,}", f"{known.multiply_adds:,}", ""]
        assert f'href="networks.html#{name}"' in book()["index.html"]
    assert "60,965,224" in page  # the published number of parameters


def test_a_book_of_other_layers_does_not_speak_of_the_lecture(tmp_path: Path) -> None:
    """No slides, errata, networks, and no link to them, also if a layer has the name of one of the lecture."""
    i = axis("i", many=True)
    x, y = Tensor("values", i), Tensor("squares", i)
    found = pages([define(Layer("relu", (x,), (Equation(y, x[i] ** 2),), ("squares",)))], tmp_path)
    assert set(found) == {"index.html", "notation.html", "proofs.html", "layers/relu.html"}
    assert "<h2" in found["index.html"]
    for text in found.values():
        shown = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"\b[Ss]lides?\b|[Ll]ecture|errata\.html|networks\.html", shown)


# The lecture's numbers --------------------------------------------------------------------------------------------


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
    """The lecture's have its numbers, the others small ones."""
    lecture = {name for name, definition in DEFINITIONS.items() if definition.reference}
    assert {one.definition for one in (*EXAMPLES, *ILLUSTRATIONS)} >= lecture
    for name in DEFINITIONS:
        figures = chapter_of(name).figures
        assert figures, name
        assert all(figure.plates for figure in figures), name


UNREADABLE = r"exp|log|sqrt|tanh|erf|√|\^|\*\*|Abs|\|"
"""Functions whose values are no fractions."""
SIMPLE = re.compile(r"= ([^=≈]*[+·/(][^=≈]*) = ([^=≈]*)$")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_what_is_written_out_adds_up(name: str) -> None:
    """The text itself, read as arithmetic, equals the value after its last equals sign."""
    found = 0
    for figure in (*chapter_of(name).figures, *chapter_of(name).gradients):
        for words in (*words_of(figure), *figure.before):
            match = SIMPLE.search(words)
            if match and "…" not in words and not re.search(UNREADABLE, words):
                found += 1
                assert arithmetic(match[1]) == arithmetic(match[2]), words
    formulas = [str(e.value) for v in DEFINITIONS[name].variants for e in v.layer.equations]
    # A copy has nothing to add up, and the figure of a maximum over many elements leaves most of them out.
    copies_or_long = {"center_crop", "adaptive_max_pooling_2d", "adaptive_max_pooling_3d"}
    copies_or_long |= {"nearest_interpolation_2d", "nearest_interpolation_3d"}
    assert found or name in copies_or_long or any(re.search(UNREADABLE, text) for text in formulas), name


def arithmetic(text: str) -> Fraction:
    text = text.replace("·", "*").replace("−", "-").replace("²", "**2")
    known = {"Fraction": Fraction, "max": max, "argmax": lambda *values: values.index(max(values))}
    return Fraction(eval(re.sub(r"(\d+)", r"Fraction(\1)", text), known))


# The command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1"])
def test_same_input_same_bytes(seed: str, tmp_path: Path) -> None:
    """For every hash seed, the command writes the same pages."""
    command = [sys.executable, "-m", "svertka.codegen", "book", "--into", str(tmp_path / "book")]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    written = {str(p.relative_to(tmp_path / "book")) for p in (tmp_path / "book").rglob("*.html")}
    assert written == set(book())
    for path, text in book().items():
        assert (tmp_path / "book" / path).read_text(encoding="utf-8") == text, path


@pytest.mark.parametrize(
    ("option", "path", "words"), [("--into", "file", "name a folder"), ("--package", "nowhere", "no such folder")]
)
def test_wrong_folders_are_refused_before_any_work(option: str, path: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "svertka.codegen", "book", option, str(tmp_path / path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
