"""Compile generated kernels for GPUs that are not present, and read figures from the compiler's result.

Each recorded launch is compiled with exactly the arguments that it would have had.

Input: ``Launched`` of ``svertka.codegen.verify.recording``. Output: ``Compiled``.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import triton
from triton import knobs
from triton._C.libtriton import get_cache_invalidating_env_vars, ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, get_cache_key, make_backend
from triton.runtime.jit import create_function_from_signature

from svertka.codegen.verify.recording import Launched

__all__ = [
    "TARGETS",
    "Compiled",
    "asked_of_triton",
    "assembled",
    "compile_launch",
    "gpu_target",
    "launch_key",
    "registers_and_stack",
    "unassembled",
    "widths",
]

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
_BINDERS: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
UNASSEMBLED = "not assembled"
WIDE = 16  # maximum bytes per lane of one load or store instruction
_DIRECT = re.compile(r"\b(ld|st)\S*\.global(?:\.L1::\w+|\.L2::\w+)*(?:\.v(\d+))?\.[bfus](\d+)")
_COPIED = re.compile(r"\bcp\.async\.c[ag]\S* \[[^\n]*?\], \[[^\n]*?\], (\w+)")


@dataclass(frozen=True)
class Compiled:
    """Figures of a compiled launch.

    Attributes:
        kernel, target, dtype: what was compiled.
        registers: per thread; ``spills``: bytes of local memory per thread; ``shared``: bytes per program.
        matrix: instructions of the matrix unit; ``wgmma``: those among them that four warps execute together.
        boxes: copies of whole boxes between global and shared memory (TMA).
        wide_loads, wide_stores: loads (with asynchronous copies) and stores of 16 bytes per lane.
        narrow: loads and stores of fewer bytes per lane.
    """

    kernel: str
    target: str
    dtype: str
    registers: int
    spills: int
    shared: int
    matrix: int
    wgmma: int
    boxes: int
    wide_loads: int
    wide_stores: int
    narrow: int

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def compile_launch(launch: Launched, target: str, dtype: str) -> Compiled:
    """Compile one launch for a target, and read its resource usage.

    Raises:
        Exception: any exception of Triton's compiler.
    """
    return Compiled(launch.kernel.__name__, target, dtype, **_resources(assembled(launch, target)))


def assembled(launch: Launched, target: str) -> Any:
    """The result of Triton's compiler for a launch and a target: its ``asm`` has every stage, from ``ttir`` on.

    It is compiled with the same key as a launch on that target, so a later launch finds it in Triton's cache.

    Raises:
        Exception: any exception of Triton's compiler.
    """
    source, options, gpu = asked_of_triton(launch, target)
    return triton.compile(source, target=gpu, options=options)


@contextmanager
def unassembled() -> Iterator[None]:
    """Compile as far as PTX, and translate a kernel to Triton's first representation once for all targets.

    The assembler takes an eighth of the time, and only a GPU needs what it makes; the translation a third, and it does
    not depend on the target but for types that no kernel here has. Launches whose constants differ only in what the
    kernel does not use have one representation, of which PTX is made once. What is compiled inside has keys of its own
    in Triton's cache.
    """

    def without_assembler(*given: Any) -> tuple[str, str] | None:
        if not given:  # asked for a part of the cache's key
            return UNASSEMBLED, UNASSEMBLED
        stages: dict[str, Any] = given[1]
        if set(LOWERING) <= stages.keys():
            stages.update(_lowered_once(dict(stages), given[2].hash(), given[4]))
        stages["cubin"] = lambda code, metadata: b""
        return None

    with (
        mock.patch.object(knobs.runtime, "add_stages_inspection_hook", without_assembler),
        mock.patch.object(ASTSource, "make_ir", _translated),
    ):
        yield


LOWERING = ("ttgir", "llir", "ptx")  # stages of NVIDIA's compiler behind the first representation
_PLACES = re.compile(r" loc\(#loc\w*\)|^#loc.*$", re.MULTILINE)
_LOWERED: dict[tuple[str, str, Any], tuple[str, dict[str, Any]]] = {}


def _lowered_once(stages: Mapping[str, Any], options: str, capability: Any) -> dict[str, Any]:
    """The stages to PTX of one compilation; nothing is done where they were given the same before, for these options.

    What tells of lines of the source is not compared: it is not an instruction. PTX that is taken from before has no
    other representations.
    """
    known: tuple[str, dict[str, Any]] | None = None
    key, before = "", dict[str, Any]()

    def lowered(stage: str, module: Any, metadata: dict[str, Any]) -> Any:
        nonlocal known, key, before
        if stage == LOWERING[0]:
            key = hashlib.sha256(_PLACES.sub("", str(module)).encode()).hexdigest()
            known, before = _LOWERED.get((key, options, capability)), dict(metadata)
        last = stage == LOWERING[-1]
        if known is not None:
            metadata.update(known[1] if last else {})
            return known[0] if last else ""
        made = stages[stage](module, metadata)
        if last:
            told = {name: value for name, value in metadata.items() if name not in before or before[name] != value}
            _LOWERED[key, options, capability] = made, told
        return made

    return {stage: partial(lowered, stage) for stage in LOWERING}


_TRANSLATE = ASTSource.make_ir
_TRANSLATED: dict[str, tuple[Any, str]] = {}


def _translated(source: ASTSource, target: GPUTarget, *given: Any) -> Any:
    """A kernel in Triton's first representation; from its text if it was translated for another target before."""
    key = source.hash()
    if key in _TRANSLATED and _TRANSLATED[key][0] != target:
        context = given[-1]
        with tempfile.NamedTemporaryFile("w", suffix=".ttir", encoding="utf-8") as file:
            file.write(_TRANSLATED[key][1])
            file.flush()
            module = ir.parse_mlir_module(file.name, context)
        module.context = context
        return module
    module = _TRANSLATE(source, target, *given)
    _TRANSLATED[key] = target, str(module)
    return module


def launch_key(launch: Launched, target: str) -> str:
    """Triton's cache key for a compiled launch; launches with the same key are compiled once."""
    source, options, gpu = asked_of_triton(launch, target)
    backend = make_backend(gpu)
    variables = get_cache_invalidating_env_vars()
    key = get_cache_key(source, backend, backend.parse_options(dict(options)), env_vars=variables)
    return hashlib.sha256(key.encode()).hexdigest()


def asked_of_triton(launch: Launched, target: str) -> tuple[ASTSource, dict[str, Any], GPUTarget]:
    """The compiler's input for a launch: source, options and target.

    The arguments go through the kernel's own binder, as in ``JITFunction.run``. It decides which properties are
    compiled in: ones, multiples of 16, addresses (torch's memory is aligned to 16 bytes; a view may begin elsewhere),
    types of numbers. Options that are not given have the backend's defaults. Tensors of the ``meta`` device have
    address 0.
    """
    gpu = gpu_target(target)
    backend, kernel = make_backend(gpu), launch.kernel
    asked = {"debug": kernel.debug or knobs.runtime.debug}
    asked["instrumentation_mode"] = knobs.compilation.instrumentation_mode
    given = {**launch.constants, **asked}
    bind = _binder(kernel, backend)
    bound, specialization, rest = bind(*launch.arguments, **given)
    options, signature, constants, attributes = kernel._pack_args(backend, given, bound, specialization, rest)
    return ASTSource(kernel, signature, constants, attributes), options.__dict__, gpu


def _binder(kernel: Any, backend: Any) -> Any:
    """A kernel's binder for a backend; making one takes longer than using it."""
    known = _BINDERS.setdefault(kernel, {})
    key = str(backend.target)
    if key not in known:
        known[key] = create_function_from_signature(kernel.signature, kernel.params, backend)
    return known[key]


def gpu_target(name: str) -> GPUTarget:
    """The compiler's target of a name: one of ``TARGETS``, or any other capability as ``sm_N``."""
    known = TARGETS.get(name)
    return GPUTarget("cuda", int(name.removeprefix("sm_")), 32) if known is None else known


def _resources(compiled: Any) -> dict[str, int]:
    """Registers and stack of the machine code; instructions in the assembler's input."""
    if "cubin" not in compiled.asm:
        return _resources_of_amd(compiled)
    registers, stack = registers_and_stack(compiled.asm["cubin"])
    code = compiled.asm["ptx"]
    return {
        "registers": registers,
        "spills": stack,
        "shared": compiled.metadata.shared,
        "matrix": len(re.findall(r"\bwgmma\.mma_async|\bmma\.sync|\btcgen05\.mma\b", code)),
        "wgmma": len(re.findall(r"\bwgmma\.mma_async", code)),
        "boxes": len(re.findall(r"\bcp\.async\.bulk\.tensor", code)),
        **widths(code),
    }


def registers_and_stack(machine_code: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of its stack, of NVIDIA's machine code (a cubin)."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(machine_code)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _number(r"\bREG:(\d+)", usage), _number(r"\bSTACK:(\d+)", usage)


def widths(code: str) -> dict[str, int]:
    """Number of global memory accesses of 16 bytes per lane, and of fewer; ``code``: PTX."""
    direct = [(kind, int(vector or 1) * int(bits) // 8) for kind, vector, bits in _DIRECT.findall(code)]
    every = direct + [("ld", int(size, 0)) for size in _COPIED.findall(code)]
    return {
        "wide_loads": sum(kind == "ld" and size >= WIDE for kind, size in every),
        "wide_stores": sum(kind == "st" and size >= WIDE for kind, size in every),
        "narrow": sum(size < WIDE for _, size in every),
    }


def _resources_of_amd(compiled: Any) -> dict[str, int]:
    code = compiled.asm["amdgcn"]
    return {
        "registers": _number(r"\.vgpr_count:\s+(\d+)", code),
        "spills": _number(r"\.vgpr_spill_count:\s+(\d+)", code),
        "shared": compiled.metadata.shared,
        "matrix": code.count("v_mfma"),
        "wgmma": 0,
        "boxes": 0,
        "wide_loads": len(re.findall(r"\b(?:global|buffer)_load_dwordx4\b", code)),
        "wide_stores": len(re.findall(r"\b(?:global|buffer)_store_dwordx4\b", code)),
        "narrow": len(re.findall(r"\b(?:global|buffer)_(?:load|store)_(?!dwordx4\b)", code)),
    }


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0
