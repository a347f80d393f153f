"""Launches of generated kernels on the machine instead of a GPU.

A launch takes tensors of the CPU: their memory is copied into the machine's, the compiled kernel runs there, and what it
stored is copied back. Inside ``executing`` every launch of a generated package is run so, compiled for the target with
exactly the arguments and tiles of that target.

Input: a target, and calls of a package's programs. Output: their results, or what the machine refuses.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch

from svertka.codegen.machine.compiling import asked_of_triton, assembled, launch_key
from svertka.codegen.ptx.machine import Linked, execute, link
from svertka.codegen.ptx.memory import Arena, Overwritten
from svertka.codegen.ptx.parse import parse
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.state import Array
from svertka.codegen.verify import equivalence
from svertka.codegen.verify.recording import FETCHING, PACKAGE, Launched, remembering_nothing

__all__ = ["Executed", "arguments_of", "executing", "run_launch"]

ALIGNMENT = 16  # of tensors: what Triton assumes, and no more
PROCESSORS = 132  # of the GPU that programs are made for
"""As on the GPUs whose tables are used, so that the same launches are chosen."""
_LINKED: dict[str, tuple[Linked, Any]] = {}


@dataclass
class Executed:
    """What ran in ``executing``.

    Attributes:
        target: for which kernels were compiled.
        launches: how many ran.
        kernels: their names.
        memory: tensors that programs made, with the bytes that have been written, by address.
    """

    target: str
    launches: int = 0
    kernels: list[str] = field(default_factory=list)
    memory: dict[int, tuple[torch.Tensor, Array]] = field(default_factory=dict)

    def unwritten(self) -> list[str]:
        """Tensors that a program made and no launch filled."""
        found = []
        for tensor, written in self.memory.values():
            if not written.all():
                found.append(f"{tuple(tensor.shape)} {tensor.dtype}: byte {int(written.argmin())} was never stored")
        return found

    def finish(self) -> None:
        """Refuse results that were never stored, and forget them.

        Raises:
            PtxError: of a tensor that was allocated and not filled.
        """
        missing = self.unwritten()
        self.memory.clear()
        if missing:
            raise PtxError(f"after kernels {', '.join(self.kernels)}: a result is never stored: {missing[0]}")


@contextmanager
def executing(target: str, boxes: bool = True, package: str = PACKAGE) -> Iterator[Executed]:
    """Run launches of a generated package on the machine.

    Args:
        target: ``sm_80`` or ``sm_90``; its tables choose the tiles.
        boxes: whether operands that are boxes are loaded as such, if the target can.
        package: name of the package.

    Raises:
        PtxError: what the machine refuses, at once; at the end, results that were never stored.
    """
    launching, plans, schedule = (importlib.import_module(f"{package}.{n}") for n in ("launching", "plans", "schedule"))
    done = Executed(target)

    def run(
        kernel: Any,
        how: Any,
        tiling: Any,
        arguments: tuple[Any, ...],
        constants: Mapping[str, Any],
        varying: Sequence[str] = (),
    ) -> None:
        programs, tiles = tiling
        if programs:
            every = {**constants, **launching.constants_of(how, arguments), **tiles}
            launch = Launched(kernel, programs, arguments, every, tuple(tiles), "")
            run_launch(launch, done)

    def allocated(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        done.memory[storage.data_ptr()] = (tensor, np.zeros(storage.nbytes(), bool))
        return tensor

    fetches = boxes and target in FETCHING
    devices: dict[str, Any] = {"target_of": lambda device: target, "fetches_boxes": lambda device: fetches}
    devices |= {"run": run, "processors": lambda device: PROCESSORS}
    with remembering_nothing(package), ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(launching, **devices))
        stack.enter_context(mock.patch.multiple(plans, ENABLED=False, allocated=allocated))
        stack.enter_context(mock.patch.dict(schedule.TABLES, {target: schedule.TABLES.get(target) or schedule.TABLES["default"]}))
        stack.enter_context(mock.patch.object(equivalence, "replaying_on", lambda device: ExitStack()))
        yield done
        done.finish()


def _linked(launch: Launched, target: str) -> tuple[Linked, Any]:
    """The launch's kernel, compiled and parsed; kept, since a launch of the same key is compiled once."""
    key = launch_key(launch, target)
    if key not in _LINKED:
        compiled = assembled(launch, target)
        _LINKED[key] = link(parse(compiled.asm["ptx"])), compiled.metadata
    return _LINKED[key]


def arguments_of(launch: Launched, target: str) -> list[tuple[str, Any]]:
    """The kernel's parameters in order: type and value of every argument that is no compile-time constant."""
    source, _, _ = asked_of_triton(launch, target)
    names = launch.kernel.arg_names
    values = {**dict(zip(names, launch.arguments, strict=False)), **launch.constants}
    return [(kind, values[name]) for name, kind in source.signature.items() if kind != "constexpr"]


def run_launch(launch: Launched, done: Executed) -> None:
    """Compile and run one launch on tensors of the CPU.

    Raises:
        PtxError: what the machine refuses.
    """
    linked, metadata = _linked(launch, done.target)
    done.launches += 1
    done.kernels.append(launch.kernel.__name__)
    arguments = arguments_of(launch, done.target)
    if len(arguments) + 2 != len(linked.code.parameters):
        raise PtxError(f"kernel {linked.code.name}: {len(linked.code.parameters)} parameters, {len(arguments)} arguments")
    for noting in (False, True):
        memory = _Memory(arguments, metadata, launch.programs, done)
        memory.arena.noting = noting
        try:
            parameters = memory.parameters(linked, arguments)
            execute(linked, launch.programs, memory.arena, metadata.shared, parameters)
        except Overwritten:
            continue
        memory.copy_back(done)
        return


class _Memory:
    """The machine's global memory for one launch: each memory of a tensor once, and the kernel's own scratch."""

    def __init__(self, arguments: list[tuple[str, Any]], metadata: Any, programs: int, done: Executed) -> None:
        tensors = [value for _, value in arguments if isinstance(value, torch.Tensor)]
        self.storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors}
        sizes = [storage.nbytes() for storage in self.storages.values()]
        offsets = [ALIGNMENT + pointer % ALIGNMENT for pointer in self.storages]
        self.scratch = metadata.global_scratch_size * programs
        narrowest = min([4, *(tensor.itemsize for tensor in tensors)])
        self.arena = Arena([*sizes, self.scratch], [*offsets, metadata.global_scratch_align % 256], narrowest)
        self.places = {pointer: place for place, pointer in enumerate(self.storages)}
        for pointer, storage in self.storages.items():
            place = self.places[pointer]
            content = np.frombuffer(_bytes(storage), np.uint8) if storage.nbytes() else np.zeros(0, np.uint8)
            known = done.memory.get(pointer)
            written = np.ones(len(content), bool) if known is None else known[1]
            self.arena.fill(place, content, written)
        start = self.arena.starts[-1]
        self.arena.valid[start : start + self.scratch] = 1
        self.arena.again.append((start, start + self.scratch))

    def parameters(self, linked: Linked, arguments: list[tuple[str, Any]]) -> dict[str, Array]:
        """The bit pattern of every parameter."""
        found = {}
        scratch = [("*i8", self.arena.address(len(self.storages)) if self.scratch else 0), ("*i8", 0)]
        for parameter, (kind, value) in zip(linked.code.parameters, [*arguments, *scratch], strict=True):
            found[parameter.name] = self._pattern(kind, value, parameter.size)
        return found

    def _pattern(self, kind: str, value: Any, size: int) -> Array:
        if isinstance(value, torch.Tensor):
            pointer = value.untyped_storage().data_ptr()
            value = self.arena.address(self.places[pointer]) + value.data_ptr() - pointer
        if kind.startswith("*") or kind[0] in "iu":
            return np.array([int(value) % (1 << 8 * size)], f"u{size}")
        return np.array([value], {"fp32": np.float32, "fp64": np.float64}[kind]).view(f"u{size}")

    def copy_back(self, done: Executed) -> None:
        """Copy what was stored to the tensors."""
        for pointer, storage in self.storages.items():
            content, written = self.arena.content(self.places[pointer])
            if storage.nbytes():
                np.frombuffer(_bytes(storage), np.uint8)[:] = content
            if pointer in done.memory:
                done.memory[pointer] = (done.memory[pointer][0], written.copy())


def _bytes(storage: Any) -> Any:
    """A storage's memory as a writable buffer."""
    import ctypes

    return (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
