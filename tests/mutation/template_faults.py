"""Faults in templates: operators over their text, in the parts that become Python and in the Jinja statements.

Input: the text of a template. Output: ``Edit``s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .faults import Edit
from .python_faults import python_edits

__all__ = ["jinja_edits", "python_template_edits"]

SILENT = re.compile(r'\{#.*?#\}|""".*?"""', re.DOTALL)
MACRO = re.compile(r"\{% macro (\w+)")
FILTERS = "indent|length|reverse|list|join|map|wordwrap|string"
SIGNS = (
    (r" \+ ", " - ", "operator"),
    (r" - ", " + ", "operator"),
    (r" \* ", " + ", "operator"),
    (r" // ", " % ", "operator"),
    (r" % ", " // ", "operator"),
    (r" \+= ", " -= ", "operator"),
    (r" & ", " | ", "operator"),
    (rf" \| (?!{FILTERS})", " & ", "operator"),
    (r" < ", " <= ", "comparison"),
    (r" > ", " >= ", "comparison"),
    (r" >= ", " > ", "comparison"),
    (r" == ", " != ", "comparison"),
    (r" != ", " == ", "comparison"),
    (r"live_m\b", "live_n", "swapped names"),
    (r"live_n\b", "live_m", "swapped names"),
    (r"live_row\b", "live_column", "swapped names"),
    (r"live_column\b", "live_row", "swapped names"),
    (r"BLOCK_M\b", "BLOCK_N", "swapped names"),
    (r"BLOCK_N\b", "BLOCK_M", "swapped names"),
    (r"BLOCK_K\b", "BLOCK_N", "swapped names"),
    (r"\bROWS\b", "COLUMNS", "swapped names"),
    (r"\bCOLUMNS\b", "ROWS", "swapped names"),
    (r"tiles_m\b", "tiles_n", "swapped names"),
    (r"tiles_n\b", "tiles_m", "swapped names"),
    (r"tile_m\b", "tile_n", "swapped names"),
    (r"\[:, None\]", "[None, :]", "swapped axes"),
    (r"\[None, :\]", "[:, None]", "swapped axes"),
    (r"kernel\.rows\b", "kernel.columns", "swapped axes"),
    (r"kernel\.columns\b", "kernel.rows", "swapped axes"),
    (r"extents\[0\]", "extents[-1]", "off by one"),
    (r"extents\[-1\]", "extents[0]", "off by one"),
    (r"\[1:-1\]", "[1:]", "off by one"),
    (r"order\[1:\]", "order", "off by one"),
    (r"tl\.sum\(", "tl.max(", "function"),
    (r"tl\.max\(", "tl.min(", "function"),
    (r"tl\.min\(", "tl.max(", "function"),
    (r"tl\.maximum\(", "tl.minimum(", "function"),
    (r"tl\.minimum\(", "tl.maximum(", "function"),
    (r"tl\.range\(0, ", "tl.range(1, ", "off by one"),
    (r", ACC\)", ", tl.float16)", "accumulator type"),
    (r"out_dtype=ACC", "out_dtype=tl.float16", "accumulator type"),
    (r"\.to\(DOT\)", ".to(tl.float16)", "operand type"),
    (r'float\("-inf"\)', 'float("inf")', "constant"),
    (r", 0\.0\)", ", 1.0)", "constant"),
    (r"-1, tl", "0, tl", "constant"),
    (r"PropagateNan\.ALL", "PropagateNan.NONE", "constant"),
    (r'"lane"', '"row"', "word"),
    (r'"row"', '"column"', "word"),
    (r" \| reverse", "", "order"),
    (r"take & ", "", "missing guard"),
    (r", p\.guard\(a\.guards[^)]*\)", ', ""', "missing guard"),
    (r", keep_dims=True", "", "dropped argument"),
    (r"loop\.index\b", "loop.index0", "off by one"),
)
BRANCH = re.compile(r"\{% (el)?if (.*?) %\}")
LOOP = re.compile(r"\{% for [\w, ]+ in (.*?)(?= if | %\})")
LINE = re.compile(r"^ *[^\s{].* \+?= .*$|^ *\{\{ [^}]* \}\} \+?= .*$|^ *launching\..*$", re.MULTILINE)


def jinja_edits(text: str) -> list[Edit]:
    """All proposals for a template of kernels."""
    silent = [match.span() for match in SILENT.finditer(text)]
    macros = [(match.start(), match[1]) for match in MACRO.finditer(text)]
    found = []
    for start, end, new, operator in _places(text):
        if not any(first <= start < last for first, last in silent):
            scope = next((name for place, name in reversed(macros) if place < start), "")
            found.append(Edit(start, end, new, operator, scope))
    return found


def _places(text: str) -> Iterator[tuple[int, int, str, str]]:
    for pattern, new, operator in SIGNS:
        for match in re.finditer(pattern, text):
            yield match.start(), match.end(), new, operator
    for match in BRANCH.finditer(text):
        yield *match.span(2), f"not ({match[2]})", "negated condition"
    for match in LOOP.finditer(text):
        yield *match.span(1), f"({match[1]})[1:]", "off by one"
    for match in LINE.finditer(text):
        yield *match.span(), "", "dropped statement"


def python_template_edits(text: str) -> list[Edit]:
    """All proposals for a template that is Python except for inserted values."""
    python = re.sub(r"\{\{ *(\w+) *\}\}", lambda match: match[1].ljust(len(match[0]), "_"), text)
    return python_edits(python)
