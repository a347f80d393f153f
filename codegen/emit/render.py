"""Kernel IR to source, by the template of its loop pattern.

Input: a ``Kernel``. Output: the text of a ``@triton.jit`` function, unformatted and without blank lines.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jinja2

from svertka.codegen.emit.triton_printer import TritonPrinter
from svertka.codegen.ir.kernel import Axes, Extent, Kernel, PhasedLanes
from svertka.codegen.ir.loop_patterns import LoopPattern

__all__ = ["SCHEDULE_CONSTANTS", "environment", "kernel_sources", "quoted", "templated"]

TEMPLATES = {
    LoopPattern.POINTWISE: "lanes.jinja",
    LoopPattern.WINDOW: "lanes.jinja",
    LoopPattern.ROW: "row.jinja",
    LoopPattern.SCAN: "scan.jinja",
    LoopPattern.CONTRACTION: "contraction.jinja",
    LoopPattern.CHAIN: "chain.jinja",
}

COMMON_CONSTANTS = ("LAST", "INDEX", "ACC")
SCHEDULE_CONSTANTS = {
    LoopPattern.POINTWISE: ("BLOCK", "UNROLL"),
    LoopPattern.WINDOW: ("BLOCK", "UNROLL"),
    LoopPattern.ROW: ("ROWS", "COLUMNS", "SINGLE"),
    LoopPattern.SCAN: ("ROWS", "COLUMNS", "SINGLE"),
    LoopPattern.CONTRACTION: ("BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP", "PRECISION", "DOT", "TAPS", "SPLITS", "PART"),
    LoopPattern.CHAIN: ("BLOCK_M", "BLOCK_N", "BLOCK_K", "BLOCK_DEPTH", "WHOLE", "PRECISION"),
}
BOX_CONSTANTS = ("GROUP", "PRECISION", "DOT", "SPLITS", "PART")


@cache
def environment() -> jinja2.Environment:
    """The Jinja environment of all templates; an undefined name is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("svertka.codegen.emit", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters["docstring"] = quoted
    return made


def quoted(text: str) -> str:
    """The text of a string literal in double quotes: on one line, with quotes and backslashes escaped."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def templated(text: str) -> str:
    """The literal text of an f-string in double quotes: as ``quoted``, with braces escaped."""
    return quoted(text).replace("{", "{{").replace("}", "}}")


def kernel_sources(kernel: Kernel) -> list[str]:
    """Print one kernel: by the template of its loop pattern, and by that of tensor descriptors if it has ``boxes``."""
    tiles = ("ROWS", "COLUMNS") if kernel.maps else SCHEDULE_CONSTANTS[kernel.pattern]
    types = () if kernel.chain is None else tuple(f"DOT_{one.name}" for one in kernel.chain.inner)
    constants = (*COMMON_CONSTANTS, *tiles, *types)
    constants += ("SPLITS", "PART") if kernel.splitting else ()
    more = {"columns": _counted(kernel, kernel.columns), "p": _printer(kernel), "phases": ""}
    more |= dict(zip(("taps", "along"), (_counted(kernel, axes) for axes in kernel.window), strict=True))
    if kernel.phased is not None:
        more["phases"] = _rendered("phases.jinja", kernel, constants, p=_printer(kernel, phased=kernel.phased))
    template = "map.jinja" if kernel.maps else TEMPLATES[kernel.pattern]
    sources = [_rendered(template, kernel, constants, **more)]
    if kernel.boxes is not None:
        axes = (*kernel.boxes.rows, *kernel.boxes.columns, *kernel.boxes.summed)
        constants = (*COMMON_CONSTANTS, *(f"BOX_{axis.index}" for axis in axes), *BOX_CONSTANTS)
        sources.append(_rendered("boxes.jinja", kernel, constants, p=_printer(kernel, boxed=True)))
    return sources


def _counted(kernel: Kernel, axes: Axes) -> Axes:
    """Summed indices of a contraction, with as many values of those of one residue class as the kernel counts."""
    found = {tap.index for tap in kernel.taps}

    def counted(order: tuple[Extent, ...]) -> tuple[Extent, ...]:
        return tuple(replace(one, extent=f"taps_{one.index}") if one.index in found else one for one in order)

    return Axes(counted(axes.order), counted(axes.last))


def _rendered(template: str, kernel: Kernel, constants: tuple[str, ...], **more: Any) -> str:
    """The text of a template, without blank lines."""
    text = environment().get_template(template).render(kernel=kernel, constants=constants, **more)
    return "\n".join(line for line in text.splitlines() if line.strip())


def _printer(kernel: Kernel, boxed: bool = False, phased: PhasedLanes | None = None) -> TritonPrinter:
    dimensions: dict[str, str] = {}
    masks: dict[str, str] = {}
    if kernel.pattern in (LoopPattern.CONTRACTION, LoopPattern.CHAIN):
        for names, dimension in _tile_dimensions(kernel, boxed):
            dimensions |= dict.fromkeys(names, dimension)
            if dimension:
                masks[dimension] = f"live_{dimension}"
    elif kernel.pattern in (LoopPattern.ROW, LoopPattern.SCAN):
        dimensions |= dict.fromkeys(kernel.rows.names, "row") | dict.fromkeys(kernel.columns.names, "column")
        masks = {"row": "live_row", "column": "live_column"}
    else:
        lanes = kernel.rows.names | (phased.rows.names if phased else frozenset())
        dimensions |= dict.fromkeys(lanes, "lane")
        masks = {"lane": "live"}
    _add_reduced(kernel, dimensions)
    taps = {tap.index for section in kernel.sections for tap in section.taps if phased is None}
    dimensions |= dict.fromkeys(taps, "lane")
    loops = {loop.index for section in kernel.sections for loop in section.loops}
    narrow = frozenset(loops - taps) if "lane" in masks else frozenset()
    printer = TritonPrinter(kernel.tensors, dimensions, masks, frozenset(kernel.constants), narrow)
    if kernel.pattern == LoopPattern.CONTRACTION:
        printer.spread[kernel.accumulator] = frozenset({"m", "n"})
    if kernel.chain is not None:
        printer.spread |= {one.name: frozenset({"m", "inner"}) for one in kernel.chain.inner}
        printer.spread[kernel.accumulator] = frozenset({"m", "n"})
    if kernel.pattern == LoopPattern.SCAN:
        running = (accumulator.name for section in kernel.sections for accumulator in section.accumulators)
        printer.spread |= dict.fromkeys(running, frozenset({"row", "column"}))
    return printer


def _tile_dimensions(kernel: Kernel, boxed: bool) -> list[tuple[frozenset[str], str]]:
    """Groups of a contraction's indices, with the dimension of its tiles along which they vary."""
    if not boxed or kernel.boxes is None:
        batch, left, right = kernel.groups
        found = [(batch.names, ""), (left.names, "m"), (right.names, "n"), (kernel.columns.names, "inner")]
        for one in kernel.chain.inner if kernel.chain else ():
            found += [(one.axes.names, "left_depth"), (one.right_axes.names, "right_depth")]
        return found
    rows, columns = (frozenset(a.index for a in axes) for axes in (kernel.boxes.rows, kernel.boxes.columns))
    return [(kernel.rows.names - rows - columns, ""), (rows, "m"), (columns, "n")]


def _add_reduced(kernel: Kernel, dimensions: dict[str, str]) -> None:
    """Add the results of reductions, which vary along the rows."""
    along = {LoopPattern.ROW: "row", LoopPattern.WINDOW: "lane", LoopPattern.CHAIN: "m"}.get(kernel.pattern)
    for section in kernel.sections:
        for accumulator in section.accumulators:
            if along:
                dimensions[accumulator.name] = along
