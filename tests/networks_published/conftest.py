"""Tensors of the CPU use the reference unless a test asks for kernels."""

from __future__ import annotations

import pytest
import torch

from svertka.generated import runtime

torch.set_num_threads(1)
INTERPRETED = runtime.INTERPRETED


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels run in Triton's interpreter."""
    if not INTERPRETED:
        pytest.skip("kernels run on the device here; tests/generated has them")
    monkeypatch.setattr(runtime, "INTERPRETED", True)
