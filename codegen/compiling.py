"""Compile generated kernels for GPUs that are not there, and read what the compiler made of them.

The programs run on tensors of torch's ``meta`` device, which have shapes and strides and no memory; each
launch is recorded instead of run, and compiled with just the arguments it would have had.

Input: a module's programs and a case. Output: ``Launched``, then ``Compiled``.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from svertka.codegen.build import KernelModule, build, results_of
from svertka.codegen.cases import Case, large_case
from svertka.codegen.equivalence import canonical_shape, differentiable, run_backward, run_forward
from svertka.spec import gradient_name
from svertka.spec.definition import Definition, Variant
from svertka.spec.notation import Tensor

__all__ = ["TARGETS", "Compiled", "Launched", "compile_definitions", "compile_launch", "gpu_target", "launches"]

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
_TYPES = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
_OPTIONS = ("num_warps", "num_stages")
# Sixteen bytes or more a lane: vector loads, asynchronous copies to shared memory, and boxes by TMA.
_WIDE_LOAD = (
    r"\bld\.global\S*\.(?:v4\.[bfu]32|v2\.[bfu]64|v8\.[bfu]32|v4\.[bfu]64)"
    r"|\bcp\.async\.c[ag]\S* \[[^\n]*, 0x10,|\bcp\.async\.bulk\.tensor"
)


@dataclass(frozen=True)
class Launched:
    """A launch that was recorded: the kernel and all its arguments."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: Mapping[str, Any]


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of a launch.

    Attributes:
        kernel, target, dtype: what was compiled.
        registers: a thread; ``spills``: bytes of local memory a thread; ``shared``: bytes a program.
        matrix: instructions of the matrix unit (wgmma on sm_90); ``wide_loads``: 16-byte loads and copies.
    """

    kernel: str
    target: str
    dtype: str
    registers: int
    spills: int
    shared: int
    matrix: int
    wide_loads: int

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def launches(
    module: KernelModule,
    variant: Variant,
    kernels: ModuleType,
    case: Case,
    dtype: torch.dtype,
    last: bool = False,
    target: str = "default",
) -> list[Launched]:
    """Every launch of a variant's forward and backward.

    Args:
        module: kernels that were derived.
        variant: which formula.
        kernels: the generated module of the kernels.
        case: the formula's sizes.
        dtype: of the tensors.
        last: whether all tensors are in channels_last format.
        target: whose tables choose the tiles.
    """
    layer = variant.layer
    recorded: list[Launched] = []
    launching = kernels.launching
    tensors = {t.name: _meta(t, case, dtype, last) for t in layer.inputs if t.name not in case.absent}
    results = results_of(module.definition, layer)
    seeds = [_meta(Tensor(gradient_name(name), *layer.tensors[name].dims), case, dtype, last) for name in results]
    wanted = tuple(name in tensors for name in differentiable(module.definition, layer))

    def record(kernel: Any, how: Any, schedule: Any, arguments: tuple[Any, ...], constants: Mapping[str, Any]) -> None:
        programs, tiles = schedule
        every = {**constants, **launching.constants_of(how, arguments), **tiles}
        recorded.append(Launched(kernel, programs, arguments, every))

    with mock.patch.multiple(launching, run=record, target_of=lambda device: target):
        saved = run_forward(kernels, layer, case, tensors, save=True)
        run_backward(kernels, layer, case, tensors, seeds, saved[len(layer.outputs) :], wanted)
    return recorded


def _meta(tensor: Tensor, case: Case, dtype: torch.dtype, last: bool) -> torch.Tensor:
    kind = torch.int64 if tensor.kind == "integer" else dtype
    made = torch.empty(canonical_shape(tensor, case.sizes), dtype=kind, device="meta")
    if last and made.dim() >= 3:
        made = torch.empty((made.shape[0], *made.shape[2:], made.shape[1]), dtype=kind, device="meta").movedim(-1, 1)
    return made


def compile_launch(launch: Launched, target: str, dtype: str) -> Compiled:
    """Compile one launch for a target.

    Raises:
        Exception: whatever Triton's compiler raises.
    """
    names = launch.kernel.arg_names
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[tuple[int, ...], list[list[Any]]] = {}
    values = {**dict(zip(names, launch.arguments, strict=False)), **launch.constants}
    for place, name in enumerate(names):
        value = values[name]
        kind = "constexpr" if name in launch.constants or value is None else _type_of(value)
        if isinstance(value, int) and not isinstance(value, bool) and value == 1:
            kind = "constexpr"
        signature[name] = kind
        if kind == "constexpr":
            constants[name] = value
        elif isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0):
            attributes[(place,)] = [["tt.divisibility", 16]]
    options = {name: launch.constants[name] for name in _OPTIONS if name in launch.constants}
    source = ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=gpu_target(target), options=options)
    return Compiled(launch.kernel.__name__, target, dtype, **_resources(compiled))


def gpu_target(name: str) -> GPUTarget:
    """The compiler's target of a name: one of ``TARGETS``, or any other capability as ``sm_N``."""
    known = TARGETS.get(name)
    return GPUTarget("cuda", int(name.removeprefix("sm_")), 32) if known is None else known


def _type_of(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _TYPES[value.dtype]
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def _resources(compiled: Any) -> dict[str, int]:
    """Registers and stack of the machine code; instructions as the assembler was given them."""
    if "cubin" not in compiled.asm:
        return _resources_of_amd(compiled)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code = compiled.asm["ptx"]
    return {
        "registers": _number(r"\bREG:(\d+)", usage),
        "spills": _number(r"\bSTACK:(\d+)", usage),
        "shared": compiled.metadata.shared,
        "matrix": len(re.findall(r"\bwgmma\.mma_async|\bmma\.sync|\btcgen05\.mma\b", code)),
        "wide_loads": len(re.findall(_WIDE_LOAD, code)),
    }


def _resources_of_amd(compiled: Any) -> dict[str, int]:
    code = compiled.asm["amdgcn"]
    return {
        "registers": _number(r"\.vgpr_count:\s+(\d+)", code),
        "spills": _number(r"\.vgpr_spill_count:\s+(\d+)", code),
        "shared": compiled.metadata.shared,
        "matrix": code.count("v_mfma"),
        "wide_loads": code.count("load_dwordx4"),
    }


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def compile_definitions(
    definitions: Sequence[Definition],
    targets: Sequence[str],
    dtypes: Sequence[str],
    formats: Sequence[bool] = (False, True),
    progress: Callable[[str], None] = lambda name: None,
) -> list[Compiled]:
    """Compile all kernels of some definitions at realistic sizes; ``formats``: whether channels come last."""
    rows: list[Compiled] = []
    for definition in definitions:
        module = build(definition)
        kernels = importlib.import_module(f"svertka.generated.kernels.{definition.name}")
        seen: set[str] = set()
        for variant in definition.variants:
            rows += _compile_variant(module, variant, kernels, targets, dtypes, formats, seen)
        progress(definition.name)
    return rows


def _compile_variant(
    module: KernelModule,
    variant: Variant,
    kernels: ModuleType,
    targets: Sequence[str],
    dtypes: Sequence[str],
    formats: Sequence[bool],
    seen: set[str],
) -> Iterator[Compiled]:
    case = large_case(module.definition, variant)
    for dtype in dtypes:
        for last in formats:
            for target in targets:
                for launch in launches(module, variant, kernels, case, getattr(torch, dtype), last, target):
                    key = f"{launch.kernel.__name__} {dtype} {target} {launch.constants}"
                    if key not in seen:
                        seen.add(key)
                        yield compile_launch(launch, target, dtype)
