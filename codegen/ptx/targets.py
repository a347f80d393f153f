"""For which GPUs the level "compiled" executes kernels; read without torch or Triton."""

from __future__ import annotations

__all__ = ["COLUMNS", "NAME", "TARGETS"]

NAME = "compiled"
TARGETS = ("sm_80", "sm_90")
COLUMNS = tuple(f"{NAME} {target}" for target in TARGETS)  # names of the level's outcomes
