"""What the tests of the code generator share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from svertka.codegen.verify.levels import bfloat16

# The shapes are small: threads would only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device() -> str:
    """Where kernels run: ``"cpu"`` in the interpreter."""
    return "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@pytest.fixture(autouse=True, scope="session")
def _rounding_of_bfloat16(device: str) -> Iterator[None]:
    """The interpreter's casts of bfloat16 are wrong; see ``bfloat16``."""
    with bfloat16.repaired_on(device):
        yield
