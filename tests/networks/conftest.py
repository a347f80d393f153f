"""The CPU path, and the kernel path in Triton's interpreter or on the GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from svertka.codegen.verify.levels import bfloat16
from svertka.generated import runtime

INTERPRETED = runtime.INTERPRETED

# Most shapes are small: several threads would be slower.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the CPU use the reference unless a test asks for kernels."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The device on which kernels run: the CPU in Triton's interpreter, else the GPU."""
    monkeypatch.setattr(runtime, "INTERPRETED", INTERPRETED)
    device = "cpu" if INTERPRETED else "cuda"
    with bfloat16.repaired_on(device):
        yield device
