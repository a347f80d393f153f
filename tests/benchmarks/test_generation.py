"""The cost of generation: ``make benchmark``. Compare medians and ratios within one run only."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.lowering.build import build
from svertka.spec import adjoint
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS


def _forget() -> None:
    """Clear the cache of derivations; the module is hidden by its function of the same name."""
    sys.modules["svertka.spec.adjoint"]._adjoint.cache_clear()


def test_derive_and_print_everything(benchmark: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = iter(range(100))

    def forget() -> None:
        _forget()
        monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path / str(next(folders))))

    package = benchmark.pedantic(lambda: generate_package(list(DEFINITIONS.values())), setup=forget, rounds=3)
    assert len(package.modules) == len(with_gradients(list(DEFINITIONS.values())))


@pytest.mark.usefixtures("own_cache")
def test_generate_and_validate_everything_cold(benchmark: Any, tmp_path: Any) -> None:
    folders = iter(range(100))

    def cold() -> None:
        folder = tmp_path / str(next(folders))
        command = [sys.executable, "-m", "svertka.codegen", "generate", "--into", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    benchmark.pedantic(cold, rounds=1)


@pytest.mark.parametrize("name", ["convolution_1d", "convolution_2d", "convolution_3d", "batch_normalization"])
def test_derive_an_adjoint(benchmark: Any, name: str) -> None:
    """Sizes are symbols here, so the cost does not depend on them."""
    layer = DEFINITIONS[name].variants[0].layer
    derived = benchmark.pedantic(lambda: adjoint(layer), setup=_forget, rounds=20)
    assert derived.outputs


@pytest.mark.parametrize("name", ["convolution_2d", "cross_entropy"])
def test_build_kernels(benchmark: Any, name: str) -> None:
    assert benchmark.pedantic(lambda: build(DEFINITIONS[name]), setup=_forget, rounds=5).kernels


@pytest.mark.parametrize(
    "statement",
    ["import torch, triton", "import torch, triton; from svertka.generated import Conv2d"],
    ids=["torch and triton alone", "with svertka.generated"],
)
def test_import(benchmark: Any, statement: str) -> None:
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", statement], check=True), rounds=3, warmup_rounds=1)
