"""Every stage once, with the installed versions: `make oldest` runs it with the oldest supported ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import triton
import triton.language

import svertka.generated
from svertka.generated import functional

COMMITTED = Path(svertka.generated.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
FAMILIES = {"pointwise": "relu", "row": "softmax", "window": "average_pooling_1d", "contraction": "linear"}


def svertka_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``svertka`` in a separate process, without the interpreter's variable."""
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=inherited)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_is_derived_proven_and_written_with_the_committed_bytes(family: str, tmp_path: Path) -> None:
    """Into a temporary folder, so that every level checks it again; its bytes do not depend on versions.

    The library's gradient of the gradient is made on demand: it has the bytes that its certificate names.
    """
    name = FAMILIES[family]
    done = svertka_command("generate", name, "--into", str(tmp_path / "package"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 layers validated" in done.stdout
    written = sorted((tmp_path / "package").rglob("*.py"))
    assert tmp_path / "package" / "kernels" / f"{name}_gradient.py" in written
    name_of = {path: path.relative_to(tmp_path / "package") for path in written}
    compared = [path for path in written if (COMMITTED / name_of[path]).exists() and path.parent.name == "kernels"]
    assert len(compared) > 1
    for path in compared:
        assert path.read_bytes() == (COMMITTED / name_of[path]).read_bytes(), path.name
    unchanged = svertka_command("generate", name, "--check")
    assert unchanged.returncode == 0, unchanged.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES.values())
def test_kernels_compile_without_spills(name: str) -> None:
    done = svertka_command("compile", name, "--target", "sm_90", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["dtype"] for row in rows} == {"bfloat16", "float32"}
    assert [row["kernel"] for row in rows if row["spills"]] == []


def test_the_road_of_cpu_tensors() -> None:
    """The gradient of the sum of a linear layer's outputs is known exactly."""
    image = torch.arange(12.0, dtype=torch.float64).reshape(3, 4).requires_grad_()
    weight = torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    result = functional.linear(image, weight)
    assert torch.equal(result, image @ weight.T)
    result.sum().backward()
    assert image.grad is not None
    assert torch.equal(image.grad, weight.sum(0).expand(3, 4))


def test_state_is_replaced_on_the_road_of_cpu_tensors() -> None:
    image, mean, variance = torch.tensor([[1.0], [3.0], [8.0]]), torch.zeros(1), torch.ones(1)
    result = functional.batch_norm(image, mean, variance, training=True, momentum=0.5)
    expected = torch.nn.functional.batch_norm(image, None, None, training=True)
    assert torch.allclose(result, expected, rtol=1e-6, atol=1e-6)
    assert (mean.item(), variance.item()) == (2.0, 7.0)  # halves of 0 and 4, of 1 and 13


def released(version: str) -> tuple[int, ...]:
    """A version's numbers, without zeros at the end."""
    numbers = [int(part) for part in version.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    """The versions that `make oldest` tests are the lower bounds in pyproject.toml, for every dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = dict(re.fullmatch(r"([\w-]+)>=([\d.]+).*", one).groups() for one in told if not one.startswith("svertka["))  # type: ignore[union-attr]
    lines = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").split()
    pins = dict(line.split("==") for line in lines)
    assert len(bounds) > 15
    assert {name: released(pin) for name, pin in pins.items()} == {n: released(bound) for n, bound in bounds.items()}


def test_kernels_use_nothing_of_triton_that_its_oldest_version_lacks() -> None:
    """The names are listed in a file, so that newer versions hide no missing one; the oldest checks the list."""
    (oldest,) = re.findall(r"^triton==(.+)$", (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8"), re.MULTILINE)
    known = set((ROOT / ".ci" / f"language-{oldest}.txt").read_text(encoding="utf-8").split())
    if released(triton.__version__) == released(oldest):
        assert known <= set(dir(triton.language))
    every = (*COMMITTED.rglob("*"), *(ROOT / "codegen").rglob("*"))
    sources = [path for path in every if path.suffix in {".py", ".jinja"}]
    used = {name for path in sources for name in re.findall(r"\btl\.(\w+)", path.read_text(encoding="utf-8"))}
    assert len(used) > 20
    assert used <= known
