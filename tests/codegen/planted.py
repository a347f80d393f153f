"""A package in which one text of a kernel is another one, and what validation says of it."""

from __future__ import annotations

from collections.abc import Sequence

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.validate import Verdict, validate_package
from svertka.spec.definition import Definition

__all__ = ["judged"]


def judged(
    definition: Definition, text: str, fault: str, levels: Sequence[str] = ("source",), file: str = "", most: int = -1
) -> Verdict:
    """Validate a definition's package with a fault.

    Args:
        definition: of what the package is made.
        text: what is replaced; it must stand there, or the fault would be none.
        fault: what stands in its place.
        levels: of the validation.
        file: in which file of kernels; without it, in the first that has the text.
        most: how many places are replaced; -1: all.
    """
    sources = generate_package([definition]).sources
    named = [f"kernels/{file}"] if file else [path for path in sources if path.startswith("kernels/")]
    path = next((path for path in named if text in sources[path]), None)
    assert path is not None, f"{definition.name} no longer says {text!r}; plant the fault elsewhere"
    planted = {**sources, path: sources[path].replace(text, fault, most)}
    assert planted != sources
    [verdict] = validate_package(planted, [definition], processes=1, levels=levels)
    return verdict
