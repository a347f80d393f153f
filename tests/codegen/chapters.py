"""Chapters of the book, computed once for all tests."""

from __future__ import annotations

from functools import cache

from svertka.codegen.book.chapter import Chapter, Figure, chapter
from svertka.codegen.book.example import WorkedExample, worked_examples
from svertka.codegen.book.explanation import Explanation, explain
from svertka.codegen.driver.generate import PACKAGE
from svertka.spec.layers import DEFINITIONS

__all__ = ["chapter_of", "explanation", "words_of", "worked"]


@cache
def explanation(name: str) -> Explanation:
    return explain(DEFINITIONS[name], PACKAGE)


@cache
def chapter_of(name: str) -> Chapter:
    return chapter(DEFINITIONS[name], PACKAGE)


@cache
def worked(name: str) -> tuple[WorkedExample, ...]:
    return tuple(worked_examples(explanation(name)))


def words_of(figure: Figure) -> list[str]:
    return [plate.words for plate in figure.plates]
