"""Properties of the machine: versions, memory, tools, the rates of a copy and of a product. Run first, alone."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from svertka.codegen.machine.bench import measure
from tests.benchmarks.items.choice import shrunk_timing

ON_GPU = True
PACKAGES = ("torch", "triton", "numpy", "sympy", "jinja2")
SANITIZER = "compute-sanitizer"
TOOLKIT = "/usr/local/cuda/bin"

__all__ = ["ON_GPU", "run", "sanitizer"]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Versions and limits; ``no_gpu`` if PyTorch finds none."""
    found: dict[str, Any] = {"versions": _versions()}
    if not torch.cuda.is_available():
        return {**found, "no_gpu": True, "failures": ["torch sees no GPU here; run it on a machine with one"]}
    found["device"] = _device()
    with shrunk_timing(bool(item["shrink"])):
        limits = measure.measured_limits("cuda")
    found["limits"] = asdict(limits)
    return {**found, "shared": {"limits": found["limits"]}}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "cuda": str(torch.version.cuda)}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _device() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    return {
        "name": torch.cuda.get_device_name(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "processors": properties.multi_processor_count,
        "memory_gib": round(total / 2**30, 1),
        "free_gib": round(free / 2**30, 1),
        "cores": os.cpu_count(),
        "compiler": shutil.which("gcc") or shutil.which("clang") or "none",
        "sanitizer": sanitizer() or "none",
    }


def sanitizer() -> str | None:
    """The path of compute-sanitizer, which comes with the CUDA toolkit; None if it is not installed."""
    return shutil.which(SANITIZER) or shutil.which(SANITIZER, path=TOOLKIT)
