"""``svertka validate --compiled``: what was executed is on record by digest, and only what changed is executed anew."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from svertka.codegen.driver.certificate import COMPILED
from svertka.codegen.driver.compiled import package_sources
from svertka.codegen.driver.generate import PACKAGE
from svertka.codegen.driver.record import problem, recorded
from svertka.codegen.ptx.targets import TARGETS
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS


def run(*arguments: str, interpreted: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if interpreted:
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "svertka.codegen", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of one small layer with its certificates, without a record of executions."""
    folder = tmp_path_factory.mktemp("own") / "package"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.glob("kernels/*.json"):
        content = json.loads(path.read_text())
        content.pop(COMPILED, None)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return folder


def record(package: Path, name: str = "relu") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((package / "kernels" / f"{name}.json").read_text())[COMPILED]
    return found


def test_what_was_executed_is_kept_and_not_executed_anew(package: Path) -> None:
    options = ("validate", "--compiled", "relu", "--package", str(package))
    first = run(*options)
    assert first.returncode == 0, first.stderr[-3000:]
    assert "2 formulas for 2 targets: 4 executed, 0 on record" in first.stdout
    kept = record(package)
    assert kept["formulas"]["relu"].keys() == {"sm_80", "sm_90"}
    for one in kept["formulas"]["relu"].values():
        assert one["kernels"].keys() == {"relu_grad_input", "relu_output"}
        assert one["elements"] > 0
        assert one["tightness"].keys() == {"float32", "float16", "bfloat16", "float64"}
        assert one["symbols"]["kernels"].keys() == one["kernels"].keys()
        assert {proof["region"] for proof in one["symbols"]["proofs"]} == {"distinct samples", "ties"}
        assert (one["symbols"]["unfollowed"], one["symbols"]["functions"]) == ({}, {})
    second = run(*options)
    assert "2 formulas for 2 targets: 0 executed, 4 on record" in second.stdout
    assert record(package) == kept
    cells = re.findall(r"relu +│ (\d+) +│ (\d+) +│", second.stdout)
    assert cells == [tuple(str(one["elements"]) for one in kept["formulas"]["relu"].values())]
    assert "4 executed" in run(*options, "--all").stdout

    # A record that says nothing of symbols holds for numbers, and only what it lacks is executed.
    certificate = package / "kernels" / "relu.json"
    content = json.loads(certificate.read_text())
    for by in content[COMPILED]["formulas"].values():
        del by["sm_80"]["symbols"]
    certificate.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    assert problem(content[COMPILED], package_sources(package, []), DEFINITIONS["relu"]) == ""
    completed = run(*options)
    assert "2 formulas for 2 targets: 0 executed, 4 on record" in completed.stdout
    assert "on symbols: 4 kernels; by numbers alone: 0" in completed.stdout
    assert record(package) == kept

    # A comment alters the compiler's input, not its output: kernels are compiled, and not executed.
    path = package / "kernels" / "relu.py"
    text = path.read_text()
    path.write_text(text.replace("def relu_output(", "# a comment\n# of two lines\ndef relu_output(", 1))
    sources = package_sources(package, [])
    assert problem(kept, sources, DEFINITIONS["relu"]) == "stale: kernels, tiles or sizes have changed since"
    commented = run(*options)
    assert "2 formulas for 2 targets: 0 executed, 4 on record" in commented.stdout
    assert "relu: not kept: its certificate is not of these kernels" in commented.stderr
    path.write_text(text)


def test_a_wrong_kernel_is_found_and_its_record_is_not_renewed(package: Path) -> None:
    path = package / "kernels" / "relu.py"
    text, before = path.read_text(), (package / "kernels" / "relu.json").read_text()
    assert "tl.maximum(" in text
    path.write_text(text.replace("tl.maximum(", "tl.minimum("))
    done = run("validate", "--compiled", "relu", "--package", str(package))
    path.write_text(text)
    assert done.returncode == 1
    assert re.search(r"relu: compiled sm_80: exact: relu-\S+ float32: output\[\d+\]: the kernel gives", done.stderr)
    assert (package / "kernels" / "relu.json").read_text() == before


def test_a_record_of_another_compiler_is_stale(package: Path) -> None:
    definition, path = DEFINITIONS["relu"], package / "kernels" / "relu.json"
    if COMPILED not in json.loads(path.read_text()):
        assert run("validate", "--compiled", "relu", "--package", str(package)).returncode == 0
    text = path.read_text()
    sources = package_sources(package, [])
    assert [one.inapplicable for one in recorded(text, sources, definition)] == ["", ""]
    content = json.loads(text)
    content[COMPILED]["triton"] = "2.0.0"
    (one, _) = recorded(json.dumps(content), sources, definition)
    assert re.match(r"stale: executed as Triton 2\.0\.0 compiles it, this is \d", one.inapplicable)
    assert [o.inapplicable for o in recorded("{", sources, definition)] == ["not executed"] * 2
    del content[COMPILED]["formulas"]["relu"]["sm_80"]
    content[COMPILED]["triton"] = json.loads(text)[COMPILED]["triton"]
    assert recorded(json.dumps(content), sources, definition)[0].inapplicable.startswith("not executed for every")


def test_what_is_on_record_of_the_library_holds() -> None:
    """A record of kernels that changed is no record; what was never executed has none."""
    sources = package_sources(PACKAGE, list(DEFINITIONS.values()))
    found = {}
    for definition in with_gradients(list(DEFINITIONS.values())):
        section = json.loads((PACKAGE / "kernels" / f"{definition.name}.json").read_text()).get(COMPILED, {})
        found[definition.name] = problem(section, sources, definition)
        for formula in section.get("formulas", {}).values():
            assert formula.keys() == {*TARGETS}
            assert all(one["elements"] and one["kernels"] and one["runs"] for one in formula.values())
    assert {*found.values()} <= {"", "not executed"}, found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--compiled", "--level", "exact"), "--level: --compiled is a level by itself"),
        (("--all",), "--all: only what --compiled shows is on record"),
    ],
)
def test_options_that_contradict_are_refused(options: tuple[str, ...], message: str) -> None:
    done = run("validate", "relu", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_interpreter_is_refused() -> None:
    done = run("validate", "relu", "--compiled", interpreted=True)
    assert done.returncode == 2
    assert "TRITON_INTERPRET=1: kernels that run in the interpreter cannot be compiled" in done.stderr
