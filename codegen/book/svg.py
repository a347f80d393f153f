"""A picture's frames as SVG. The page's style sheet has colours and strokes; this module has positions and numbers.

Input: a ``Picture``, a name for its parts. Output: SVG text: one of shared symbols, one per frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from math import ceil, sqrt
from typing import Any

from svertka.codegen.book.picture import Block, Frame, Panel, Picture
from svertka.codegen.book.printers import plain
from svertka.codegen.book.typeset import name_of
from svertka.codegen.book.worked import shown_number

__all__ = ["Drawing", "cell_text", "draw"]

CELL, GAP, BETWEEN, LABEL, EDGE = 40, 14, 44, 24, 3
SMALLEST = 48  # percent of its size to which a drawing is scaled down before it is scrolled
LONGEST = 18  # characters of a name
WIDEST = 5  # characters of a number that fits a cell
SIZES = {4: 14, 5: 12, 6: 11}  # font size, by the number of characters


@dataclass(frozen=True)
class Drawing:
    """SVG of a picture: symbols that frames refer to, and the frames."""

    symbols: str
    frames: tuple[str, ...]


@dataclass(frozen=True)
class _Set:
    """A block and its position; ``places`` are the corners of its panels."""

    block: Block
    left: int
    width: int
    places: tuple[tuple[int, int], ...]


def draw(picture: Picture, name: str) -> Drawing:
    """Draw every frame.

    Args:
        picture: what to draw.
        name: prefix of the identifiers, unique within the page.
    """
    blocks, width, height = _placed(picture.blocks)
    symbols = "".join(_symbol(one, f"{name}-{n}", width, height) for n, one in enumerate(blocks))
    frames = tuple(_frame(frame, blocks, name, width, height) for frame in picture.frames)
    return Drawing(f'<svg class="symbols" aria-hidden="true" width="0" height="0">{symbols}</svg>', frames)


def _placed(blocks: Iterable[Block]) -> tuple[list[_Set], int, int]:
    """Blocks from left to right, centred; the size of the whole."""
    sizes = [(_grid(block), block) for block in blocks]
    height = max(LABEL + _extent(rows, _panel_size(block)[1]) for (rows, _), block in sizes) + 2 * EDGE
    left, found = EDGE, []
    for (rows, columns), block in sizes:
        across, down = _panel_size(block)
        width = max(_extent(columns, across), 9 * min(len(block.name), LONGEST))
        top = LABEL + (height - LABEL - _extent(rows, down)) // 2
        inset = (width - _extent(columns, across)) // 2
        places = tuple(
            (left + inset + (n % columns) * (across + GAP), top + (n // columns) * (down + GAP))
            for n in range(len(block.panels))
        )
        found.append(_Set(block, left, width, places))
        left += width + BETWEEN
    return found, left - BETWEEN + EDGE, height


def _grid(block: Block) -> tuple[int, int]:
    """Rows and columns in which a block's panels are arranged."""
    count = len(block.panels)
    columns = ceil(sqrt(count)) if count > 3 else 1
    return ceil(count / columns), columns


def _panel_size(block: Block) -> tuple[int, int]:
    above, right, below, left = block.margin
    panel = block.panels[0]
    return CELL * (panel.columns + left + right), CELL * (panel.rows + above + below)


def _extent(count: int, size: int) -> int:
    return count * size + (count - 1) * GAP


def _symbol(one: _Set, name: str, width: int, height: int) -> str:
    """A block's grid and label, and its numbers unless they are filled in step by step."""
    parts = [f'<text class="label" x="{one.left + one.width // 2}" y="{LABEL - 8}">{_label(one.block)}</text>']
    for panel, place in zip(one.block.panels, one.places, strict=True):
        parts += _cells(one.block, panel, place)
    return f'<symbol id="{name}" viewBox="0 0 {width} {height}">{"".join(parts)}</symbol>'


def _label(block: Block) -> str:
    """The tensor's name, or the end of a long one."""
    name = plain(name_of(block.name))
    return escape(name if len(name) <= LONGEST else f"…{name[-LONGEST + 1 :]}")


def _cells(block: Block, panel: Panel, place: tuple[int, int]) -> Iterator[str]:
    above, right, below, left = block.margin
    for row in range(-above, panel.rows + below):
        for column in range(-left, panel.columns + right):
            within = 0 <= row < panel.rows and 0 <= column < panel.columns
            x, y = _corner(block, place, row, column)
            yield _square(x, y, f"cell {block.role}" if within else "pad")
            if within and block.role != "result":
                yield _number(block, _at(panel, row, column, block), x, y)


def _corner(block: Block, place: tuple[int, int], row: int, column: int) -> tuple[int, int]:
    above, _, _, left = block.margin
    return place[0] + CELL * (column + left), place[1] + CELL * (row + above)


def _at(panel: Panel, row: int, column: int, block: Block) -> tuple[int, ...]:
    """A cell's position in the tensor."""
    flat = len(next(iter(block.values))) == 1
    return (column,) if flat else (*panel.outer, row, column)


def _square(x: int, y: int, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{CELL}" height="{CELL}"/>'


def cell_text(value: Any) -> str:
    """A number as text that fits a cell."""
    text = plain(shown_number(value))
    return text if len(text) <= WIDEST else f"{float(value):.2g}".replace("-", "−")


def _number(block: Block, place: tuple[int, ...], x: int, y: int) -> str:
    text = cell_text(block.values[place])
    size = "" if len(text) <= 3 else f' style="font-size:{SIZES.get(len(text), 10)}px"'
    return f'<text{size} x="{x + CELL // 2}" y="{y + CELL // 2 + 5}">{text}</text>'


def _frame(frame: Frame, blocks: list[_Set], name: str, width: int, height: int) -> str:
    """The shared symbols, then the cells that this step reads, computes and has filled in so far."""
    parts = []
    for number, one in enumerate(blocks):
        parts.append(f'<use href="#{name}-{number}" width="{width}" height="{height}"/>')
        parts += _marks(frame, one)
    parts += _arrow(blocks, height)
    title = escape(plain(frame.step.written))
    bounds = f"max-width:{width}px;min-width:{SMALLEST * width // 100}px"
    return (
        f'<svg class="frame" viewBox="0 0 {width} {height}" style="{bounds}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
    )


def _arrow(blocks: list[_Set], height: int) -> Iterator[str]:
    """An arrow to the result."""
    if len(blocks) > 1:
        x, y = blocks[-1].left - BETWEEN // 2, LABEL + (height - LABEL) // 2
        yield f'<path class="arrow" d="M{x - 11} {y}h20m-6 -5l6 5l-6 5"/>'


def _marks(frame: Frame, one: _Set) -> Iterator[str]:
    block = one.block
    done = 0
    for panel, place in zip(block.panels, one.places, strict=True):
        above, right, below, left = block.margin
        for row in range(-above, panel.rows + below):
            for column in range(-left, panel.columns + right):
                spot = (block.name, _at(panel, row, column, block))
                x, y = _corner(block, place, row, column)
                within = 0 <= row < panel.rows and 0 <= column < panel.columns
                done += within
                if spot in frame.outside:
                    yield _square(x, y, "mark beyond")
                elif spot in frame.read:
                    yield _square(x, y, "mark read")
                elif spot in frame.through:
                    yield _square(x, y, "mark through")
                elif spot == frame.here:
                    yield _square(x, y, "mark here")
                if within and block.role == "result" and done <= frame.filled:
                    yield _number(block, spot[1], x, y)
