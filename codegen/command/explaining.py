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
