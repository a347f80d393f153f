"""Lines of generated files: as few as the width allows, and the same program."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import svertka.generated
from svertka.codegen.emit import filling
from svertka.codegen.emit.filling import WIDTH, filled

GENERATED = Path(svertka.generated.__file__).parent
NAMES = [f"argument_{place}" for place in range(12)]


def exploded(head: str, tail: str, items: list[str] = NAMES) -> str:
    """A statement as ruff breaks it."""
    return "\n".join([head, *(f"    {item}," for item in items), tail]) + "\n"


def test_arguments_fill_lines() -> None:
    first, second = filled(exploded("value = function(", ")")).splitlines()
    assert first == f"value = function({', '.join(NAMES[:8])},"
    assert second == f"    {', '.join(NAMES[8:])})"


def test_the_head_of_a_function_stands_apart_from_its_body() -> None:
    made = filled(exploded("def function(", "):") + "    return argument_0\n")
    assert made.splitlines()[1] == f"        {', '.join(NAMES[9:])}):"
    assert made.splitlines()[-1] == "    return argument_0"


def test_what_fits_a_line_is_one() -> None:
    assert filled(exploded("value = function(", ")", NAMES[:2])) == "value = function(argument_0, argument_1)\n"


@pytest.mark.parametrize("head", ["value = (", "function((", "return_of = value in ("])
def test_a_tuple_of_one_keeps_its_comma(head: str) -> None:
    tail = "))" if head.endswith("((") else ")"
    source = exploded(head, tail, ["argument" * 20])
    assert ast.dump(ast.parse(filled(source))) == ast.dump(ast.parse(source))


def test_comments_and_texts_of_several_lines_keep_theirs() -> None:
    noted = "value = function(\n    first,  # what it is\n    second,\n)\n"
    text = 'value = function(\n    """one\n    two""",\n    2,\n)\n'
    assert filled(noted + text) == noted + text


def test_parameters_of_a_lambda_and_indices_stay_together() -> None:
    items = [*NAMES[:7], "lambda first, second, third: table[first, second, third]"]
    lines = filled(exploded("value = function(", ")", items)).splitlines()
    assert lines[1] == "    lambda first, second, third: table[first, second, third])"


def test_a_changed_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "_alone", lambda statement, closing: False)
    with pytest.raises(RuntimeError, match="changed by filling"):
        filled(exploded("value = (", ")", ["argument"]))


def test_generated_files_are_filled_and_stay_so() -> None:
    files = sorted(GENERATED.rglob("*.py"))
    assert len(files) > 50
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert filled(text) == text, path.name
        if path.parent.name in ("kernels", "formulas"):
            assert not [line for line in code_of(text) if len(line) > WIDTH], path.name


def code_of(text: str) -> list[str]:
    """The lines of a source without those of documentation and comments."""
    lines = ["" if line.lstrip().startswith("#") else line for line in text.splitlines()]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (int(node.end_lineno or 0) - node.lineno + 1)
    return lines
