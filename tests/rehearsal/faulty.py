"""Items that end in all ways possible on a GPU: normally, by an exception, a crash, a hang, an invalid context."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ON_GPU = False


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Do what the item asks for."""
    for name, act in ACTS.items():
        if name == item["does"]:
            return act(item) or {"seen": item["shared"], "process": os.getpid()}
    raise ValueError(f"{item['does']}: no such act")


def _wait_with_a_child(item: dict[str, Any]) -> None:
    """Hang, with a child process that ends only when its group is killed."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(item["file"]).write_text(str(child.pid), encoding="utf-8")
    time.sleep(600)


ACTS: dict[str, Any] = {
    "well": lambda item: None,
    "prints": lambda item: print('{"failures": ["a line that is no answer"]}'),
    "shares": lambda item: {"shared": {"limit": 3}},
    "fails": lambda item: {"failures": ["values: it does not hold"]},
    "raises": lambda item: 1 / 0,
    "crashes": lambda item: os.kill(os.getpid(), signal.SIGSEGV),
    "leaves": lambda item: os._exit(7),
    "hangs": lambda item: time.sleep(600),
    "hangs with a child": _wait_with_a_child,
    "sleeps": lambda item: time.sleep(0.3),
    "context": lambda item: {"failures": ["RuntimeError: an illegal memory access"], "ended": True},
}
