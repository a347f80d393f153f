"""Fill lines: what ruff writes with one argument a line takes as few lines as its length needs.

Kernels and plain formulas have long signatures, calls and sums. With one argument a line their files have thousands of
lines, and nobody reads them. Here every statement that ruff broke is joined again, and broken at the width, between
arguments if possible.

Input: Python source as ruff formats it. Output: the same statements in fewer lines.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tokenize import TokenInfo

__all__ = ["filled"]

WIDTH = 120
INDENT = 4
NARROWEST = 0.5
"""A line is broken beyond this part of its width."""
OPENING, CLOSING = frozenset("([{"), frozenset(")]}")
BLOCKS = frozenset({"async", "class", "def", "elif", "for", "if", "while", "with"})


def filled(source: str) -> str:
    """Fill the lines of a source.

    Raises:
        RuntimeError: the result would not be the same program.
    """
    lines = source.splitlines(keepends=True)
    made: list[str] = []
    done = 0
    for statement in _statements(source):
        first, last = statement[0].start[0], statement[-1].end[0]
        if first == last or any(_keeps_its_lines(token) for token in statement):
            continue
        indent = lines[first - 1][: statement[0].start[1]]
        broken = _broken(_joined(statement), indent)
        if max(map(len, broken)) > WIDTH:  # without a space to break at: ruff's lines are shorter
            continue
        made += [*lines[done : first - 1], *(f"{line}\n" for line in broken)]
        done = last
    text = "".join([*made, *lines[done:]])
    if ast.dump(ast.parse(text)) != ast.dump(ast.parse(source)):
        raise RuntimeError("a statement was changed by filling its lines")
    return text


def _statements(source: str) -> Iterator[list[TokenInfo]]:
    """The tokens of each statement, or of the head of a compound one, without line ends."""
    statement: list[TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            yield statement
            statement = []
        elif token.type == tokenize.COMMENT and not statement:
            continue
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            statement.append(token)


def _keeps_its_lines(token: TokenInfo) -> bool:
    """Whether a statement with the token stays as it is: comments belong to lines, and texts may span several.

    A formatted text is one token before Python 3.12, and several from then on.
    """
    formatted = token.type == getattr(tokenize, "FSTRING_START", None) or token.string[:2] in ('f"', "f'")
    return token.type == tokenize.COMMENT or token.start[0] != token.end[0] or formatted


@dataclass(frozen=True)
class _Word:
    """A token, the space before it, and how deep it lies within brackets.

    An index and the parameters of a ``lambda`` lie deeper than an argument: they stay together where arguments part.
    """

    text: str
    space: str
    depth: int


def _joined(statement: Sequence[TokenInfo]) -> list[_Word]:
    """The statement in one line, without the commas that stand before a closing bracket on a line of its own."""
    words: list[_Word] = []
    open_ones: list[int] = []  # what each open bracket adds to the depth, and each lambda until its colon
    for place, token in enumerate(statement):
        before = statement[place - 1] if place else None
        if token.string in CLOSING or (token.string == ":" and open_ones and open_ones[-1] == LAMBDA):
            open_ones.pop()
        if before is None:
            space = ""
        elif before.end[0] == token.start[0]:
            space = " " * (token.start[1] - before.end[1])
        else:
            space = "" if before.string in OPENING or token.string in CLOSING else " "
            if token.string in CLOSING and before.string == "," and not _alone(statement, place):
                words.pop()
        words.append(_Word(token.string, space, sum(open_ones)))
        if token.string in OPENING:
            open_ones.append(2 if token.string == "[" and _follows_a_value(before) else 1)
        elif token.string == "lambda":
            open_ones.append(LAMBDA)
    return words


def _alone(statement: Sequence[TokenInfo], closing: int) -> bool:
    """Whether the comma before a closing bracket makes a tuple of one element."""
    depth, commas, place = 0, 0, closing - 1
    while depth or statement[place].string not in OPENING:
        text = statement[place].string
        depth += (text in CLOSING) - (text in OPENING)
        commas += text == "," and depth == 0
        place -= 1
    return commas == 1 and statement[place].string != "{" and not _is_call(statement, place)


def _is_call(statement: Sequence[TokenInfo], opening: int) -> bool:
    """Whether a bracket encloses the arguments of a call or of a function's head."""
    return statement[opening].string == "(" and _follows_a_value(statement[opening - 1] if opening else None)


def _follows_a_value(before: TokenInfo | None) -> bool:
    """Whether a bracket behind a token encloses arguments or an index, and not a tuple or a list."""
    if before is None:
        return False
    return before.string in (")", "]") or (before.type == tokenize.NAME and before.string not in KEYWORDS)


LAMBDA = 3
KEYWORDS = frozenset({"and", "else", "if", "in", "is", "lambda", "not", "or", "return"})


def _broken(words: Sequence[_Word], indent: str) -> list[str]:
    """Lines of the width, those behind the first indented; the head of a block twice, to stand apart from its body."""
    behind = indent + " " * INDENT * (2 if words[0].text in BLOCKS else 1)
    lines: list[str] = []
    rest = list(words)
    while rest:
        start = behind if lines else indent
        count = _fitting(rest, WIDTH - len(start))
        lines.append(start + "".join(word.space * bool(place) + word.text for place, word in enumerate(rest[:count])))
        rest = rest[count:]
    return lines


def _fitting(words: Sequence[_Word], width: int) -> int:
    """How many words go on a line: up to the break with the fewest open brackets, not too far to the left."""
    length, best = 0, (10**6, 0)
    for place, word in enumerate(words):
        if place and word.space and word.depth:
            if length > width * NARROWEST and length <= width:
                best = min(best, (word.depth - (words[place - 1].text == ","), -place))
            elif length <= width:
                best = min(best, (10**5, -place))
        length += len(word.space) * bool(place) + len(word.text)
        if length > width:
            return -best[1] or _next_break(words, place)
    return len(words)


def _next_break(words: Sequence[_Word], place: int) -> int:
    """The first break at all, where a word is longer than a line."""
    return next((n for n in range(max(place, 1), len(words)) if words[n].space and words[n].depth), len(words))
