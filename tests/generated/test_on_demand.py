"""Gradients of gradients that are made when they are first asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from svertka.codegen.driver import on_demand
from svertka.codegen.driver.certificate import certificate_path
from svertka.codegen.driver.generate import PACKAGE, digest
from svertka.generated.on_demand import NAMES
from svertka.spec.gradient import gradient_definition, gradient_name
from svertka.spec.layers import DEFINITIONS

TWICE = """
import sys, torch
from svertka.generated import functional
x = torch.tensor([[-1.0, 0.5, 2.0], [3.0, -0.25, 1.5]], dtype=torch.float64, requires_grad=True)
made = functional.{function}(x, {arguments}).square().sum()
(first,) = torch.autograd.grad(made, x, create_graph=True)
print("sympy generator" if "svertka.codegen.lowering" in sys.modules else "cache")
(second,) = torch.autograd.grad(first.square().sum(), x)
print(second.flatten().tolist())
"""
RELU = TWICE.format(function="relu", arguments="")


def python(program: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, "SVERTKA_CACHE": str(cache), **environment},
    )


def test_every_gradient_that_can_be_differentiated_is_made_and_none_is_on_disk() -> None:
    assert set(NAMES) == {gradient_name(d) for d in DEFINITIONS.values() if d.orders > 1}
    assert [
        path.name for part in ("kernels", "formulas", "gradients") for path in (PACKAGE / part).glob("*_gradient.py")
    ] == []


@pytest.mark.thinned(4)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_is_what_the_certificate_names(name: str) -> None:
    gradient, sources = on_demand._sources(name)
    shown = json.loads((PACKAGE / certificate_path(gradient)).read_text(encoding="utf-8"))
    assert shown["layer"] == name
    assert shown["digests"]["kernels"] == digest(sources[f"kernels/{name}.py"])
    assert shown["formulas"].keys() == {variant.layer.name for variant in gradient.variants}
    assert sources.keys() == {f"{part}/{name}.py" for part in ("kernels", "formulas", "gradients")}


def test_a_first_process_makes_it_and_a_second_one_imports_it_without_the_generator(tmp_path: Path) -> None:
    """The second gradient of the sum of squares of positive elements: 8 x, of others 0."""
    first, second = python(RELU, tmp_path), python(RELU, tmp_path)
    for done, way in ((first, "sympy generator"), (second, "cache")):
        assert done.returncode == 0, done.stderr[-2000:]
        told, numbers = done.stdout.splitlines()
        assert told == way
        assert json.loads(numbers) == [0.0, 4.0, 16.0, 24.0, 0.0, 12.0]


@pytest.mark.slow
def test_processes_that_need_it_at_once_make_it_once(tmp_path: Path) -> None:
    program = TWICE.format(function="softmax", arguments="dim=1")
    with ThreadPoolExecutor(3) as pool:
        every = list(pool.map(lambda _: python(program, tmp_path), range(3)))
    assert [done.returncode for done in every] == [0, 0, 0], every[0].stderr[-2000:]
    assert len({done.stdout.splitlines()[1] for done in every}) == 1
    assert len([path for path in (tmp_path / "softmax_gradient").iterdir() if path.is_dir()]) == 1


def test_a_cache_that_cannot_be_written_to_is_named_with_what_to_do(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file", encoding="utf-8")
    done = python(RELU, taken)
    assert done.returncode != 0
    assert f"SVERTKA_CACHE {taken}" in done.stderr
    assert "is a file; name a folder" in done.stderr


def _other_package(folder: Path, name: str) -> None:
    """The certificate of other kernels, as another version of the generator would have left it."""
    gradient = gradient_definition(DEFINITIONS[name])
    path = folder / certificate_path(gradient)
    path.parent.mkdir(parents=True)
    content: dict[str, Any] = json.loads((PACKAGE / certificate_path(gradient)).read_text(encoding="utf-8"))
    content["digests"]["kernels"] = "0" * 32
    path.write_text(json.dumps(content), encoding="utf-8")
    for source in PACKAGE.rglob("*.py"):
        copy = folder / source.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())


def test_other_kernels_than_the_certificate_names_are_proven_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _other_package(tmp_path / "package", "relu")
    monkeypatch.setattr(on_demand, "PACKAGE", tmp_path / "package")
    monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path / "cache"))
    proven = on_demand.second_order("relu_gradient", tmp_path / "cache" / "relu_gradient" / "certified")
    assert proven.name == "second_order"
    assert (proven / "kernels" / "relu_gradient.py").exists()
    assert not (tmp_path / "cache" / "relu_gradient" / "certified").exists()


def test_kernels_that_are_wrong_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient, sources = on_demand._sources("relu_gradient")
    path = "kernels/relu_gradient.py"
    faulty = sources[path].replace("input_value <= 0.0", "input_value <= 1.0")
    assert faulty != sources[path]
    monkeypatch.setattr(on_demand, "_sources", lambda name: (gradient, sources | {path: faulty}))
    assert on_demand.main("relu_gradient", str(tmp_path / "made")) == 1
    assert "source: " in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
