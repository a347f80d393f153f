"""A process that runs items: one line of JSON in, one flushed line of JSON out, until the input ends.

An exception of an item is its result. After an illegal access a CUDA context is invalid, and every later call fails:
the worker reports that in the item's result and ends; the scheduler starts another.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

__all__ = ["failure_of", "main", "make_importable", "prepare"]

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("spec", "reference", "codegen", "generated", "networks")
STANDS_IN = "SVERTKA_STUB"
LONGEST = 600  # characters of a failure
DEAD = 75  # exit code: the context is invalid
PARENT_DIED = 1  # prctl's PR_SET_PDEATHSIG


def make_importable() -> None:
    """Where svertka is not installed, put its folders under that name."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        importlib.import_module("svertka.generated")
    except ModuleNotFoundError:
        folder = Path(tempfile.mkdtemp()) / "svertka"
        folder.mkdir()
        for part in (*(ROOT / name for name in FOLDERS), *(ROOT / "package").glob("*.py")):
            (folder / part.name).symlink_to(part)
        sys.path.insert(0, str(folder.parent))


def failure_of(error: BaseException) -> str:
    """One line for an exception: its class, its text, its place, and its cause."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if any(f"/{name}/" in frame.filename for name in (*FOLDERS, "tests"))]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    text = str(error).strip() or "no message"
    cause = f"; from {failure_of(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{type(error).__name__}: {text[:LONGEST]}{where}{cause}"


def main() -> int:
    """Run items of one kind, the only argument, until the input ends."""
    kind = sys.argv[1]
    ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGKILL)  # no worker outlives the command, even if it hangs
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries goes to the log, not among the answers
    try:
        module = _module(kind)
    except Exception as error:
        print(json.dumps({"started": False, "failures": [failure_of(error)]}), file=answers, flush=True)
        return 1
    print(json.dumps({"started": True}), file=answers, flush=True)
    for line in sys.stdin:
        item = json.loads(line)
        begun = time.perf_counter()
        found = _run(module, item)
        found["seconds"] = round(time.perf_counter() - begun, 3)
        dead = _context_is_dead() if module.ON_GPU else ""
        if dead:
            found["failures"].append(dead)
            found["ended"] = True
        print(json.dumps(found), file=answers, flush=True)
        if dead:
            os._exit(DEAD)  # a normal exit would wait for the context
    return 0


def prepare() -> None:
    """Make svertka importable and, in a rehearsal, replace the GPU."""
    make_importable()
    if os.environ.get(STANDS_IN):
        importlib.import_module("tests.benchmarks.stub.torch_stand_in").install()


def _module(kind: str) -> Any:
    """A module of ``items``; a kind with a dot is a module name, which needs no preparation."""
    if "." in kind:
        return importlib.import_module(kind)
    prepare()
    return importlib.import_module(f"tests.benchmarks.items.{kind}")


def _run(module: Any, item: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = {"failures": [], **module.run(item)}
    except Exception as error:
        return {"failures": [failure_of(error)]}
    return found


def _context_is_dead() -> str:
    """The fault of this process's CUDA context; "" if there is none."""
    torch = importlib.import_module("torch")
    try:
        torch.cuda.synchronize()
    except Exception as error:
        return f"the CUDA context is dead: {str(error).splitlines()[0][:LONGEST]}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
