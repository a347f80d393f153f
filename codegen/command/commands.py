"""All commands: the module of each group adds its commands to the application when it is imported."""

from __future__ import annotations

from typing import Annotated

import typer

from svertka import __version__
from svertka.codegen.command import (
    compiling,
    converting,
    explaining,
    generating,
    measuring,
    networks,
    showing,
    training,
)
from svertka.codegen.command.terminal import application, console

__all__ = [
    "application",
    "compiling",
    "converting",
    "explaining",
    "generating",
    "measuring",
    "networks",
    "showing",
    "training",
]


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"svertka {__version__}", highlight=False)
        raise typer.Exit


@application.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Derive GPU layers from formulas, prove them and write them."""
