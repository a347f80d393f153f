"""``svertka convert``: which layers of a model svertka would convert, and why it would not convert the others."""

from __future__ import annotations

import copy
import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from svertka.codegen.command.terminal import application, console


@application.command()
def convert(
    model: Annotated[str, typer.Argument(metavar="MODULE:CALLABLE", help="What makes the model.")],
    fuse: Annotated[bool, typer.Option("--fuse", help="Look for chains that are computed as one, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Show which layers of a model svertka would convert and which it would leave, with the reason."""
    from svertka.generated.convert import convert as converted

    _, report = converted(copy.deepcopy(_built(model)), fuse=fuse)
    if as_json:
        console.print(json.dumps(asdict(report), indent=2), highlight=False, markup=False, soft_wrap=True)
        return
    table = Table(title=model)
    for heading in ("", "layer", "is", "would be", "why"):
        table.add_column(heading, overflow="fold")
    for row in report.rows():
        table.add_row(*row)
    console.print(table, markup=False)
    console.print(report.summary(), highlight=False, markup=False)


def _built(name: str) -> Any:
    """The model that an importable callable makes.

    Raises:
        ValueError: the name has the wrong form, nothing is found under it, or making the model fails.
        TypeError: the result is no model.
    """
    import torch

    place, colon, attribute = name.partition(":")
    if not colon or not place or not attribute:
        raise ValueError(f"{name}: must be MODULE:CALLABLE; write package.module:function or package.module:Class")
    made: Any = _imported(place, name)
    for part in attribute.split("."):
        if not hasattr(made, part):
            raise ValueError(f"{name}: {place} has no {attribute}; name a function, a class or a model of it")
        made = getattr(made, part)
    if not isinstance(made, torch.nn.Module):
        if not callable(made):
            raise TypeError(f"{name}: {type(made).__name__} is no callable; name what makes the model")
        made = _called(made, name)
    if not isinstance(made, torch.nn.Module):
        raise TypeError(f"{name}: it makes a {type(made).__name__}; it must make a torch.nn.Module")
    return made


def _called(make: Any, name: str) -> Any:
    """The result of a callable: without data, or on the CPU if its construction needs data."""
    import torch

    try:
        with torch.device("meta"):
            return make()
    except Exception:
        try:
            return make()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{name}: calling it without arguments fails, {reason}; name what needs none") from error


def _imported(place: str, name: str) -> Any:
    """A module, also from the current folder, as with ``python -m``."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise ValueError(f"{name}: {place} cannot be imported, {error}; run from the folder where it is") from error
    finally:
        sys.path.remove(folder)
