"""The book as static pages: no network, only its own scripts, the same bytes every time.

Input: ``Definition``s, a generated package's folder. Output: text by path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from inspect import getdoc, getmodule
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from svertka.codegen.book import printers
from svertka.codegen.book.architecture import COLUMNS, architectures
from svertka.codegen.book.chapter import Chapter, chapter, first_slide, slides_of
from svertka.codegen.book.primer import primer
from svertka.codegen.book.tree import Tree
from svertka.codegen.book.typeset import element_of
from svertka.codegen.book.wrong import shown_errata
from svertka.codegen.ptx.level import check as compiled
from svertka.codegen.ptx.targets import NAME
from svertka.codegen.verify.levels import LEVELS
from svertka.spec.definition import Definition
from svertka.spec.slides import IMAGE_SIZE, LOST, REMARKS

__all__ = ["Part", "pages", "write_pages"]

SLIDES = 21


@dataclass(frozen=True)
class Part:
    """Neighbouring slides on one subject: their chapters, what is lost of them, and their remarks."""

    heading: str
    slides: tuple[int, ...]
    chapters: tuple[Chapter, ...]
    lost: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


def pages(
    definitions: Iterable[Definition], package: Path, progress: Callable[[str], None] = lambda name: None
) -> dict[str, str]:
    """All pages by path; pages about the lecture itself only if one of the layers is the lecture's.

    Args:
        definitions: the layers, in any order; the pages have the lecture's order.
        package: folder of the generated package, for the certificates.
        progress: called with each definition's name when its page is done.
    """
    ordered = sorted(definitions, key=first_slide)
    chapters = []
    for definition in ordered:
        chapters.append(chapter(definition, package))
        progress(definition.name)
    lecture = any(slides_of(one.definition) for one in chapters)
    common: dict[str, Any] = {"chapters": chapters, "levels": _levels()}
    common |= {"errata": shown_errata(), "networks": architectures()} if lecture else {"errata": (), "networks": ()}
    found = {"index.html": _page("index", ".", parts=_parts(chapters), **common)}
    for place, one in enumerate(chapters):
        around = {
            "wrong": [e for e in common["errata"] if e.erratum.slide in slides_of(one.definition)],
            "previous": chapters[place - 1] if place else None,
            "next": (*chapters[place + 1 :], None)[0],
        }
        found[f"layers/{one.definition.name}.html"] = _page("layer", "..", chapter=one, **around, **common)
    found["notation.html"] = _page("notation", ".", primer=primer(), **common)
    if lecture:
        found["networks.html"] = _page("networks", ".", columns=COLUMNS, image=IMAGE_SIZE, **common)
        found["errata.html"] = _page("errata", ".", **common)
    found["proofs.html"] = _page("proofs", ".", **common)
    return found


def write_pages(found: dict[str, str], folder: Path) -> None:
    """Write pages into a folder; other files in it are kept."""
    for path, text in found.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _parts(chapters: Sequence[Chapter]) -> tuple[Part, ...]:
    """The lecture's slides by subject; then layers that combine several subjects, and those without a slide."""
    sources = {slides_of(c.definition) for c in chapters}
    single = [c for c in chapters if slides_of(c.definition) and not _joins(slides_of(c.definition), sources)]
    numbers = range(1, SLIDES + 1 if any(sources) else 1)
    of_slide = [[c for c in single if number in slides_of(c.definition)] for number in numbers]
    found = []
    for names, group in groupby(enumerate(of_slide, 1), key=lambda pair: [c.definition.name for c in pair[1]]):
        slides = tuple(number for number, _ in group)
        missing = groupby((n for n in slides if n in LOST), key=lambda number: LOST[number])
        lost = tuple((_slides(list(which)), what) for what, which in missing)
        remarks = tuple(REMARKS[number] for number in slides if number in REMARKS)
        of_these = tuple(c for c in chapters if c.definition.name in names)
        found.append(Part(_slides(slides).capitalize(), slides, of_these, lost, remarks))
    joined = tuple(c for c in chapters if slides_of(c.definition) and c not in single)
    others = tuple(c for c in chapters if not slides_of(c.definition))
    more = (("Layers computed together", joined), ("Other layers" if any(sources) else "Layers", others))
    return (*found, *(Part(heading, (), which, (), ()) for heading, which in more if which))


def _joins(own: tuple[int, ...], sources: Iterable[tuple[int, ...]]) -> bool:
    """Whether a definition's slides include more than those of another that shares some."""
    return any(set(own) & set(other) and not set(own) <= set(other) for other in sources)


def _slides(numbers: Sequence[int]) -> str:
    """Neighbouring slides in words."""
    first, last = numbers[0], numbers[-1]
    return f"slide {first}" if first == last else f"slides {first} to {last}"


def _levels() -> dict[str, str]:
    """What each level shows, from the docstring of its module."""
    found = {}
    for name, check in {**LEVELS, NAME: compiled}.items():
        text = getdoc(getmodule(check)) or ""
        found[name] = " ".join(text.partition("\n\n")[0].split()).partition(": ")[2]
    return found


def _page(template: str, root: str, **content: Any) -> str:
    return _environment().get_template(f"{template}.html.jinja").render(root=root, **content)


def _math(tree: Tree, display: bool = True) -> Markup:
    """A formula as MathML, with its LaTeX beside it to copy."""
    if display:
        return Markup(f'<math display="block">{printers.mathml_equation(tree)}</math>')
    return Markup(f"<math>{printers.mathml(tree)}</math>")


@cache
def _environment() -> jinja2.Environment:
    """The book's own Jinja environment: text is escaped, an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("svertka.codegen.book", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    folder = files("svertka.codegen.book") / "templates"
    environment.globals |= {
        "style": Markup((folder / "book.css").read_text(encoding="utf-8")),
        "script": Markup((folder / "book.js").read_text(encoding="utf-8")),
        "element_of": element_of,
    }
    environment.filters |= {"math": _math, "latex": printers.latex, "plain": printers.plain, "svg": Markup}
    return environment
