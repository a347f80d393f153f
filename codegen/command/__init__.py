"""The command line, a module a group of commands.

Exit codes: 0 done; 1 a check failed (files differ, a kernel misses its formula, a slide's number does not come out);
2 the call was wrong.
"""

from __future__ import annotations

import sys

from rich.markup import escape

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
from svertka.codegen.command.terminal import MISUSED, application, errors

__all__ = [
    "compiling",
    "converting",
    "explaining",
    "generating",
    "main",
    "measuring",
    "networks",
    "showing",
    "training",
]


def main() -> None:
    """Run the command line; wrong input ends in a line of text, not in a traceback."""
    try:
        application()
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        errors.print(f"[red]svertka:[/red] {escape(str(error))}", highlight=False, emoji=False)
        sys.exit(MISUSED)
