"""Kernels of other libraries on the machine: grids of three axes, atomic additions, settings, costs of launches."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.atomics import atomics, without_hints
from svertka.codegen.ptx.counts import Counts
from svertka.codegen.ptx.kernel import Buffer, Pointer, run_kernel
from svertka.codegen.ptx.machine import link
from svertka.codegen.ptx.parse import parse
from svertka.codegen.ptx.program import PtxError
from tests.ptx.harness import LANE, apply, kernel, pointer

ATOMIC = f"""{LANE}
    and.b32 %r4, %r3, 1;
    {pointer(1, 0, 4, "%r4")}
    atom.global.gpu.relaxed.add.f32 %r10, [%rd1], 0f40000000;
    {pointer(2, 1, 4)}
    createpolicy.fractional.L2::evict_last.b64 %rd9, 1.0;
    st.global.wt.L2::cache_hint.b32 [%rd2], %r10, %rd9;
"""
"""Each lane adds 2 to one of two sums, and stores what was there before."""


def run(body: str, *arrays: Any, grid: tuple[int, int, int]) -> Counts:
    buffers = [Buffer.of(one, offset=0) for one in arrays]
    text = kernel(body, ("u64",) * len(arrays))
    counts = Counts()
    linked = link(without_hints(parse(text)), atomics)
    run_kernel(linked, grid, buffers, [Pointer(place) for place in range(len(arrays))], counts=counts, again=True)
    return counts


def test_atomic_additions_of_all_lanes_arrive() -> None:
    sums, before = np.array([1, 10], np.float32), np.zeros(96, np.float32)
    counts = run(ATOMIC, sums, before, grid=(3, 1, 1))
    assert sums.tolist() == [1 + 2 * 48, 10 + 2 * 48]
    assert before[::2].tolist() == [1 + 2 * place for place in range(48)]
    assert counts.instructions["atom"] == 3  # by warps
    assert counts.sectors["load"].units == 3
    assert counts.sectors["store"].units == 3 + 12


def test_generated_kernels_have_no_atomics() -> None:
    """They are deterministic: the machine refuses what other libraries do."""
    with pytest.raises(PtxError, match="atom"):
        link(without_hints(parse(kernel(ATOMIC, ("u64", "u64")))))


@pytest.mark.parametrize("grid", [(2, 3, 5), (5, 1, 2), (1, 4, 1)])
def test_programs_along_three_axes(grid: tuple[int, int, int]) -> None:
    """Each program stores its place and the extents at its number."""
    total = int(np.prod(grid))
    found = np.zeros((total, 6), np.uint32)
    body = "    mov.u32 %r1, %ctaid.x;\n    mov.u32 %r2, %ctaid.y;\n    mov.u32 %r3, %ctaid.z;\n"
    body += "    mov.u32 %r4, %nctaid.x;\n    mov.u32 %r5, %nctaid.y;\n    mov.u32 %r6, %nctaid.z;\n"
    body += "    mad.lo.u32 %r7, %r3, %r5, %r2;\n    mad.lo.u32 %r7, %r7, %r4, %r1;\n"
    body += "    mov.u32 %r8, %tid.x;\n    setp.eq.u32 %p1, %r8, 0;\n" + pointer(1, 0, 24, "%r7")
    body += "".join(f"    @%p1 st.global.b32 [%rd1+{4 * place}], %r{1 + place};\n" for place in range(6))
    run(body, found, grid=grid)
    for number, row in enumerate(found.tolist()):
        x, y, z = number % grid[0], number // grid[0] % grid[1], number // (grid[0] * grid[1])
        assert row == [x, y, z, *grid]


def test_sectors_of_a_program_count_once() -> None:
    """Two programs load the same 128 bytes twice each: 4 sectors, fetched by each, requested 16 times."""
    body = "    mov.u32 %r0, %tid.x;\n" + pointer(1, 0, 4, "%r0")
    body += "    ld.global.b32 %r1, [%rd1];\n    ld.global.b32 %r2, [%rd1];\n"
    counts = run(body, np.ones(32, np.float32), grid=(2, 1, 1))
    assert (counts.sectors["load"].units, counts.fetched, counts.distinct) == (16, 8, 4)


@pytest.mark.parametrize(
    ("name", "warps", "products"),
    [
        ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 3, {"mma bf16": 3 * 16 * 8 * 16}),
        ("wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32", 8, {"wgmma tf32": 2 * 64 * 128 * 8}),
        ("fma.rn.f32", 5, {}),
    ],
)
def test_products_of_the_matrix_unit(name: str, warps: int, products: dict[str, int]) -> None:
    counts = Counts()
    counts.product(name, warps)
    assert dict(counts.products) == products


def test_operations_of_other_libraries() -> None:
    edges = np.array([-0.5, 0.25, 1.5, np.nan, np.inf, -np.inf], np.float32)
    assert apply("cvt.sat.f32.f32", np.float32, edges).tolist() == [0, 0.25, 1, 0, 1, 0]
    bits = np.array([0, 1, 0xFFFFFFFF, 0x80000001], np.uint32)
    assert apply("popc.b32", np.uint32, bits).tolist() == [0, 1, 32, 2]
    a = np.array([1 + 2**-23, -(1 + 2**-23), 3.0], np.float32)
    third = np.full(3, np.float32(1 / 3), np.float32)
    down = apply("fma.rm.f32", np.float32, a, third, np.zeros(3, np.float32))
    exact = a.astype(np.float64) * third
    assert (down <= exact).all()
    assert (np.nextafter(down, np.float32(np.inf)) > exact).all()


LIBRARY = """
import torch, triton
import triton.language as tl
from svertka.codegen.ptx.foreign import executing_foreign

@triton.autotune(configs=[triton.Config({"BLOCK": 64}, num_warps=2), triton.Config({"BLOCK": 32})], key=["n"])
@triton.heuristics({"TWICE": lambda given: given["n"] > 1})
@triton.jit
def scale(y, x, n, by=3, BLOCK: tl.constexpr = 1, TWICE: tl.constexpr = False):
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + place, mask=place < n) * by
    tl.store(y + place, value * 2 if TWICE else value, mask=place < n)

x = torch.randn(150)
y = torch.empty_like(x)
with executing_foreign("sm_80") as done:
    scale[lambda given: (1, triton.cdiv(150, given["BLOCK"]))](y, x, 150)
assert torch.equal(y, x * 6)
(cost,) = done.costs
assert (cost.kernel, cost.programs, cost.warps) == ("scale", 3, 2), cost
assert cost.registers > 0 and cost.bytes == 2 * 600
"""


def test_a_library_runs_with_its_first_setting(tmp_path: object) -> None:
    path = f"{tmp_path}/library.py"
    with open(path, "w", encoding="utf-8") as file:
        file.write(LIBRARY)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
