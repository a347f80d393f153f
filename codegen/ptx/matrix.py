"""``mma.sync``: the matrix unit on fragments in registers of a warp.

Which element of a matrix stands in which register of which thread is said by the PTX documentation, "Matrix Fragments
for mma". With g = lane / 4 and t = lane % 4, a fragment's rows are g and g + 8, its columns follow t.

Input: an ``Instruction``. Output: what executes it, a ``Step``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svertka.codegen.ptx.conversions import truncated_to_tf32
from svertka.codegen.ptx.moves import spread
from svertka.codegen.ptx.numerics import product
from svertka.codegen.ptx.program import Code, Instruction, Operand, Vector
from svertka.codegen.ptx.rounding import bfloat16_values
from svertka.codegen.ptx.state import WARP, Array, State, Step, reader, unknown, writer
from svertka.codegen.ptx.warps import whole_warps

__all__ = ["accumulator_places", "fragment_places", "multiply", "values_of"]

_LANE = np.arange(WARP)
GROUP, THREAD = _LANE // 4, _LANE % 4
FORMATS = {"f16": 16, "bf16": 16, "tf32": 32, "f64": 64}
SHAPES: dict[str, tuple[str, ...]] = {
    "f16": ("m16n8k8", "m16n8k16"),
    "bf16": ("m16n8k8", "m16n8k16"),
    "tf32": ("m16n8k4", "m16n8k8"),
}
SHAPES |= {"f64": ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16")}


@dataclass(frozen=True)
class _Shape:
    rows: int
    columns: int
    inner: int


def values_of(kind: str, words: Array) -> Array:
    """What the matrix unit reads in the bits of an operand: float32, or float64."""
    if kind == "f64":
        return words.view(np.float64)
    if kind == "tf32":
        return truncated_to_tf32(words)
    halves = np.ascontiguousarray(words).view(np.uint16)
    return bfloat16_values(halves) if kind == "bf16" else halves.view(np.float16).astype(np.float32)


def fragment_places(rows: int, inner: int, bits: int) -> tuple[Array, Array]:
    """Row and column of each element of a left operand: arrays over lanes and elements in order of the registers."""
    each = 2 if bits == 16 else 1  # neighbours in one register
    blocks = inner // (4 * each)
    found = []
    for block in range(blocks):
        for half in range(rows // 8):
            for one in range(each):
                found.append((GROUP + 8 * half, THREAD * each + one + 4 * each * block))
    return np.stack([row for row, _ in found], 1), np.stack([column for _, column in found], 1)


def accumulator_places(rows: int, columns: int) -> tuple[Array, Array]:
    """The same for an accumulator: registers run over two columns, then rows, then blocks of columns."""
    found = []
    for block in range(columns // 8):
        for half in range(rows // 8):
            for one in range(2):
                found.append((GROUP + 8 * half, THREAD * 2 + one + 8 * block))
    return np.stack([row for row, _ in found], 1), np.stack([column for _, column in found], 1)


def multiply(code: Code, instruction: Instruction) -> Step:
    """``mma.sync.aligned.mMnNkK.row.col.D.A.B.C``."""
    parts = instruction.modifiers
    if len(parts) != 9 or parts[:2] != ("sync", "aligned") or parts[3:5] != ("row", "col"):
        raise unknown(code, instruction)
    kind, accumulated = parts[6], "f64" if parts[6] == "f64" else "f32"
    if kind not in FORMATS or parts[2] not in SHAPES[kind] or parts[5:] != (accumulated, kind, kind, accumulated):
        raise unknown(code, instruction, "this shape or these types are not known")
    shape = _Shape(*(int(part) for part in parts[2][1:].replace("n", " ").replace("k", " ").split()))
    word = np.uint64 if kind == "f64" else np.uint32
    reads = [[reader(code, one, word) for one in _registers(code, instruction, o)] for o in instruction.operands[1:]]
    writes = [writer(code, one, word) for one in _registers(code, instruction, instruction.operands[0])]
    left, right = (
        fragment_places(shape.rows, shape.inner, FORMATS[kind]),
        fragment_places(8, shape.inner, FORMATS[kind]),
    )
    added = accumulator_places(shape.rows, shape.columns)
    dtype = np.float64 if kind == "f64" else np.float32

    def gathered(state: State, warps: Array, operand: int, kind: str) -> Array:
        """[warps, lanes, elements] of an operand."""
        words = np.stack([state.full(read(state)).reshape(-1, WARP)[warps] for read in reads[operand]], axis=2)
        return np.ascontiguousarray(words).view(dtype) if operand == 2 else values_of(kind, words)

    def step(state: State) -> None:
        warps = whole_warps(state)
        if not len(warps):
            return
        a = np.zeros((len(warps), shape.rows, shape.inner), dtype)
        b = np.zeros((len(warps), shape.inner, shape.columns), dtype)
        c = np.zeros((len(warps), shape.rows, shape.columns), dtype)
        a[:, left[0], left[1]] = gathered(state, warps, 0, kind)
        b[:, right[1], right[0]] = gathered(state, warps, 1, kind)
        c[:, added[0], added[1]] = gathered(state, warps, 2, kind)
        result = product(a, b, c)[:, added[0], added[1]]
        lanes = (warps[:, None] * WARP + _LANE).reshape(-1)
        for place, write in enumerate(writes):
            write(state, spread(state, lanes, np.ascontiguousarray(result[:, :, place]).reshape(-1).view(word)))

    return step


def _registers(code: Code, instruction: Instruction, operand: Operand) -> tuple[Operand, ...]:
    if not isinstance(operand, Vector):
        raise unknown(code, instruction, "its operands are no registers in braces")
    return operand.parts
