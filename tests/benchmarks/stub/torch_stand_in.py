"""A simulated GPU for PyTorch: tensors "on cuda" lie in the CPU's memory, and ``torch.cuda`` is replaced.

``install()`` changes this process permanently. Generated functions then take the path of a Hopper GPU: Triton's own
driver code, compiler, launchers and the plans run, on the stub of the driver. Uninitialized memory holds a pattern, so
that results that no kernel wrote are wrong, and equal in every run.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import time
from types import SimpleNamespace
from typing import Any

import torch

from tests.benchmarks.stub.library import STANDS_IN

__all__ = ["cuda", "install"]

CAPABILITY = (9, 0)
PROCESSORS = 132
MEMORY = 2**30  # reported free bytes: too few for the largest tensors
SHARED_MEMORY = 232448
ILLEGAL = 700  # CUDA's error number of an illegal access
UNFILLED = 0x5A  # each byte of uninitialized memory; a finite number in every type
FACTORIES: tuple[str, ...] = (
    "empty",
    "zeros",
    "ones",
    "full",
    "rand",
    "randn",
    "randint",
    "randperm",
    "arange",
    "linspace",
    "tensor",
)
FACTORIES += ("as_tensor", "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like")
FACTORIES += ("empty_strided",)
METHODS = ("to", "new_empty", "new_zeros", "new_ones", "new_full", "new_tensor", "new_empty_strided")
UNFILLED_BY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")


class Event:
    """A time on the host's clock; enqueued work counts as done when the host waited for it."""

    def __init__(self, *unused: Any, **options: Any) -> None:
        self.at, self.recorded = 0.0, 0

    def record(self, *unused: Any) -> None:
        self.at, self.recorded = time.perf_counter(), _Waits.count

    def synchronize(self) -> None:
        _synchronize()

    def wait(self, *unused: Any) -> None:
        pass

    def query(self) -> bool:
        return _Waits.count > self.recorded

    def elapsed_time(self, later: Event) -> float:
        return max((later.at - self.at) * 1e3, 1e-6)


class Stream:
    """The one stream."""

    cuda_stream = 0

    def __init__(self, *unused: Any, **options: Any) -> None:
        pass

    def synchronize(self) -> None:
        _synchronize()

    def wait_stream(self, other: Any) -> None:
        pass

    def wait_event(self, event: Any) -> None:
        pass


class Graph:
    """A graph whose replay does nothing."""

    def replay(self) -> None:
        pass

    def reset(self) -> None:
        pass


class Unchanged:
    """A context that makes a device or a stream current, without effect."""

    def __init__(self, *unused: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *unused: object) -> None:
        pass


class Generator(torch.Generator):
    """Random numbers of the CPU."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        return super().__new__(cls, _here(device))  # type: ignore[call-arg]


class _Waits:
    """Counts how often the host waited for the GPU."""

    count = 0


@functools.cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ[STANDS_IN])


def _synchronize(*unused: Any) -> None:
    """Wait for nothing; if a launch broke the context, raise PyTorch's error."""
    _Waits.count += 1
    if _driver().cuCtxSynchronize() == ILLEGAL:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def _properties(*unused: Any) -> SimpleNamespace:
    return SimpleNamespace(
        name="stub of a GPU",
        major=CAPABILITY[0],
        minor=CAPABILITY[1],
        multi_processor_count=PROCESSORS,
        shared_memory_per_block_optin=SHARED_MEMORY,
        total_memory=MEMORY,
        L2_cache_size=50 * 2**20,
        warp_size=32,
    )


def cuda() -> dict[str, Any]:
    """Replacements in ``torch.cuda``; each a separate object, as PyTorch's tracer compares functions by identity."""

    def idle() -> Any:
        return lambda *unused, **options: None

    idling = (
        "init",
        "_lazy_init",
        "set_device",
        "set_rng_state",
        "empty_cache",
        "_sleep",
        "reset_peak_memory_stats",
        "manual_seed_all",
    )
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *unused: "stub of a GPU",
        "get_device_capability": lambda *unused: CAPABILITY,
        "get_device_properties": _properties,
        "mem_get_info": lambda *unused: (MEMORY, MEMORY),
        "memory_allocated": lambda *unused: 0,
        "max_memory_allocated": lambda *unused: 0,
        "synchronize": _synchronize,
        "current_stream": Stream,
        "default_stream": Stream,
        "is_current_stream_capturing": lambda: False,
        "get_rng_state": lambda *unused: torch.empty(0, dtype=torch.uint8),
        "Event": Event,
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": type("graph", (Unchanged,), {}),
        "stream": type("stream", (Unchanged,), {}),
        "device": type("device", (Unchanged,), {}),
        **{name: idle() for name in idling},
    }


def _here(value: Any) -> Any:
    """Replace the GPU by the CPU."""
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return "cpu" if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")) else value


def _placed(function: Any, unfilled: bool = False) -> Any:
    """A function whose tensors are made on the CPU instead of a GPU; uninitialized memory gets the pattern."""

    @functools.wraps(function, updated=())
    def placed(*arguments: Any, **options: Any) -> Any:
        if options.get("pin_memory"):
            options["pin_memory"] = False
        made = function(*map(_here, arguments), **{name: _here(value) for name, value in options.items()})
        if unfilled and made.device.type == "cpu":
            ctypes.memset(made.untyped_storage().data_ptr(), UNFILLED, made.untyped_storage().nbytes())
        return made

    return placed


def install() -> None:
    """Replace the GPU from now on."""
    for name, answer in cuda().items():
        setattr(torch.cuda, name, answer)
    for name in FACTORIES:
        setattr(torch, name, _placed(getattr(torch, name), name in UNFILLED_BY))
    for name in METHODS:
        setattr(torch.Tensor, name, _placed(getattr(torch.Tensor, name), name in UNFILLED_BY))
    torch.Generator = Generator  # type: ignore[misc]
    torch.Tensor.cuda = lambda tensor, *unused, **options: tensor  # type: ignore[method-assign]
    torch._C._cuda_getCurrentRawStream = lambda device: 0
    torch._C._cuda_getDevice = lambda: 0
    torch.accelerator.is_available = lambda: False  # the tracer asks it for a stream, which only a GPU has
    torch.compile = functools.partial(_compiled, torch.compile)
    _lead_to_the_kernels()


def _compiled(compile: Any, function: Any = None, **options: Any) -> Any:
    """Traced as usual, and run by PyTorch's own kernels: compiling for the CPU would take minutes and is not timed."""
    kept = {name: value for name, value in options.items() if name in ("fullgraph", "dynamic")}
    return compile(function, backend="eager", **kept)


def _lead_to_the_kernels() -> None:
    """Let CPU tensors take the generated package's GPU path."""
    runtime, launching = (importlib.import_module(f"svertka.generated.{name}") for name in ("runtime", "launching"))
    reduce = launching.reduce

    def with_scratch(*arguments: Any, **options: Any) -> Any:
        launching.plans.prepared(launching._give_scratch)
        return reduce(*arguments, **options)

    answers = {
        "target_of": lambda device: f"sm_{CAPABILITY[0]}{CAPABILITY[1]}",
        "fetches_boxes": lambda device: True,
        "PROCESSORS": {**launching.PROCESSORS, "cpu": PROCESSORS},
        "reduce": with_scratch,
    }
    for name, answer in answers.items():
        setattr(launching, name, answer)
    vars(runtime)["INTERPRETED"] = True
