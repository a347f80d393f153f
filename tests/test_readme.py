"""The README's Python examples run unchanged."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(
    number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path))
    exec(compile(EXAMPLES[number], f"README example {number}", "exec"), {})
    printed = capsys.readouterr().out
    for promised in re.findall(r"print\(.*?\)  # (.*)", EXAMPLES[number]):
        assert promised in printed
    assert printed


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
