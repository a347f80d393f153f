"""Shared by all commands: the application, the consoles, progress, names of layers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = [
    "FAILED",
    "Chosen",
    "Names",
    "NamesOrFiles",
    "application",
    "chosen",
    "compilable",
    "console",
    "definitions_named",
    "errors",
    "interpret",
    "needed",
    "progress",
]

application = typer.Typer(
    help="Derive GPU layers from formulas, prove them and write them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
WIDE = 200  # columns of a table in a file or a pipe, where nothing may be cut off


def _console(stderr: bool = False) -> Console:
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=WIDE)


console = _console()
errors = _console(stderr=True)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[LAYER]...", help="Names as in `svertka list`; all if none.")
]
NamesOrFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LAYER|FILE.py]...",
        help="Names as in `svertka list`, all if none; or a file with formulas, which is run as Python.",
    ),
]
FAILED = 1


def interpret() -> None:
    """Run kernels in Triton's interpreter; Triton reads this when it is imported."""
    os.environ["TRITON_INTERPRET"] = "1"


def needed(*modules: str) -> None:
    """Import what a command needs later, so that a missing package is reported at once.

    Raises:
        ModuleNotFoundError: one is not installed.
    """
    for module in modules:
        importlib.import_module(module)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error; call the result once per item."""
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task(what, total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=f"{what} {name}")

        yield advance
        bar.update(task, description=what)


def definitions_named(names: Sequence[str] | None) -> list[Any]:
    """Definitions by name.

    Raises:
        ValueError: there is no such layer.
    """
    from svertka.spec.layers import DEFINITIONS

    for name in names or ():
        if name not in DEFINITIONS:
            raise ValueError(f"layer {name!r}: there is no such layer; {_meant(name, DEFINITIONS)}")
    return [d for name, d in DEFINITIONS.items() if not names or name in names]


def _meant(name: str, definitions: Mapping[str, Any]) -> str:
    """Suggestions for an unknown name: the layer with a similar name, function or module."""
    known = {name: name for name in definitions}
    for definition in definitions.values():
        words = (definition.function, *(face.name for face in definition.modules))
        known |= {word.lower(): definition.name for word in words}
    close = dict.fromkeys(known[word] for word in get_close_matches(name.lower(), known))
    if close:
        return f"did you mean {' or '.join(close)}? `svertka list` shows all"
    return f"`svertka list` shows {', '.join(definitions)}"


@dataclass(frozen=True)
class Chosen:
    """The layers that a call is about.

    Attributes:
        definitions: the layers of the package.
        layers: those whose kernels are wanted.
        every: whether these are all.
        files: whether some come from files of formulas.
    """

    definitions: tuple[Any, ...]
    layers: tuple[Any, ...]
    every: bool
    files: bool = False

    def without(self, names: Collection[str]) -> Chosen:
        """The same without some layers."""
        definitions, layers = (
            tuple(d for d in some if d.name not in names) for some in (self.definitions, self.layers)
        )
        return replace(self, definitions=definitions, layers=layers)


def chosen(names: Sequence[str] | None, refused: list[str] | None = None) -> Chosen:
    """Layers by name; files of formulas add their own, all of them or those that are named.

    Args:
        names: of layers and files.
        refused: receives what is wrong with layers of files that have no public interface.

    Raises:
        ValueError: there is no such layer or file, or a file cannot be run.
    """
    from svertka.codegen.frontend.formula_file import definitions_of, is_formula_file
    from svertka.spec.layers import DEFINITIONS

    files = [name for name in names or () if is_formula_file(name)]
    if not files:
        named = tuple(definitions_named(names))
        return Chosen(tuple(DEFINITIONS.values()), named, not names)
    own = [definition for file in files for definition in definitions_of(Path(file), refused)]
    known = {definition.name for definition in own}
    layers = [name for name in names or () if not is_formula_file(name)]
    wanted = [name for name in layers if name in known]
    more = definitions_named(missing) if (missing := [name for name in layers if name not in known]) else []
    picked = [definition for definition in own if not wanted or definition.name in wanted]
    return Chosen((*own, *more), (*picked, *more), not wanted, files=True)


def compilable() -> None:
    """Refuse to compile kernels that run in the interpreter.

    Raises:
        ValueError: Triton's interpreter is on.
    """
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise ValueError("TRITON_INTERPRET=1: kernels that run in the interpreter cannot be compiled; unset it")
