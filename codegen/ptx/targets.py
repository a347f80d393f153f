"""For which GPUs the level "compiled" executes kernels; read without torch or Triton."""

from __future__ import annotations

__all__ = ["COLUMNS", "NAME", "SYMBOLS", "TARGETS"]

NAME = "compiled"
SYMBOLS = "symbols"  # the part of the level on expressions
TARGETS = ("sm_80", "sm_90")
COLUMNS = tuple(f"{NAME} {target}" for target in TARGETS)  # names of the level's outcomes
