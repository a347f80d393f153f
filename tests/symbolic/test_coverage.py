"""Level "source" runs every statement of every kernel, and says which it did not run."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from svertka.codegen.lowering.built import built
from svertka.codegen.verify.levels import LEVELS, Subject
from svertka.codegen.verify.symbolic.coverage import Coverage, marking
from svertka.spec.layers import DEFINITIONS

KERNEL = '''
import triton
import triton.language as tl


@triton.jit
def scaled(input_ptr, output_ptr, FACTOR: tl.constexpr, BLOCK: tl.constexpr):
    """Multiply."""
    lane = tl.arange(0, BLOCK if FACTOR > 1 else 2 * BLOCK)
    value = tl.load(input_ptr + lane)
    if FACTOR > 2:
        value = value * FACTOR
    else:
        for _ in range(FACTOR - 2):
            value += value
    tl.store(output_ptr + lane, value)
'''


def _missed(tmp_path: Path, *factors: int) -> list[str]:
    path = tmp_path / "kernels_under_test.py"
    path.write_text(KERNEL)
    spec = importlib.util.spec_from_file_location("kernels_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    coverage = Coverage()
    given, found = torch.arange(4.0), torch.zeros(4)
    with marking(coverage, ()):
        for factor in factors:
            module.scaled[(1,)](given, found, FACTOR=factor, BLOCK=4 if factor > 1 else 2)
            assert found.tolist() == (given * (factor if factor > 2 else 1)).tolist()
    return [line.removeprefix("scaled: ") for line in coverage.missed()]


def test_statements_and_values_that_did_not_run_are_named(tmp_path: Path) -> None:
    assert _missed(tmp_path, 3) == [
        "'2 * BLOCK' ran in no case",
        "'for _ in range(FACTOR - 2):' ran in no case",
        "'value += value' ran in no case",
    ]
    assert _missed(tmp_path, 1) == [
        "'BLOCK' ran in no case",
        "'value = value * FACTOR' ran in no case",
        "'value += value' ran in no case",
    ]
    assert _missed(tmp_path, 3, 2, 1) == ["'value += value' ran in no case"]


def test_a_kernel_that_did_not_run_is_not_judged(tmp_path: Path) -> None:
    assert _missed(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["convolution_1d", "convolution_2d"])
def test_a_level_that_runs_less_fails(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no sum of boxes is split, the statements that add parts up have not run."""

    @contextmanager
    def nothing(kernels: Any) -> Iterator[None]:
        yield

    module = built(DEFINITIONS[layer])
    subject = Subject(module, module.definition.variants[0], "svertka.generated")
    sound = LEVELS["source"](subject)
    assert sound.failures == ()
    assert sound.figures["statements"] > 10 * len(sound.figures["kernels"])
    monkeypatch.setattr(importlib.import_module("svertka.codegen.verify.symbolic.prove"), "in_parts", nothing)
    failures = LEVELS["source"](subject).failures
    assert failures
    assert all("ran in no case" in line and "_boxes" in line for line in failures)
