"""ASCII spellings of letters that the terminal cannot write.

Formulas are printed with mathematical letters. If standard output has another encoding than UTF-8 (``LC_ALL=C``, a
Windows console with another alphabet, a pipe), each letter that the encoding does not have is spelled in ASCII:
``alpha`` for the Greek letter, ``sum`` for the sum sign, ``<=`` for the relation sign.
"""

from __future__ import annotations

import codecs
import io
import unicodedata
from itertools import groupby
from typing import TextIO

__all__ = ["spell_what_cannot_be_written", "spelled"]

HANDLER = "svertka.spelled"
SPELLED = {
    "·": "*",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "′": "'",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "∈": "in",
    "∉": "not in",
    "∧": "and",
    "∨": "or",
    "¬": "not ",
    "∞": "inf",
    "∂": "d",
    "∇": "grad",
    "∑": "sum",
    "Σ": "sum",
    "∏": "product",
    "√": "sqrt ",
    "→": "->",
    "←": "<-",
    "↦": "->",
    "⌊": "floor(",
    "⌋": ")",
    "⌈": "ceil(",
    "⌉": ")",
    "¯": "_bar",
    "̄": "_bar",
    "̂": "_hat",
    "̃": "_tilde",
    "│": "|",
    "─": "-",
    "╌": "-",
    "━": "-",
}
GREEK = ("GREEK SMALL LETTER ", "GREEK CAPITAL LETTER ")
UNKNOWN = "?"


def spelled(letter: str) -> str:
    """A letter in ASCII: by the table, by its Greek name, or by its decomposition."""
    if letter in SPELLED:
        return SPELLED[letter]
    name = unicodedata.name(letter, "")
    for lead in GREEK:
        if name.startswith(lead):
            word = name.removeprefix(lead).split()[0].lower()
            return word.capitalize() if "CAPITAL" in lead else word
    parts = unicodedata.normalize("NFKD", letter)
    if parts == letter:
        return letter if letter.isascii() else UNKNOWN
    return "".join(map(spelled, parts))


def _spell(error: UnicodeError) -> tuple[str, int]:
    """The error handler that ``codecs`` calls for letters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, found = error.object[error.start : error.end], ""
    for raised, letters in groupby(text, _is_raised):
        found += ("^" if raised else "") + "".join(map(spelled, letters))
    return found, error.end


def _is_raised(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("SUPERSCRIPT")


def spell_what_cannot_be_written(*streams: TextIO) -> None:
    """Let streams spell the letters that their encoding does not have, instead of raising an error."""
    codecs.register_error(HANDLER, _spell)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
