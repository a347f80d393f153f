"""Kernel IR to source, by the template of its family.

Input: a ``Kernel``. Output: the text of a ``@triton.jit`` function, unformatted and without blank lines.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jinja2

from svertka.codegen.classify import Family
from svertka.codegen.ir import Kernel, Let, Section
from svertka.codegen.triton_printer import TritonPrinter

__all__ = ["SCHEDULE_CONSTANTS", "environment", "kernel_source"]

TEMPLATES = {
    Family.POINTWISE: "lanes.jinja",
    Family.WINDOW: "lanes.jinja",
    Family.ROW: "row.jinja",
    Family.CONTRACTION: "contraction.jinja",
}

COMMON_CONSTANTS = ("LAST", "INDEX", "ACC")
SCHEDULE_CONSTANTS = {
    Family.POINTWISE: ("BLOCK", "UNROLL"),
    Family.WINDOW: ("BLOCK", "UNROLL"),
    Family.ROW: ("ROWS", "COLUMNS", "SINGLE"),
    Family.CONTRACTION: ("BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP", "PRECISION", "DOT", "TAPS"),
}


@cache
def environment() -> jinja2.Environment:
    """The Jinja environment of all templates; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("svertka.codegen", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def kernel_source(kernel: Kernel) -> str:
    """Print one kernel."""
    template = environment().get_template(TEMPLATES[kernel.family])
    constants = (*COMMON_CONSTANTS, *SCHEDULE_CONSTANTS[kernel.family])
    taps, along = kernel.taps
    text = template.render(
        kernel=kernel, taps=taps, along=along, constants=constants, p=_printer(kernel), without=_without
    )
    return "\n".join(line for line in text.splitlines() if line.strip())


def _without(section: Section, lets: tuple[Let, ...]) -> Section:
    """The section without statements that stand before it already."""
    return replace(section, lets=tuple(let for let in section.lets if let not in lets))


def _printer(kernel: Kernel) -> TritonPrinter:
    dimensions: dict[str, str] = {}
    masks: dict[str, str] = {}
    if kernel.family == Family.CONTRACTION:
        batch, left, right = kernel.groups
        dimensions |= dict.fromkeys(batch.names, "")
        for axes, dimension in ((left, "m"), (right, "n"), (kernel.columns, "inner")):
            dimensions |= dict.fromkeys(axes.names, dimension)
            masks[dimension] = f"live_{dimension}"
    elif kernel.family == Family.ROW:
        dimensions |= dict.fromkeys(kernel.rows.names, "row") | dict.fromkeys(kernel.columns.names, "column")
        masks = {"row": "live_row", "column": "live_column"}
    else:
        dimensions |= dict.fromkeys(kernel.rows.names, "lane")
        masks = {"lane": "live"}
    _add_reduced(kernel, dimensions)
    return TritonPrinter(kernel.tensors, dimensions, masks, frozenset(kernel.constants))


def _add_reduced(kernel: Kernel, dimensions: dict[str, str]) -> None:
    """A reduction's value varies along the rows."""
    along = {Family.ROW: "row", Family.WINDOW: "lane"}.get(kernel.family)
    for section in kernel.sections:
        for accumulator in section.accumulators:
            if along:
                dimensions[accumulator.name] = along
