"""``python -m tests.kernelbench`` writes the table of KernelBench's problems, ``examples/kernelbench/TABLE.md``."""

from __future__ import annotations

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"  # Triton reads this when it is imported

from .table import TABLE, text

if __name__ == "__main__":
    TABLE.write_text(text(lambda line: print(line, file=sys.stderr, flush=True)), encoding="utf-8")
    print(TABLE)
