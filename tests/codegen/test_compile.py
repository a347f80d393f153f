"""Every kernel compiles for GPUs that are not present; ``test_gate`` checks the machine code for one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from svertka.codegen.lowering.built import built
from svertka.codegen.machine.compiling import widths
from svertka.codegen.verify.recording import defined_name
from svertka.spec.layers import DEFINITIONS


def kernels_of(name: str) -> ModuleType:
    """A layer's kernels."""
    return import_module(f"svertka.generated.kernels.{name}")


def compiled(target: str, dtype: str, *options: str) -> list[dict[str, Any]]:
    """Rows of ``svertka compile`` in a process without the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", "compile", "--json", "--target", target, "--dtype", dtype]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), [("sm_80", "bfloat16"), ("sm_100", "float32"), ("gfx942", "float32")])
def test_every_kernel_compiles(target: str, dtype: str) -> None:
    """In a process without the interpreter; no box is loaded on targets without a copy engine, or in float32."""
    rows = compiled(target, dtype, "--row-major")
    functions = [(name, k.name) for name, d in DEFINITIONS.items() for k in built(d).kernels]
    assert {row["kernel"] for row in rows} == {defined_name(kernels_of(name), f) for name, f in functions}
    assert all(row["registers"] > 0 for row in rows)


@pytest.mark.slow
def test_every_entry_of_every_table_compiles_without_spills() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "svertka.codegen", "tune", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-3000:]


@pytest.mark.slow
def test_boxes_compile_for_blackwell() -> None:
    rows = compiled("sm_100", "bfloat16", "linear", "convolution_2d")
    boxed = {row["kernel"] for row in rows if row["kernel"].endswith("_boxes")}
    assert boxed == {
        f"{k.name}_boxes" for name in ("linear", "convolution_2d") for k in built(DEFINITIONS[name]).kernels if k.boxes
    }
    assert all(row["boxes"] and row["matrix"] for row in rows if row["kernel"] in boxed and row["shared"])


@pytest.mark.slow
def test_rows_of_an_example_are_loaded_sixteen_bytes_at_a_time() -> None:
    """With elements of a channel as neighbours, and with channels as neighbours."""
    rows = compiled("sm_90", "bfloat16", "batch_normalization")
    parts = [row for row in rows if row["kernel"].endswith("_part")]
    names = {kernel.name for kernel in built(DEFINITIONS["batch_normalization"]).kernels}
    assert sorted(row["kernel"] for row in parts) == sorted([name for name in names if name.endswith("_part")] * 2)
    assert [row for row in parts if not row["wide_loads"] or row["spills"]] == []


IN_FULL = """
import json
import torch
from svertka.codegen.lowering.built import built
from svertka.codegen.verify.cases import large_case
from svertka.codegen.machine.compiling import assembled
from svertka.codegen.verify.recording import recorded
from svertka.spec.layers import DEFINITIONS
from importlib import import_module
from types import ModuleType

for name in ("batch_normalization", "cross_channel_normalization", "cross_entropy", "dropout"):
    definition, kernels = DEFINITIONS[name], import_module(f"svertka.generated.kernels.{name}")
    module = built(definition)
    for variant in definition.variants:
        for one in recorded(module, variant, kernels, large_case(definition, variant), torch.float64):
            for launch in one.launches:
                made = assembled(launch, "sm_90")
                names = [n for n, value in zip(launch.kernel.arg_names, launch.arguments) if isinstance(value, float)]
                doubles = made.asm["ptx"].partition(".entry")[2].partition(")")[0].count(".param .f64")
                print(json.dumps([launch.kernel.__name__, names, doubles, made.asm["ttir"].count("f32")]))
"""


@pytest.mark.slow
def test_numbers_reach_a_float64_kernel_in_full() -> None:
    """As float64 parameters; a float64 kernel has no float32, which would lose the last digits of a number."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", IN_FULL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {tuple(names) for _, names, _, _ in rows} == {(), ("momentum",), ("label_smoothing",), ("p",)}
    for kernel, names, doubles, narrow in rows:
        random = names == ["p"]  # the random field's numbers have the bits of a float32
        assert (doubles, narrow > 0) == (len(names), random), kernel


IN_MEMORY = """
import torch
from dataclasses import replace
from svertka.codegen.lowering.built import built
from svertka.codegen.verify.cases import large_case
from svertka.codegen.machine.compiling import assembled
from svertka.codegen.verify.recording import recorded
from svertka.generated.kernels import dropout as kernels
from svertka.spec.layers import DEFINITIONS

definition = DEFINITIONS["dropout"]
variant = definition.variants[0]
for one in recorded(built(definition), variant, kernels, large_case(definition, variant), torch.float32):
    for launch in one.launches:
        names = launch.kernel.arg_names
        seed = torch.zeros((), dtype=torch.int64, device="meta")
        placed = [seed if name == "seed" else value for name, value in zip(names, launch.arguments)]
        assert [value for value, other in zip(placed, launch.arguments) if value is not other] == [seed]
        every = [assembled(one, "sm_90") for one in (replace(launch, arguments=tuple(placed)), launch)]
        print(launch.kernel.__name__, *(made.asm["ttir"].count("tt.load") for made in every))
"""


def test_a_seed_may_lie_in_memory() -> None:
    """CUDA graphs need it: every replay draws a new seed, which the kernel loads."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", IN_MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["dropout_output"] * len(rows)  # which is the gradient's kernel too
    assert len(rows) == 3  # forward, saving, backward
    assert {(int(loads), int(plain)) for _, loads, plain in rows} == {(2, 1)}


ACCESSES = [
    ("@%p1 ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd4 + 0 ];", (1, 0, 0)),
    ("ld.global.L1::evict_last.v2.b64 { %rd1, %rd2 }, [ %rd4 + 0 ];", (1, 0, 0)),
    ("cp.async.cg.shared.global [ %r1 + 0 ], [ %rd2 + 0 ], 0x10, %r3;", (1, 0, 0)),
    ("@%p2 st.global.v4.b32 [ %rd4 + 0 ], { %r1, %r2, %r3, %r4 };", (0, 1, 0)),
    ("ld.global.v4.b16 { %rs1, %rs2, %rs3, %rs4 }, [ %rd4 + 0 ];", (0, 0, 1)),
    ("ld.global.v2.b32 { %r1, %r2 }, [ %rd4 + 0 ];", (0, 0, 1)),
    ("cp.async.ca.shared.global [ %r1 + 0 ], [ %rd2 + 0 ], 0x4, %r3;", (0, 0, 1)),
    ("@%p2 st.global.b16 [ %rd4 + 0 ], { %rs1 };", (0, 0, 1)),
    ("ld.shared.v4.b32 { %r1, %r2, %r3, %r4 }, [ %r9 + 0 ];", (0, 0, 0)),
    ("ld.param.b64 %rd1, [relu_output_param_0];", (0, 0, 0)),
    (
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];",
        (0, 0, 0),
    ),
]


@pytest.mark.parametrize(("line", "expected"), ACCESSES)
def test_widths_of_accesses(line: str, expected: tuple[int, int, int]) -> None:
    found = widths(f"\t{line}\n\tret;\n")
    assert (found["wide_loads"], found["wide_stores"], found["narrow"]) == expected


@pytest.mark.slow
@pytest.mark.parametrize("layers", [("linear", "softmax", "max_pooling_2d", "batch_normalization", "dropout")])
def test_what_is_compiled_here_is_what_triton_asks_for_there(layers: tuple[str, ...]) -> None:
    """Signature, constants, attributes, options and key of every launch are those of the JIT; unaligned views too."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.codegen.jit_keys", *layers]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    functions = [(name, f) for name in layers for k in built(DEFINITIONS[name]).kernels for f in k.functions]
    assert {row["kernel"] for row in rows} == {defined_name(kernels_of(name), f) for name, f in functions}
    assert [row for row in rows if row["differs"]] == []
    straight, shifted = rows[::2], rows[1::2]
    assert all(one["aligned"] > other["aligned"] for one, other in zip(straight, shifted, strict=True))
    assert {row["key"] for row in straight}.isdisjoint(row["key"] for row in shifted)
