"""The paths of tensors: the NumPy reference, Triton's interpreter, the GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from svertka.codegen.verify.levels import bfloat16
from svertka.generated import runtime

# The shapes are small: several threads would be slower.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _rounding_of_bfloat16() -> Iterator[None]:
    """Correct the interpreter's casts of bfloat16; see ``bfloat16``."""
    with bfloat16.repaired_on("cpu" if runtime.INTERPRETED else "cuda"):
        yield


ROADS = ["reference", *(["interpreter"] if runtime.INTERPRETED else ["device"] * torch.cuda.is_available())]


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let tensors of the CPU take one path; the name of the path."""
    monkeypatch.setattr(runtime, "INTERPRETED", request.param == "interpreter")
    return str(request.param)


@pytest.fixture
def device(road: str) -> str:
    """The device of tensors on this path."""
    return "cuda" if road == "device" else "cpu"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> str:
    """The device for tests that hold on every path: the GPU, else the CPU on the fastest path."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    return "cuda" if "device" in ROADS else "cpu"
