"""The roads that tensors take: the NumPy reference, Triton's interpreter, the GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from svertka.codegen.verify.levels import bfloat16
from svertka.generated import runtime

# The shapes are small: threads would only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _rounding_of_bfloat16() -> Iterator[None]:
    """The interpreter's casts of bfloat16 are wrong; see ``bfloat16``."""
    with bfloat16.repaired_on("cpu" if runtime.INTERPRETED else "cuda"):
        yield


ROADS = ["reference", *(["interpreter"] if runtime.INTERPRETED else ["device"] * torch.cuda.is_available())]


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send tensors of the CPU down one road; the name of the road."""
    monkeypatch.setattr(runtime, "INTERPRETED", request.param == "interpreter")
    return str(request.param)


@pytest.fixture
def device(road: str) -> str:
    """Where tensors lie on this road."""
    return "cuda" if road == "device" else "cpu"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> str:
    """The device where the road makes no difference: the GPU, else the CPU by the road that takes least time."""
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    return "cuda" if "device" in ROADS else "cpu"
