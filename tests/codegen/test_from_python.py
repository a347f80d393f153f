"""One call from a formula to a layer, in processes like users' ones: without Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from svertka.codegen.driver.from_python import certificate_of, definition_folder, layer_function, layer_module
from svertka.codegen.verify.levels import LEVELS
from svertka.spec import Equation, Layer, Tensor, axis, define, number

FORMULA = """
from sympy import exp
from svertka.spec import Equation, Layer, Tensor, axis, define, number
i = axis("i", many=True)
x, y = Tensor("input", i), Tensor("output", i)
bell = Layer("bell", (x,), (Equation(y, exp(-number("scale") * x[i] ** 2)),), ("output",))
"""
CALL = """
import time, torch
from svertka.codegen import certificate_of, layer_function, layer_module
start = time.perf_counter()
Bell = layer_module(bell)
print("seconds", time.perf_counter() - start)
values = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64, requires_grad=True)
result = Bell(0.5)(values)
result.sum().backward()
few = 4 * torch.finfo(torch.float64).eps  # each side: a unit for exp, half of one for a product
assert torch.allclose(result, torch.exp(-values**2 / 2), rtol=few, atol=0), result
assert torch.allclose(values.grad, -values * torch.exp(-values**2 / 2), rtol=few, atol=0), values.grad
assert layer_function(bell)(values, 0.5).equal(result)
assert layer_module(bell) is Bell
print("certificate", certificate_of(bell))
"""


def python(code: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script in a separate process; the script has no guard against being run again by a child."""
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    script = cache / "script.py"
    cache.mkdir(exist_ok=True, parents=True)
    script.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)],
        env={**inherited, "SVERTKA_CACHE": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str], word: str) -> str:
    assert done.returncode == 0, done.stderr
    return next(line.removeprefix(word).strip() for line in done.stdout.splitlines() if line.startswith(word))


def test_one_call_makes_a_proven_layer_and_the_second_only_imports(tmp_path: Path) -> None:
    first = python(FORMULA + CALL, tmp_path)
    certificate = json.loads(Path(said(first, "certificate")).read_text(encoding="utf-8"))
    assert certificate["formulas"]["bell"].keys() == LEVELS.keys()
    made = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.py") if path.name != "script.py")
    again = python(FORMULA + CALL, tmp_path)
    assert float(said(again, "seconds")) < float(said(first, "seconds"))
    assert made == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.py") if path.name != "script.py")


@pytest.mark.slow
def test_several_processes_may_ask_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FORMULA + CALL, encoding="utf-8")
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    running = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**inherited, "SVERTKA_CACHE": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    folders = [path for path in (tmp_path / "cache" / "bell").iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert [path.name for path in folders[0].iterdir() if path.is_dir()] == ["proven"]


@pytest.mark.slow
def test_without_validation_there_is_no_certificate(tmp_path: Path) -> None:
    code = "from svertka.codegen import certificate_of, layer_module\nlayer_module(bell, validate=False)\n"
    done = python(FORMULA + code + "certificate_of(bell)\n", tmp_path)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    assert "has no certificate yet" in done.stderr


@pytest.mark.slow
def test_what_misses_its_formula_is_not_kept(tmp_path: Path) -> None:
    """A fault in the copy of the generator that a child imports is found by the levels and reported."""
    fault = tmp_path / "fault" / "sitecustomize.py"
    fault.parent.mkdir()
    fault.write_text(
        "import sys\n"
        "if 'svertka.codegen.driver.from_python' in ' '.join(sys.orig_argv):\n"
        "    from svertka.codegen.emit import triton_printer\n"
        "    triton_printer._BINARY['multiply'] = (6, '+')\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(fault.parent), os.environ.get("PYTHONPATH", "")])
    done = python(FORMULA + CALL, tmp_path / "cache", PYTHONPATH=path)
    assert done.returncode == 1
    assert "layer bell: nothing was generated" in done.stderr
    assert "source: " in done.stderr
    assert not list((tmp_path / "cache").rglob("kernels"))


def scaled(many: bool = True, positive: bool = False, **face: str) -> Path:
    """The folder of a formula's package."""
    i = axis("i", many=many)
    x, y = Tensor("input", i), Tensor("output", i)
    layer = Layer("scaled", (x,), (Equation(y, x[i] * number("factor", positive=positive)),), ("output",))
    return definition_folder(define(layer, **face))  # type: ignore[arg-type]


def test_what_differs_has_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also if the formula's text is the same: axes and parameters have more properties than their names."""
    monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path))
    others = [scaled(many=False), scaled(positive=True), scaled(title="Another."), scaled(function="times")]
    assert len({scaled(), *others}) == 5
    assert scaled() == scaled()
    start = time.perf_counter()
    scaled()
    assert time.perf_counter() - start < 1.0  # the generator's digest is computed once per process


@pytest.mark.parametrize("given", [3, None, "relu", number("scale") ** 2], ids=repr)
def test_what_is_no_formula_is_refused(given: Any) -> None:
    for ask in (layer_module, layer_function, certificate_of):
        with pytest.raises(TypeError, match=r"layer=.* must be a Layer or what define"):
            ask(given)


def test_a_formula_without_a_module_says_so() -> None:
    from dataclasses import replace

    from svertka.codegen import layer_module

    i = axis("i", many=True)
    x, y = Tensor("input", i), Tensor("output", i)
    bare = replace(define(Layer("same", (x,), (Equation(y, x[i]),), ("output",))), modules=())
    with pytest.raises(ValueError, match="call layer_function"):
        layer_module(bare)


MODEL = """
import importlib, multiprocessing, sys, torch
from svertka.codegen import layer_module

def work(model):
    return model(torch.ones(2)).tolist()

if __name__ == "__main__":
    model = torch.nn.Sequential(layer_module(bell, validate=False)(0.5))
    torch.save(model, sys.argv[0] + ".model")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("worker", pool.map_async(work, [model]).get(timeout=240) == [work(model)])
    package = importlib.import_module(type(model[0]).__module__.removesuffix(".modules"))
    for name in ("library", "views", "runtime", "functional", "modules"):
        importlib.reload(importlib.import_module(f"{package.__name__}.{name}"))
    again = importlib.reload(package)
    compiled = torch.compile(again.functional.bell, fullgraph=True, backend="eager")
    values = torch.ones(2)
    print("again", compiled(values, 0.5).tolist() == again.functional.bell(values, 0.5).tolist() == work(model))
"""
LOADED = """
import sys, torch
model = torch.load(sys.argv[0] + ".model", weights_only=False)
print("loaded", model(torch.ones(2)).allclose(torch.exp(-torch.ones(2) / 2)))
"""


@pytest.mark.slow
def test_a_model_goes_to_other_processes_and_its_package_is_loaded_again(tmp_path: Path) -> None:
    """Saved and loaded where nothing of svertka was imported; sent to a spawned worker; reloaded module by module."""
    done = python(FORMULA + MODEL, tmp_path)
    assert said(done, "worker") == "True"
    assert said(done, "again") == "True"
    assert said(python(LOADED, tmp_path), "loaded") == "True"
    elsewhere = python(LOADED, tmp_path, SVERTKA_CACHE=str(tmp_path / "empty"))
    assert elsewhere.returncode == 1
    *_, last = elsewhere.stderr.splitlines()
    assert last.startswith("ModuleNotFoundError: bell is not in ")
    assert "call layer_module with the same formula here, or copy its cache" in last
