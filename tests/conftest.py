"""Settings of all tests: Triton's interpreter or the GPU, and property tests that are the same every time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("svertka", deadline=None, derandomize=True, database=None)
settings.load_profile("svertka")


def _on_gpu() -> bool:
    """Whether kernels shall run on a GPU: it is asked for, and it is there."""
    if os.environ.get("SVERTKA_DEVICE") != "cuda":
        return False
    import torch

    return torch.cuda.is_available()


if not _on_gpu():  # Triton reads this when it is imported, which is later
    os.environ["TRITON_INTERPRET"] = "1"
