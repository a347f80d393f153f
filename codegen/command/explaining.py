"""``svertka explain`` and ``svertka book``: formulas, gradients, kernels and proofs for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svertka.codegen.command.terminal import application, console, definitions_named, progress

BOOK = Path("build/book")


@application.command()
def explain(
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A name as in `svertka list`.")],
    variant: Annotated[str, typer.Option(help="One of several formulas, by its name; all if none.")] = "",
) -> None:
    """Show a layer's formula, derived gradient, kernels and what is proven of them."""
    from svertka.codegen.book.explanation import explain as explanation_of
    from svertka.codegen.book.terminal import rendered
    from svertka.codegen.generate import PACKAGE

    (definition,) = definitions_named([layer])
    found = explanation_of(definition, PACKAGE)
    names = {formula.layer.name: formula for formula in found.formulas}
    if variant and variant not in names:
        raise ValueError(f"--variant {variant}: {layer} has no such formula; use {', '.join(names)}")
    chosen = [names[variant]] if variant else list(names.values())
    for part in rendered(found, chosen):
        console.print(part, highlight=False)


@application.command()
def book(
    into: Annotated[Path, typer.Option(help="Folder of the pages; open index.html in it.")] = BOOK,
) -> None:
    """Write the same as static pages, with the lecture's numbers moving through every layer; no network is needed."""
    from svertka.codegen.book.site import pages, write_pages
    from svertka.codegen.generate import PACKAGE

    if into.exists() and not into.is_dir():
        raise ValueError(f"--into {into}: it is a file; name a folder")
    chosen = definitions_named(None)
    with progress("explaining", len(chosen)) as advance:
        found = pages(chosen, PACKAGE, advance)
    write_pages(found, into)
    console.print(f"{into / 'index.html'}: {len(found)} pages", highlight=False)
