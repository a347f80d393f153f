"""compute-sanitizer's memcheck over the kernels of a formula, in a separate process with a time limit.

PyTorch's allocator is told to cache nothing: within its blocks no access would be out of bounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ON_GPU = False  # only the process that it starts uses the GPU
ROOT = Path(__file__).resolve().parents[3]
LAYERS = ("convolution_2d", "linear", "max_pooling_2d", "softmax", "relu")  # all loop patterns, and a gathered product
FOUND = 9  # exit code for errors that the sanitizer found
TAIL = 1500
EARLIER = 5  # seconds before this process is ended, so that it can report the output of the other

__all__ = ["LAYERS", "ON_GPU", "run"]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Run a formula's programs under the sanitizer."""
    from tests.benchmarks.items.machine import sanitizer

    tool = sanitizer()
    if tool is None:
        return {"inapplicable": "compute-sanitizer is not installed; it comes with the CUDA toolkit"}
    command = [tool, "--tool", "memcheck", "--error-exitcode", str(FOUND), sys.executable, "-m", __name__]
    command += [item["definition"], item["formula"]]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    time = max(item["limit"] - EARLIER, 1)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=time
        )
    except subprocess.TimeoutExpired:
        return {"failures": [f"memcheck took longer than {time:g} s and was ended"]}
    tail = (done.stdout + done.stderr)[-TAIL:]
    if done.returncode == FOUND:
        return {"failures": [f"memcheck: {tail}"]}
    return {"failures": [] if done.returncode == 0 else [f"exit code {done.returncode}: {tail}"]}


def _alone(definition: str, formula: str) -> None:
    """Launch every kernel of a formula once, in the types that boxes have and in float32; results are not checked."""
    from tests.benchmarks.worker import prepare

    prepare()
    import torch

    from tests.benchmarks.items.formulas import launched

    launched(definition, formula)
    torch.cuda.synchronize()


if __name__ == "__main__":
    _alone(*sys.argv[1:])
