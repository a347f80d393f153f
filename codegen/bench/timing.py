"""How long calls take: medians of CUDA events, or of the host's clock where there is no GPU.

Inputs are rotated so that no call finds what the one before left in the L2 cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["copy_bandwidth", "host_seconds", "matrix_rate", "seconds"]

WARM_UP = 3
LEAST_RUNS, MOST_RUNS = 10, 200
BUDGET = 0.4  # seconds of measuring a figure
L2 = 64 * 2**20  # bytes, of the largest at hand
MOST_SETS = 16
COPIED = 2**30  # bytes
MATRIX = 8192


def seconds(call: Callable[[Any], Any], inputs: Sequence[Any], device: str) -> float:
    """Median time of a call over rotating inputs."""
    for turn in range(WARM_UP if device == "cuda" else 1):
        call(inputs[turn % len(inputs)])
    once = _timed(call, inputs[0], device)
    least = LEAST_RUNS if device == "cuda" else WARM_UP
    runs = min(max(int(BUDGET / max(once, 1e-6)), least), MOST_RUNS)
    return statistics.median(_timed(call, inputs[turn % len(inputs)], device) for turn in range(runs))


def _timed(call: Callable[[Any], Any], given: Any, device: str) -> float:
    if device != "cuda":
        start = time.perf_counter()
        call(given)
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    call(given)
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e-3


def host_seconds(call: Callable[[Any], Any], given: Any, device: str, calls: int = 200) -> float:
    """Host time of a call that waits for nothing: the cost of launching."""
    found = []
    for _ in range(WARM_UP + LEAST_RUNS):
        start = time.perf_counter()
        for _ in range(calls):
            call(given)
        found.append((time.perf_counter() - start) / calls)
        if device == "cuda":
            torch.cuda.synchronize()
    return statistics.median(found[WARM_UP:])


def copies(bytes_of_one: int, device: str) -> int:
    """How many sets of inputs exceed the L2 cache; no more than are needed to miss most of it."""
    return min(-(-2 * L2 // max(bytes_of_one, 1)), MOST_SETS) if device == "cuda" else 1


def copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written, of a device-to-device copy."""
    source = torch.randn(COPIED // 4 if device == "cuda" else COPIED // 64, device=device)
    target = torch.empty_like(source)
    took = seconds(lambda given: target.copy_(given), [source], device)
    return 2 * source.numel() * source.itemsize / took


def matrix_rate(device: str, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a large matrix product on random data."""
    size = MATRIX if device == "cuda" else MATRIX // 16
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    took = seconds(lambda given: torch.mm(given, right), [left], device)
    return 2 * size**3 / took
