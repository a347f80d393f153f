"""Times of calls: medians of CUDA events, or of the host's clock where there is no GPU.

On a GPU the host's part of a call must not be measured with it. So a sleep kernel runs first. Meanwhile the host
enqueues an event, a batch of calls and another event; then the GPU runs them without a gap. A batch counts only if the
GPU had not reached the first event when the last call was enqueued; otherwise it is tried again, with a longer sleep
and fewer calls. CUDA graphs would do the same for kernels alone, but what Python decides for each call (a seed, memory)
would be that of the capture.

Inputs are rotated so that no call finds data of the previous call in the L2 cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["BUDGET", "METHOD", "copies", "copy_bandwidth", "host_seconds", "matrix_rate", "seconds"]

METHOD = {
    "cuda": "batches of calls between two events, enqueued while the GPU sleeps; the median batch",
    "cpu": "the host's clock around a call; the median call",
}
WARM_UP = 3
LEAST_RUNS, MOST_RUNS = 10, 200
BUDGET = 0.4  # seconds for measuring one figure
BATCHES = 5
MOST_CALLS = 50  # per batch: the driver queues about a thousand launches and blocks when there are more
CYCLES = 2e9  # per second, of the fastest GPU's clock: a slower one sleeps longer
SLACK = 2.0  # the GPU sleeps longer than the host needs by this factor
LEAST_SLEEP = 1e-4  # seconds
ATTEMPTS = 6
L2 = 64 * 2**20  # bytes, of the largest in use
MOST_SETS = 16
COPIED = 2**30  # bytes
MATRIX = 8192


def seconds(call: Callable[[Any], Any], inputs: Sequence[Any], device: str, budget: float = BUDGET) -> float:
    """Median time of a call over rotating inputs.

    Args:
        call: what is timed.
        inputs: its inputs, used in turn.
        device: "cuda" or "cpu".
        budget: approximate seconds of measurement.

    Raises:
        RuntimeError: the call waits for the GPU, so its time cannot be separated from the host's.
    """
    for turn in range(WARM_UP if device == "cuda" else 1):
        call(inputs[turn % len(inputs)])
    if device == "cuda":
        return _device_seconds(call, inputs, budget)
    once = _host_timed(call, inputs[0])
    runs = min(max(int(budget / max(once, 1e-6)), WARM_UP), MOST_RUNS)
    return statistics.median(_host_timed(call, inputs[turn % len(inputs)]) for turn in range(runs))


def _host_timed(call: Callable[[Any], Any], given: Any) -> float:
    start = time.perf_counter()
    call(given)
    return time.perf_counter() - start


def _device_seconds(call: Callable[[Any], Any], inputs: Sequence[Any], budget: float) -> float:
    """Times of batches that together fill the budget, each of at least one call."""
    torch.cuda.synchronize()
    host = _host_timed(call, inputs[0])
    torch.cuda.synchronize()
    first = _Batch(call, inputs, 1, host)
    once = first.run()
    calls = int(min(max(budget / BATCHES / max(once, 1e-6), LEAST_RUNS / BATCHES), MOST_CALLS))
    batch = _Batch(call, inputs, calls, max(host, first.host))
    return statistics.median(batch.run() for _ in range(BATCHES))


class _Batch:
    """Calls between two events.

    Attributes:
        calls: how many.
        host: seconds that the host needs to enqueue one.
    """

    def __init__(self, call: Callable[[Any], Any], inputs: Sequence[Any], calls: int, host: float) -> None:
        self._call, self._inputs, self.calls, self.host = call, inputs, calls, host
        self._turn = 0

    def run(self) -> float:
        """Seconds per call."""
        for _ in range(ATTEMPTS):
            took = self._attempt()
            if took is not None:
                return took
            self.calls = max(self.calls // 2, 1)
        raise RuntimeError(
            f"the GPU was done before {self.calls} calls were enqueued, although it slept for "
            f"{self._sleep():.2g} s: the call waits for the GPU, and its time cannot be told from the host's"
        )

    def _sleep(self) -> float:
        return max(SLACK * self.calls * self.host, LEAST_SLEEP)

    def _attempt(self) -> float | None:
        """Seconds per call; None if the GPU woke before all calls were enqueued."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        torch.cuda._sleep(int(self._sleep() * CYCLES))  # type: ignore[no-untyped-call]
        begin.record()
        start = time.perf_counter()
        for _ in range(self.calls):
            self._call(self._inputs[self._turn % len(self._inputs)])
            self._turn += 1
        end.record()
        woke: bool = begin.query()  # type: ignore[no-untyped-call]
        needed = (time.perf_counter() - start) / self.calls
        end.synchronize()
        if woke:
            self.host = max(2 * self.host, needed)
        return None if woke else float(begin.elapsed_time(end)) * 1e-3 / self.calls


def host_seconds(call: Callable[[Any], Any], given: Any, device: str, calls: int = 200) -> float:
    """Host time of a call that does not wait for the GPU: the cost of launching."""
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
    """Number of input sets that exceed the L2 cache; not more than needed to miss most of it."""
    return min(-(-2 * L2 // max(bytes_of_one, 1)), MOST_SETS) if device == "cuda" else 1


def copy_bandwidth(device: str) -> float:
    """Bytes per second, read and written, of a device-to-device copy."""
    source = torch.randn(COPIED // 4 if device == "cuda" else COPIED // 64, device=device)
    target = torch.empty_like(source)
    took = seconds(lambda given: target.copy_(given), [source], device)
    return 2 * source.numel() * source.itemsize / took


def matrix_rate(device: str, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations per second of a large matrix product on random data."""
    size = MATRIX if device == "cuda" else MATRIX // 16
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    took = seconds(lambda given: torch.mm(given, right), [left], device)
    return 2 * size**3 / took
