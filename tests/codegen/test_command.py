"""The command line: exit codes, messages without tracebacks, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from svertka.codegen.levels import LEVELS

Call = Callable[..., tuple[int, str, str]]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``svertka`` in a process of its own, without the interpreter's variable."""
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, "-m", "svertka.codegen", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "no_such_layer"), ("no_such_layer", "svertka list", "relu")),
        (("validate", "no_such_layer"), ("no_such_layer", "svertka list")),
        (("compile", "relu", "--target", "sm_1"), ("sm_1", "sm_90")),
        (("compile", "relu", "--dtype", "int8"), ("int8", "bfloat16")),
        (("generate", "relu", "--into", "/dev/null"), ("/dev/null", "folder")),
        (("no_such_command",), ("no_such_command",)),
        (("tune", "--family", "windows"), ("windows", "contraction", "lanes")),
        (("tune", "--device", "cpu"), ("cpu", "GPU", "--check")),
        (("tune", "--check", "--target", "sm_1"), ("sm_1", "sm_90")),
    ],
)
def test_wrong_calls_exit_with_two_and_a_sentence(
    arguments: tuple[str, ...], words: tuple[str, ...], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    code, _, message = call(*arguments)
    assert code == 2
    assert "Traceback" not in message
    for word in words:
        assert word in message


def test_a_wrong_call_from_the_shell_has_the_same_exit_code() -> None:
    done = run("generate", "no_such_layer")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "no_such_layer" in done.stderr


def test_compile_refuses_the_interpreter(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    code, _, message = call("compile", "relu")
    assert code == 2
    assert "TRITON_INTERPRET" in message


def test_list_shows_every_layer(call: Call) -> None:
    from svertka.spec.layers import DEFINITIONS

    code, printed, _ = call("list")
    assert code == 0
    for name, definition in DEFINITIONS.items():
        assert name in printed
        assert definition.function in printed


def test_check_sees_an_edit(tmp_path: Path) -> None:
    written = run("generate", "relu", "--into", str(tmp_path / "package"))
    assert written.returncode == 0, written.stderr
    kernels = tmp_path / "package" / "kernels" / "relu.py"
    assert run("generate", "relu", "--check", "--into", str(tmp_path / "package")).returncode == 0
    kernels.write_text(kernels.read_text().replace("0.0", "0.5"))
    done = run("generate", "relu", "--check", "--into", str(tmp_path / "package"))
    assert done.returncode == 1
    assert "kernels/relu.py: differs" in done.stdout


def test_slides_come_out(call: Call) -> None:
    code, printed, _ = call("slides")
    assert code == 0, printed
    assert " 0 do not come out" in printed


def rows_of(printed: str) -> dict[str, list[str]]:
    """The cells of each row of the first table, by the first cell."""
    first = printed.split("└")[0]
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in first.splitlines() if line.startswith("│")
    ]
    return {row[0]: row[1:] for row in rows}


def test_validate_prints_a_row_a_layer_and_a_column_a_level() -> None:
    done = run("validate", "relu", "softmax")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert rows.keys() == {"relu", "relu_gradient", "softmax", "softmax_gradient"}
    for row in rows.values():
        assert len(row) == len(LEVELS)
    numbers = [int(cell.split()[0]) for cell in rows["relu"]]
    assert all(number > 0 for number in numbers)
    assert rows["softmax"][list(LEVELS).index("exact")] == "- (it rounds whole numbers)"
    assert "observed error / bound" in done.stdout


def test_validate_takes_levels(call: Call) -> None:
    code, printed, _ = call("validate", "relu", "--level", "adjoint")
    assert code == 0
    assert len(rows_of(printed)["relu"]) == 1
    code, _, message = call("validate", "relu", "--level", "hope")
    assert code == 2
    assert "level 'hope': there is no such level; use adjoint" in message


def test_a_certificate_is_of_its_kernels(tmp_path: Path) -> None:
    """Kernels without a certificate, or with one of other kernels, are validated anew and not waved through."""
    folder = tmp_path / "package"
    assert run("generate", "relu", "--into", str(folder)).returncode == 0
    path = folder / "kernels" / "relu.json"
    content = json.loads(path.read_text())
    assert content["formulas"]["relu"].keys() == LEVELS.keys()
    again = run("generate", "relu", "--into", str(folder))
    assert "0 changed, 0 layers validated" in again.stdout
    content["digests"]["kernels"] = "0" * 32
    path.write_text(json.dumps(content))
    done = run("generate", "relu", "--check", "--into", str(folder))
    assert done.returncode == 1
    assert "kernels/relu.json: not of these kernels" in done.stdout
    path.write_text("{")
    mended = run("generate", "relu", "--into", str(folder))
    assert "1 changed, 1 layers validated" in mended.stdout
    assert run("generate", "relu", "--check", "--into", str(folder)).returncode == 0
