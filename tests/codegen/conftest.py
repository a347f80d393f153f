"""Shared fixtures of the code generator's tests."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from svertka.codegen.verify.levels import bfloat16

# The shapes are small: several threads would be slower.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device() -> str:
    """The device of the kernels: ``"cpu"`` in the interpreter."""
    return "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@pytest.fixture(autouse=True, scope="session")
def _rounding_of_bfloat16(device: str) -> Iterator[None]:
    """Correct the interpreter's casts of bfloat16; see ``bfloat16``."""
    with bfloat16.repaired_on(device):
        yield


@pytest.fixture(params=["kernels", "cpu"])
def functions(request: pytest.FixtureRequest, package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Functions of the module fixture ``package``: by kernels in the interpreter, and as CPU tensors run them."""
    if request.param == "cpu":
        monkeypatch.setattr(importlib.import_module(f"{package.__name__}.runtime"), "INTERPRETED", False)
    return package.functional
