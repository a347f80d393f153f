"""Launches of generated kernels on the machine instead of a GPU.

A launch takes tensors of the CPU: their memory is copied into the machine's, the compiled kernel runs there, and what
it stored is copied back. Inside ``executing`` every launch of a generated package is run so, compiled for the target
with exactly the arguments and tiles of that target.

Input: a target, and calls of a package's programs. Output: their results, or what the machine refuses.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch

from svertka.codegen.machine.compiling import asked_of_triton, assembled, launch_key, registers_and_stack, unassembled
from svertka.codegen.ptx.atomics import atomics, without_hints
from svertka.codegen.ptx.counts import SECTOR, Counts
from svertka.codegen.ptx.kernel import ALIGNMENT, Buffer, Pointer, run_kernel
from svertka.codegen.ptx.machine import Linked, Special, link
from svertka.codegen.ptx.parse import parse
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.repeated import forget, instructions_digest, once
from svertka.codegen.ptx.state import WARP, Array
from svertka.codegen.verify.recording import PACKAGE, Launched, giving_launches

__all__ = [
    "PROCESSORS",
    "Compiled",
    "Cost",
    "Executed",
    "arguments_of",
    "bytes_of",
    "compiled_kernels",
    "digests",
    "executing",
    "run_launch",
    "unlink",
]

PROCESSORS = 132  # of the GPU that programs are made for, so that its launches are chosen
NUMBERS: dict[str, Any] = {"fp32": np.float32, "fp64": np.float64}
NUMBERS |= {f"i{bits}": getattr(np, f"int{bits}") for bits in (8, 16, 32, 64)}
NUMBERS |= {f"u{bits}": getattr(np, f"uint{bits}") for bits in (8, 16, 32, 64)}
WHOLE, NEAR = 1 << 28, 1 << 20  # bytes of a storage that is kept whole; of a stride that stays in one piece
FAR = 1 << 41  # addresses of storages that are kept in pieces are multiples of it
FEW_ELEMENTS = {"elements": 2, "elements_again": 0, "contiguous_rows": 1, "short_row": 4}  # several steps, rows beside
_COMPILED: dict[str, Compiled] = {}
_LOCATION = re.compile(r"^\s*(?:\.loc|\.file|//).*\n", re.MULTILINE)
_DEBUGGING = re.compile(r"^\s*\.section\s+\.debug.*", re.MULTILINE | re.DOTALL)


@dataclass
class Compiled:
    """A compiled kernel.

    Attributes:
        text: its PTX.
        metadata: what the compiler says about it.
        digest: of its text without what tells of the source's lines.
        instructions: a digest of the same without the target's name.
        linked: ready to run, when it has run.
        machine_code: of the kernel, if it was assembled.
    """

    text: str
    metadata: Any
    digest: str
    instructions: bytes
    linked: Linked | None = None
    machine_code: bytes = b""

    def resources(self) -> tuple[int, int]:
        """Registers of a thread, and bytes of local memory that it spills to; zeros if it was not assembled."""
        return registers_and_stack(self.machine_code) if self.machine_code else (0, 0)


@dataclass(frozen=True)
class Cost:
    """What one launch costs.

    Attributes:
        kernel: its name; ``programs``: how many ran, of ``warps`` warps each.
        registers: of a thread; ``spills``: bytes of a thread; ``shared``: bytes of a program.
        bytes: of the tensors that it was given, each once; see ``bytes_of``.
        counts: what was executed.
    """

    kernel: str
    programs: int
    warps: int
    registers: int
    spills: int
    shared: int
    bytes: int
    counts: Counts


@dataclass
class Executed:
    """What ran in ``executing``.

    Attributes:
        target: for which kernels were compiled.
        alter: what is done to their PTX before it runs, if anything.
        only: ``"compile"`` if launches are compiled and not executed, ``"note"`` if neither.
        launches: how many ran.
        kernels: their names.
        texts: digests of their PTX by name.
        entries: entries of the tables of tiles that they took.
        special: what executes some instructions in another way, if anything; see ``machine.link``.
        altered: kernels that are linked for this alone, ready to run, by their text.
        memory: tensors that programs made, with the bytes that have been written, by address.
        foreign: whether kernels are another library's, which may add atomically and store a result several times.
        counting: whether to count what is executed, and to assemble kernels for their registers.
        sample: how many programs of each launch run and stand for the others; all if 0.
        costs: of each launch, if they are counted.
    """

    target: str
    alter: Callable[[str], str] | None = None
    only: str = ""
    special: Special | None = None
    launches: int = 0
    kernels: list[str] = field(default_factory=list)
    texts: dict[str, set[str]] = field(default_factory=dict)
    entries: set[str] = field(default_factory=set)
    altered: dict[str, Linked] = field(default_factory=dict)
    memory: dict[int, tuple[torch.Tensor, Array]] = field(default_factory=dict)
    foreign: bool = False
    counting: bool = False
    sample: int = 0
    costs: list[Cost] = field(default_factory=list)

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
def executing(
    target: str,
    forced: str = "",
    package: str = PACKAGE,
    alter: Callable[[str], str] | None = None,
    wide: bool = False,
    only: str = "",
    processors: int = PROCESSORS,
    special: Special | None = None,
    counting: bool = False,
    parts: bool = False,
    sample: int = 0,
) -> Iterator[Executed]:
    """Run launches of a generated package on the machine.

    Args:
        target: ``sm_80`` or ``sm_90``; its tables choose the tiles.
        forced: an entry of the tables that becomes the only one in its table and serves every size.
        package: name of the package.
        alter: what is done to the PTX of every kernel before it runs, to plant a fault.
        wide: whether all offsets have 64 bits, as if every tensor had more than 2^31 elements.
        only: ``"compile"`` to compile and not execute, ``"note"`` to do neither.
        processors: how many the GPU has.
        special: what executes some instructions in another way, if anything; see ``machine.link``.
        counting: whether to count what is executed.
        parts: whether row programs have so few elements that they reduce a part of each row.
        sample: how many programs of each launch run, at most; all if 0. Results are then wrong, and only counts hold.

    Raises:
        PtxError: what the machine refuses, at once; at the end, results that were never stored.
    """
    names = ("launching", "plans", "schedule")
    launching, plans, schedule = (importlib.import_module(f"{package}.{name}") for name in names)
    done = Executed(target, alter, only, special, counting=counting, sample=sample)

    def run(launch: Launched) -> None:
        if launch.programs:
            done.entries.add(launch.entry)
            run_launch(launch, done)

    def allocated(tensor: torch.Tensor) -> torch.Tensor:
        if sample:  # most of it is never stored, and launches behind read it
            return tensor.zero_()
        storage = tensor.untyped_storage()
        done.memory[storage.data_ptr()] = (tensor, np.zeros(storage.nbytes(), bool))
        return tensor

    boxes = not forced or "/boxes/" in forced
    with (
        giving_launches(run, target, forced, boxes, package),
        mock.patch.object(plans, "allocated", allocated),
        mock.patch.object(launching, "processors", return_value=processors),
        mock.patch.object(launching, "INT32_ELEMENTS", 1 if wide else launching.INT32_ELEMENTS),
        nullcontext() if counting else unassembled(),
        mock.patch.dict(schedule.TABLES[target], _of_few(schedule.TABLES[target]) if parts else {}),
    ):
        yield done
        if only:
            done.memory.clear()
        done.finish()


def _of_few(tables: dict[str, Any]) -> dict[str, Any]:
    """Tables whose row programs have so few elements that every row takes several steps, each of them a part."""
    return {"rows": {**tables["rows"], **FEW_ELEMENTS}, "sums": {**tables["sums"], "row_steps_a_part": 1}}


def _compiled(launch: Launched, done: Executed) -> Compiled:
    """The launch's kernel; kept, since a launch of the same key is compiled once."""
    key = launch_key(launch, done.target)
    known = _COMPILED.get(key)
    if known is None or (done.counting and not known.machine_code):
        made = assembled(launch, done.target)
        text = made.asm["ptx"]
        plain = _LOCATION.sub("", _DEBUGGING.sub("", text))
        digest = hashlib.sha256(plain.encode()).hexdigest()[:16]
        instructions = instructions_digest(plain)
        _COMPILED[key] = Compiled(text, made.metadata, digest, instructions, machine_code=made.asm["cubin"])
    return _COMPILED[key]


def compiled_kernels() -> Iterator[Compiled]:
    """What this process has compiled."""
    yield from _COMPILED.values()


def unlink() -> None:
    """Forget what is ready to run, and what ran: other formulas have other kernels, and texts take less memory."""
    forget()
    for compiled in _COMPILED.values():
        compiled.linked = None


def _linked(compiled: Compiled, done: Executed) -> Linked:
    text = compiled.text if done.alter is None else done.alter(compiled.text)
    if text != compiled.text or done.special is not None:
        if text not in done.altered:
            done.altered[text] = link(parse(text), done.special)
        return done.altered[text]
    if compiled.linked is None:
        code = parse(text)
        compiled.linked = link(without_hints(code), atomics) if done.foreign else link(code)
    return compiled.linked


def arguments_of(launch: Launched, target: str) -> list[tuple[str, Any]]:
    """The kernel's parameters in order: type and value of every argument that is no compile-time constant."""
    source, _, _ = asked_of_triton(launch, target)
    names = launch.kernel.arg_names
    values = {**dict(zip(names, launch.arguments, strict=False)), **launch.constants}
    return [(kind, values[name]) for name, kind in source.signature.items() if kind != "constexpr"]


def run_launch(launch: Launched, done: Executed, grid: tuple[int, int, int] | None = None) -> None:
    """Compile and run one launch on tensors of the CPU; ``grid``: its programs along three axes; along one if None.

    Raises:
        PtxError: what the machine refuses.
    """
    if done.only == "note":
        return
    compiled = _compiled(launch, done)
    name = launch.kernel.__name__
    done.texts.setdefault(name, set()).add(compiled.digest)
    if done.only:
        return
    metadata = compiled.metadata
    done.launches += 1
    done.kernels.append(name)
    arguments = arguments_of(launch, done.target)
    memory = _Memory([value for _, value in arguments if isinstance(value, torch.Tensor)], done)
    scratch = metadata.global_scratch_size * launch.programs, metadata.global_scratch_align % 256
    own = [Pointer(len(memory.buffers)) if scratch[0] else np.uint64(0), np.uint64(0)]  # scratch, and a profiler's
    given = [_argument(kind, value, memory) for kind, value in arguments]
    counts = Counts() if done.counting else None
    every = [*given, *own]
    programs = grid or launch.programs
    sample = _sampled(launch.programs, done.sample) if done.sample else None

    def execute() -> None:
        linked = _linked(compiled, done)
        run_kernel(linked, programs, memory.buffers, every, metadata.shared, scratch, counts, done.foreign, sample)

    if done.alter is None and done.special is None and counts is None and sample is None and not done.foreign:
        numbers = [(one.dtype.str, one.tobytes()) if isinstance(one, np.generic) else one for one in every]
        once((compiled.instructions, programs, numbers, metadata.shared, scratch), memory.buffers, execute)
    else:
        execute()
    if counts is not None:
        linked = _linked(compiled, done)
        if sample is not None:
            counts.multiply(launch.programs / len(sample))
            counts.distinct = min(counts.distinct, bytes_of(launch) // SECTOR)  # programs share what they read
        shared = linked.code.static_shared + metadata.shared
        warps, given_bytes = linked.code.threads // WARP, bytes_of(launch)
        done.costs.append(Cost(name, launch.programs, warps, *compiled.resources(), shared, given_bytes, counts))


def _sampled(programs: int, most: int) -> Array:
    """Some of many programs, evenly spaced: the first, the last, and those between."""
    return np.unique(np.linspace(0, programs - 1, min(programs, most)).round().astype(np.int64))


def bytes_of(launch: Launched) -> int:
    """Bytes of a launch's tensors, those that share memory once; of one that combines parts, of the parts alone."""
    tensors = launch.tensors()
    if launch.constants.get("PART") == "finish":
        named = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
        tensors = [named["partial_ptr"]]
    return sum({int(t.untyped_storage()._cdata): t.numel() * t.itemsize for t in tensors}.values())


class _Memory:
    """The memory of a launch's tensors, each storage once.

    Attributes:
        buffers: whole storages, and pieces of those that are too large.
        places: where a storage's first buffer is, and its offset in the storage, by the storage's address.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], done: Executed) -> None:
        self.buffers: list[Buffer] = []
        self.places: dict[int, tuple[int, int]] = {}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage.data_ptr() in self.places:
                continue
            shared = [one for one in tensors if one.untyped_storage().data_ptr() == storage.data_ptr()]
            spans = [(0, storage.nbytes())] if storage.nbytes() <= WHOLE else _spans(shared)
            self.places[storage.data_ptr()] = len(self.buffers), spans[0][0]
            whole = storage.nbytes() <= WHOLE
            begin = 0 if whole else FAR * len(self.places) + storage.data_ptr() % 256
            self.buffers += [_buffer(storage, span, begin + span[0] if begin else 0, done) for span in spans]

    def pointer(self, tensor: torch.Tensor) -> Pointer:
        """The address of a tensor's first element."""
        storage = tensor.untyped_storage().data_ptr()
        place, offset = self.places[storage]
        return Pointer(place, tensor.data_ptr() - storage - offset)


def _spans(tensors: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
    """Ranges of bytes in a storage that hold all elements of some tensors; what lies far from them is left out."""
    found: set[tuple[int, int]] = set()
    for tensor in tensors:
        starts, length = [int(tensor.storage_offset())], 1
        for extent, stride in zip(tensor.shape, tensor.stride(), strict=True):
            if stride * tensor.itemsize > NEAR:
                starts = [start + place * int(stride) for start in starts for place in range(extent)]
            else:
                length += (extent - 1) * int(stride)
        found |= {(start * tensor.itemsize, (start + length) * tensor.itemsize) for start in starts}
    return sorted(found)


def _buffer(storage: Any, span: tuple[int, int], address: int, done: Executed) -> Buffer:
    """A part of a storage's memory; of tensors that the program made, with what has been written."""
    pointer, size = storage.data_ptr() + span[0], span[1] - span[0]
    memory: Any = (ctypes.c_char * size).from_address(pointer) if size else b""
    known = done.memory.get(storage.data_ptr())
    written = np.ones(size, bool) if known is None else known[1][span[0] : span[1]]
    least = 0 if done.counting else ALIGNMENT  # what is counted begins where a GPU's allocator would put it
    return Buffer(np.frombuffer(memory, np.uint8), written, least + pointer % ALIGNMENT, address)


def _argument(kind: str, value: Any, memory: _Memory) -> Any:
    """An argument as the launcher passes it: a pointer, or a number of the parameter's type."""
    if isinstance(value, torch.Tensor):
        return memory.pointer(value)
    if kind not in NUMBERS:
        raise PtxError(f"an argument of type {kind} is not known")
    return NUMBERS[kind](value)


def digests(executed: Sequence[Executed]) -> dict[str, str]:
    """A digest over the compiled texts of each kernel that ran, by its name."""
    texts: dict[str, set[str]] = {}
    for done in executed:
        for name, some in done.texts.items():
            texts.setdefault(name, set()).update(some)
    joined = {name: "".join(sorted(some)) for name, some in sorted(texts.items())}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in joined.items()}
