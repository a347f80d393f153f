"""The command line, one module per group of commands.

Exit codes: 0 done; 1 a check failed (files differ, a kernel differs from its formula, a slide's number is not
reproduced); 2 the call was wrong, or a required package is not installed.
"""

from __future__ import annotations

import sys

from svertka.codegen.command.plain import spell_what_cannot_be_written

__all__ = ["main"]

MISUSED = 2
EXTRAS = {
    "networks": ("PIL", "matplotlib", "sklearn"),
    "generator": ("filelock", "jinja2", "markupsafe", "mpmath", "rich", "ruff", "sympy", "typer"),
}
"""Imported modules, by the extra of the distribution that installs them."""


def main() -> None:
    """Run the command line; for wrong input it prints one line of text, not a traceback."""
    spell_what_cannot_be_written(sys.stdout, sys.stderr)
    try:
        _run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = next((extra for extra, names in EXTRAS.items() if missing in names), None)
        if extra is None:
            raise
        sys.stderr.write(f"svertka: {missing} is not installed; install it with `pip install 'svertka[{extra}]'`\n")
        sys.exit(MISUSED)


def _run() -> None:
    from rich.markup import escape

    from svertka.codegen.command import commands
    from svertka.codegen.command.terminal import errors

    try:
        commands.application()
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        errors.print(f"[red]svertka:[/red] {escape(str(error))}", highlight=False, emoji=False)
        sys.exit(MISUSED)
