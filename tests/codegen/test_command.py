"""The command line: exit codes, messages without tracebacks, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import svertka
from svertka.codegen.command import plain
from svertka.codegen.verify.levels import LEVELS

Call = Callable[..., tuple[int, str, str]]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``svertka`` in a separate process, without the interpreter's variable."""
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


def test_check_sees_an_edit_and_a_certificate_of_other_kernels(tmp_path: Path, call: Call) -> None:
    """Kernels without a certificate, or with one for other kernels, are validated again."""
    folder = tmp_path / "package"
    relu, into = folder / "kernels" / "relu.py", ("--into", str(folder))
    written = run("generate", "relu", *into)
    assert written.returncode == 0, written.stderr
    code, printed, _ = call("generate", "relu", "--check", *into)
    assert code == 0, printed
    sound = relu.read_text()
    relu.write_text(sound.replace("0.0", "0.5"))
    code, printed, _ = call("generate", "relu", "--check", *into)
    assert code == 1
    assert "kernels/relu.py: differs" in printed
    relu.write_text(sound)

    path = folder / "kernels" / "relu.json"
    content = json.loads(path.read_text())
    assert content["formulas"]["relu"].keys() == LEVELS.keys()
    assert "0 changed, 0 layers validated" in call("generate", "relu", *into)[1]
    content["digests"]["kernels"] = "0" * 32
    path.write_text(json.dumps(content))
    code, printed, _ = call("generate", "relu", "--check", *into)
    assert code == 1
    assert "kernels/relu.json: not of these kernels" in printed
    path.write_text("{")
    assert "1 changed, 1 layers validated" in call("generate", "relu", *into)[1]
    assert call("generate", "relu", "--check", *into)[0] == 0


CHECK = """
import sys
sys.argv = ["svertka", "generate", "relu", "--check"]
from svertka.codegen.command import main
try:
    main()
finally:
    print(sorted({"torch", "triton"} & set(sys.modules)))
"""


def test_a_check_of_what_did_not_change_imports_neither_torch_nor_triton() -> None:
    """They take longer to import than everything else takes; the first check may look something up in torch."""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


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


def test_validate_prints_a_row_a_layer_and_a_column_a_level(call: Call) -> None:
    code, printed, message = call("validate", "relu", "softmax")
    assert code == 0, message
    rows = rows_of(printed)
    assert rows.keys() == {"relu", "relu_gradient", "softmax", "softmax_gradient"}
    for row in rows.values():
        assert len(row) == len(LEVELS)
    numbers = [int(cell.split()[0]) for cell in rows["relu"][: len(LEVELS)]]
    assert all(number > 0 for number in numbers)
    assert rows["softmax"][list(LEVELS).index("exact")] == "- (it rounds whole numbers)"
    assert "observed error / bound" in printed


@pytest.mark.slow
def test_validate_takes_levels(call: Call) -> None:
    code, printed, _ = call("validate", "relu", "--level", "adjoint")
    assert code == 0
    assert len(rows_of(printed)["relu"]) == 1
    code, _, message = call("validate", "relu", "--level", "hope")
    assert code == 2
    assert "level 'hope': there is no such level; use adjoint" in message


@pytest.mark.thinned(6)
@pytest.mark.parametrize("command", ["generate", "validate", "compile", "gate", "explain", "book"])
def test_a_mistyped_layer_is_answered_before_anything_is_imported_for_it(command: str, tmp_path: Path) -> None:
    """With a suggestion; no kernel is built, torch and Triton are not even imported."""
    code = (
        "import sys\nfor name in ('torch', 'triton'): sys.modules[name] = None\n"
        "from svertka.codegen.command import main\n"
        f"sys.argv = ['svertka', {command!r}, 'convolutoin_2d']\nmain()\n"
    )
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=inherited, cwd=root
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert "layer 'convolutoin_2d': there is no such layer; did you mean convolution_2d" in done.stderr
    assert "svertka list" in done.stderr


@pytest.mark.parametrize(
    ("name", "meant"), [("conv2d", "convolution_2d"), ("MaxPool2d", "max_pooling_2d"), ("sofmax", "softmax")]
)
def test_names_of_functions_and_modules_lead_to_their_layer(name: str, meant: str, call: Call) -> None:
    code, _, message = call("explain", name)
    assert code == 2
    assert f"did you mean {meant}" in message


@pytest.mark.thinned(4)
@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1251"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=lambda locale: next(iter(locale.values())),
)
def test_formulas_are_spelled_where_letters_cannot_be_written(locale: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "svertka.codegen", "explain", "cross_channel_normalization"],
        capture_output=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | locale,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = done.stdout.decode("cp1251" if locale.get("PYTHONIOENCODING") == "cp1251" else "ascii")
    assert "sum_j input[n, c', m]^2" in printed
    assert "alpha" in printed
    assert "?" not in printed


def test_an_error_in_letters_that_cannot_be_written_is_no_traceback() -> None:
    done = run("explain", "слой", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "there is no such layer" in done.stderr


@pytest.mark.parametrize(
    ("letters", "expected"),
    [("x²", "x^2"), ("x¹²", "x^12"), ("β·γ ≤ Ω", "beta*gamma <= Omega"), ("c′ₕ", "c'h"), ("я", "?")],
)
def test_spelling(letters: str, expected: str) -> None:
    plain.spell_what_cannot_be_written()
    assert letters.encode("ascii", plain.HANDLER).decode() == expected


def test_version(call: Call) -> None:
    code, printed, _ = call("--version")
    assert (code, printed) == (0, f"svertka {svertka.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gate", "relu", "--table", "no/such/table.json"), ("--table no/such/table.json", "repository", "--update")),
        (("gate", "--update", "--table", "/dev/null/table.json"), ("--table /dev/null", "is a file")),
        (("book", "relu", "--into", "/dev/null/book"), ("--into /dev/null/book", "is a file")),
        (("train", "lenet", "--into", "/dev/null/run"), ("--into /dev/null/run", "is a file")),
        (("generate", "relu", "--into", "/proc/none/package"), ("--into /proc/none", "nothing can be written")),
        (("generate", "examples/losses.py", "--into", "class"), ("class is a keyword of Python", "class_layers")),
    ],
)
def test_what_cannot_end_well_is_refused_before_any_work(
    arguments: tuple[str, ...], words: tuple[str, ...], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    for place in (
        "machine.gate.measured",
        "machine.launch_coverage.survey",
        "driver.generate.built_together",
        "book.site.pages",
    ):
        monkeypatch.setattr(f"svertka.codegen.{place}", work)
    monkeypatch.setattr("svertka.networks.training.train", work)
    code, _, message = call(*arguments)
    assert code == 2, message
    for word in words:
        assert word in message


WITHOUT_RUFF = """
import sys
sys.modules["ruff"] = None
sys.argv = ["svertka", {arguments}]
from svertka.codegen.command import main
main()
"""


def without_ruff(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``svertka`` in a process where ruff cannot be imported."""
    code = WITHOUT_RUFF.format(arguments=", ".join(map(repr, arguments)))
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**inherited, **environment}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "relu", "--level", "exact"),
        ("explain", "relu"),
        ("slides",),
        ("compile", "relu", "--target", "sm_90", "--dtype", "float32", "--row-major"),
        ("bench", "--predict", "--only", "relu"),
        ("tune", "--check", "--target", "sm_90", "--family", "lanes"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_only_files_that_are_kept_need_ruff(arguments: tuple[str, ...]) -> None:
    done = without_ruff(*arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout or arguments[0] == "tune"


def test_files_that_are_kept_are_not_written_without_ruff(tmp_path: Path) -> None:
    done = without_ruff("generate", "relu", "--into", str(tmp_path / "package"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "formatted by ruff, which is not installed" in done.stderr
    assert not (tmp_path / "package").exists()


UNFORMATTED = """
import sys
import torch
from svertka.codegen import layer_module
from svertka.spec import Equation, Layer, Tensor, axis

i = axis("i", many=True)
x, y = Tensor("input", i), Tensor("output", i)
module = layer_module(Layer("tripled", (x,), (Equation(y, 3 * x[i]),), ("output",)))
print(module()(torch.tensor([1.0, 2.0])).tolist(), "ruff" in sys.modules)
"""


@pytest.mark.slow
def test_a_layer_made_on_the_fly_needs_no_ruff(tmp_path: Path) -> None:
    """Neither in the calling process nor in the one that generates it, where ruff's program is hidden."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ruff.py").write_text("raise ImportError('hidden')\n")
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    found = os.pathsep.join([str(hidden), *filter(None, [inherited.get("PYTHONPATH", "")])])
    done = subprocess.run(
        [sys.executable, "-c", UNFORMATTED],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, "PYTHONPATH": found, "SVERTKA_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[0] == "[3.0, 6.0] False"


def test_an_unwritable_cache_is_refused_before_anything_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    from svertka.codegen import layer_module
    from svertka.spec import Equation, Layer, Tensor, axis

    i = axis("i", many=True)
    x, y = Tensor("input", i), Tensor("output", i)
    monkeypatch.setenv("SVERTKA_CACHE", "/dev/null/cache")
    with pytest.raises(ValueError, match=r"SVERTKA_CACHE.*/dev/null is a file; name a folder"):
        layer_module(Layer("tripled", (x,), (Equation(y, 3 * x[i]),), ("output",)))


@pytest.mark.parametrize("broken", ["[[", '["one"]'])
def test_list_does_not_trust_what_it_kept(
    broken: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path))
    printed = call("list")[1]
    (kept,) = tmp_path.rglob("*.pickle")
    assert call("list")[1] == printed
    kept.write_text(broken)
    assert call("list")[1] == printed


def test_list_has_every_function() -> None:
    """Also those over several layers, as interpolate."""
    from svertka.codegen.driver.listing import listed
    from svertka.generated import functional

    rows = {row[1]: row for row in listed()}
    assert rows.keys() >= {*functional.__all__}
    assert rows["interpolate"][2].startswith("Upsample")
