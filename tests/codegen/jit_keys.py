"""Cache keys of launches as svertka computes them and as Triton's own JIT does; a process without the interpreter.

``python -m tests.codegen.jit_keys LAYER...`` prints one row of JSON per launch with the differences, which must be
empty.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import triton
from triton.compiler import get_cache_key, make_backend
from triton.runtime.driver import driver

from svertka.codegen.machine.compiling import asked_of_triton, gpu_target, launch_key
from svertka.codegen.machine.launch_coverage import survey
from svertka.codegen.verify.recording import Launched
from svertka.spec.layers import DEFINITIONS

TARGET = "sm_90"


class Driver:
    """The part of a driver that a launch needs before compilation."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return gpu_target(TARGET)


class HandedOverError(Exception):
    """Raised where the JIT calls the compiler, with the arguments of that call."""


@contextmanager
def of_the_jit() -> Iterator[None]:
    def stop(source: Any, target: Any, options: Any) -> None:
        raise HandedOverError(source, target, options)

    with mock.patch.object(driver, "_active", Driver()), mock.patch("triton.compiler.compile", stop):
        yield


def asked_by_jit(launch: Launched) -> tuple[Any, Any, Any]:
    """The compiler's input from ``JITFunction.run``, for tensors with the usual alignment."""
    try:
        launch.kernel.run(*launch.arguments, grid=(launch.programs,), warmup=True, **launch.constants)
    except HandedOverError as asked:
        return asked.args
    raise AssertionError(f"{launch.kernel.__name__}: the JIT compiled nothing")


def key(source: Any, options: Any, target: Any) -> str:
    backend = make_backend(target)
    return str(get_cache_key(source, backend, backend.parse_options(dict(options)), {}))


def row(launch: Launched) -> dict[str, Any]:
    ours = asked_of_triton(launch, TARGET)
    source, target, options = asked_by_jit(launch)
    pairs = {
        "signature": (ours[0].signature, source.signature),
        "constants": (ours[0].constants, source.constants),
        "attributes": (ours[0].attrs, source.attrs),
        "options": (ours[1], options),
        "target": (ours[2], target),
        "key": (key(*ours), key(source, options, target)),
    }
    aligned = sum(["tt.divisibility", 16] in found for found in source.attrs.values())
    differing = [name for name, (left, right) in pairs.items() if left != right]
    name = launch.kernel.__name__
    return {"kernel": name, "differs": differing, "aligned": aligned, "key": launch_key(launch, TARGET)}


def shifted(launch: Launched) -> Launched:
    """The same for views that begin one element into their memory."""
    arguments = []
    for value in launch.arguments:
        if isinstance(value, torch.Tensor):
            memory = torch.empty(
                value.untyped_storage().nbytes() // value.itemsize + 1, dtype=value.dtype, device="meta"
            )
            value = memory.as_strided(value.shape, value.stride(), 1)
        arguments.append(value)
    return Launched(launch.kernel, launch.programs, tuple(arguments), launch.constants, launch.tiles, launch.entry)


def main() -> None:
    found = survey([DEFINITIONS[name] for name in sys.argv[1:] or DEFINITIONS], ("bfloat16", "float32"))
    with of_the_jit():
        for planned in found.planned.values():
            for launch in (planned.launch, shifted(planned.launch)):
                launch.kernel.device_caches.clear()
                print(json.dumps(row(launch) | {"dtype": planned.dtype, "layout": planned.layout}))


if __name__ == "__main__":
    assert triton.knobs.runtime.interpret is False
    main()
