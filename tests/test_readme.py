"""The README's Python examples run unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
@pytest.mark.usefixtures("own_cache")
def test_example_runs(number: int) -> None:
    """As a reader runs it: in a process of its own, without Triton's interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", EXAMPLES[number]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    for promised in re.findall(r"print\(.*?\)  # (.*)", EXAMPLES[number]):
        assert promised in done.stdout
    assert done.stdout


def test_a_formula_becomes_a_proven_layer_in_fifteen_lines() -> None:
    """The example contains everything that a reader must know."""
    example = next(example for example in EXAMPLES if "layer_module" in example)
    assert len(example.splitlines()) <= 15
    for promised in ("Layer(", "backward()", "certificate_of"):
        assert promised in example


def test_readme_names_the_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert "make run" in text
    assert "make test" in text
