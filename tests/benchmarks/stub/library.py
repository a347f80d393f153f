"""Compile the stub of the driver, and give the environment with which a process finds it.

Input: a folder. Output: the library in it, and environment variables.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

__all__ = ["STANDS_IN", "build", "environment"]

STANDS_IN = "SVERTKA_STUB"
"""The environment variable that lets workers import the stand-in for PyTorch's side."""
NAME = "libcuda.so.1"
SANITIZER = "compute-sanitizer"
PASSES_ON = (
    '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift 2; done\nexec "$@"\n'  # it always succeeds and finds nothing
)
SOURCE = Path(__file__).with_name("driver.c")


def build(folder: Path) -> Path:
    """Compile the library with Triton's C compiler and the headers that come with Triton.

    Raises:
        RuntimeError: there is no C compiler, or no Triton.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    triton = find_spec("triton")
    if compiler is None or triton is None or triton.origin is None:
        raise RuntimeError("the stub needs a C compiler (CC, gcc or clang) and Triton; install them")
    headers = Path(triton.origin).parent / "backends" / "nvidia" / "include"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / NAME
    command = [compiler, "-O1", "-shared", "-fPIC", f"-Wl,-soname,{NAME}", f"-I{headers}", str(SOURCE), "-o", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    sanitizer = folder / SANITIZER
    sanitizer.write_text(PASSES_ON, encoding="utf-8")
    sanitizer.chmod(0o755)
    return made


def environment(folder: Path) -> dict[str, str]:
    """Environment variables with which Triton finds the stub in a folder, and workers find the stand-in."""
    return {
        STANDS_IN: str(folder / NAME),
        "TRITON_LIBCUDA_PATH": str(folder),
        "LD_LIBRARY_PATH": _before(folder, "LD_LIBRARY_PATH"),
        "PATH": _before(folder, "PATH"),
    }


def _before(folder: Path, variable: str) -> str:
    """A variable with a list of folders, with one more at its beginning."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))
