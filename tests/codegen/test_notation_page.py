"""The notation page: its examples can be generated, and what it refuses is refused with the message it states."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.frontend.formula_file import definitions_of
from svertka.spec import Layer, define

PAGE = (Path(__file__).parents[2] / "spec" / "NOTATION.md").read_text(encoding="utf-8")
PYTHON = r"```python\n(.*?)```"
SHOWN, REFUSED = PAGE.split("## What is refused")
PRELUDE, *EXAMPLES = re.findall(PYTHON, SHOWN, re.S)
REFUSALS = re.findall(PYTHON + r"\n\n```text\n(.*?)\n```", REFUSED, re.S)


def generated(example: str) -> dict[str, str]:
    """Run an example after the page's prelude and generate its layer, if it defines one."""
    names: dict[str, Any] = {}
    exec(compile(PRELUDE + example, "spec/NOTATION.md", "exec"), names)
    layer = names["layer"]
    return generate_package([define(layer) if isinstance(layer, Layer) else layer]).sources


def test_every_block_is_run() -> None:
    assert len(EXAMPLES) >= 9
    assert len(REFUSALS) >= 20
    assert len(re.findall(PYTHON, PAGE, re.S)) == 1 + len(EXAMPLES) + len(REFUSALS)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_what_is_shown_is_generated(number: int) -> None:
    sources = generated(EXAMPLES[number])
    kernels = [text for path, text in sources.items() if path.startswith("kernels/") and "@triton.jit" in text]
    assert len(kernels) == 2  # the layer's, and the primitives


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_what_is_refused_is_refused_in_these_words(number: int) -> None:
    example, said = REFUSALS[number]
    with pytest.raises((TypeError, ValueError)) as found:
        generated(example)
    assert f"{type(found.value).__name__}: {found.value}" == said


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_a_file_says_the_same_with_its_line(number: int, tmp_path: Path) -> None:
    """Failures while the file runs are reported with file and line; later ones name layer and equation."""
    example, said = REFUSALS[number]
    path = tmp_path / "my_layers.py"
    path.write_text(PRELUDE + example, encoding="utf-8")
    with pytest.raises((TypeError, ValueError)) as found:
        generate_package(definitions_of(path))
    words = said.partition(": ")[2]
    assert words in str(found.value)
    assert str(found.value).startswith((f"{path}:", "layer "))
