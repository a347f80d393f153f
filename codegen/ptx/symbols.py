"""Instructions on expressions: what the machine executes where registers hold codes of nodes (``codes``).

Arithmetic of float32 gives nodes: over the reals, without rounding, so that ``fma`` is a product and a sum, and
``div.full``, ``rcp.approx``, ``sqrt.approx``, ``ex2.approx`` and ``lg2.approx`` are the functions that they approximate.
The float32 nearest to log2(e), which Triton multiplies with before ``ex2``, is log2(e). Comparisons are decided by the
nodes' samples. Instructions that only move bits keep codes. Every other instruction is executed as ever where none of its
operands is a code; where one is, the kernel computes with the bits of a number, and that is refused, except its sign.

Input: a graph. Output: what executes an instruction, for ``machine.link``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from svertka.codegen.ptx import moves
from svertka.codegen.ptx.arithmetic import TABLE
from svertka.codegen.ptx.codes import Codes
from svertka.codegen.ptx.program import Code, Immediate, Instruction, PtxError
from svertka.codegen.ptx.state import Array, State, Step, reader, unknown, writer
from svertka.codegen.ptx.types import DTYPES
from svertka.codegen.verify.symbolic.graph import ONE, Graph

__all__ = ["MatrixError", "Symbols", "UnfollowedError"]

IDEAL = {"rn", "ftz", "approx", "full", "f32"}
"""Modifiers that say how a result is rounded to nearest, or approximated: of no account over the reals."""
SIGN, MAGNITUDE = 0x80000000, 0x7FFFFFFF
MATRIX = ("mma", "wgmma")


class UnfollowedError(PtxError):
    """A kernel computes what expressions cannot say."""


class MatrixError(UnfollowedError):
    """A kernel multiplies with the matrix unit, which rounds its operands."""


class Symbols:
    """Instructions over one graph.

    Attributes:
        graph: where expressions are made.
        codes: its nodes as patterns.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.codes = graph, Codes(graph)
        self._known: dict[tuple[str, int], int] = {}
        half = graph.number(0.5)
        one: dict[str, Callable[[int], int]] = {
            "neg": graph.negate,
            "abs": partial(graph.function, "Abs"),
            "rcp": partial(graph.divide, ONE),
            "sqrt": lambda node: graph.power(node, half),
            "rsqrt": lambda node: graph.divide(ONE, graph.power(node, half)),
            "ex2": graph.exp2,
            "lg2": graph.log2,
        }
        one |= {name: partial(graph.function, name) for name in ("tanh", "sin", "cos")}
        self.unary = one
        self.binary: dict[str, Callable[[int, int], int]] = {
            "add": graph.add,
            "sub": graph.subtract,
            "mul": graph.multiply,
            "div": graph.divide,
            "max": self._numbers_of(graph.larger),
            "min": self._numbers_of(graph.smaller),
            "max.NaN": graph.larger,
            "min.NaN": graph.smaller,
        }

    def _numbers_of(self, choose: Callable[[int, int], int]) -> Callable[[int, int], int]:
        """A maximum or minimum that of one NaN gives the number."""
        samples = self.graph.samples

        def chosen(left: int, right: int) -> int:
            if samples[left] != samples[left]:
                return right
            return left if samples[right] != samples[right] else choose(left, right)

        return chosen

    # Lanes ---------------------------------------------------------------------------------------------------------

    def one(self, name: str, patterns: Array) -> Array:
        """A function of one operand; each distinct pattern is computed once."""
        distinct, places = np.unique(patterns, return_inverse=True)
        found = [self._of_one(name, int(pattern)) for pattern in distinct]
        return np.array(found, np.uint32)[places].reshape(np.shape(patterns))

    def _of_one(self, name: str, pattern: int) -> int:
        key = name, pattern
        if key not in self._known:
            self._known[key] = self.codes.code(self.unary[name](self.codes.node(pattern)))
        return self._known[key]

    def two(self, name: str, left: Array, right: Array) -> Array:
        """A function of two operands."""
        keys = (left.astype(np.uint64) << np.uint64(32)) | right
        distinct, places = np.unique(keys, return_inverse=True)
        found = [self._of_two(name, int(key)) for key in distinct]
        return np.array(found, np.uint32)[places].reshape(keys.shape)

    def _of_two(self, name: str, pair: int) -> int:
        key = name, pair
        if key not in self._known:
            nodes = self.codes.node(pair >> 32), self.codes.node(pair & 0xFFFFFFFF)
            self._known[key] = self.codes.code(self.binary[name](*nodes))
        return self._known[key]

    def samples(self, patterns: Array) -> Array:
        """Sample values of patterns, as float64."""
        distinct, places = np.unique(patterns, return_inverse=True)
        found = np.array([self.graph.samples[self.codes.node(int(pattern))] for pattern in distinct])
        return found[places].reshape(np.shape(patterns))

    # Instructions --------------------------------------------------------------------------------------------------

    def step(self, code: Code, instruction: Instruction) -> Step | None:
        """What executes an instruction on nodes; None for one that only moves bits, or has no numbers.

        Raises:
            MatrixError: an instruction of the matrix unit.
        """
        if instruction.operation in MATRIX and not instruction.name.startswith(("wgmma.fence", "wgmma.commit", "wgmma.wait")):
            raise MatrixError(f"kernel {code.name}: {instruction.name} rounds its operands")
        if instruction.name not in TABLE or instruction.operation in ("selp", "mov"):
            return None
        function = self._function(instruction)
        if function is not None:
            return _stepping(code, instruction, function)
        return self._plain(code, instruction)

    def _function(self, instruction: Instruction) -> Callable[..., Array] | None:
        """What an instruction of float32 computes; None if it computes with other types, or is not known."""
        operation, modifiers = instruction.operation, instruction.modifiers
        if operation == "cvt" and modifiers[:2] == ("rn", "f32") and DTYPES[modifiers[-1]].kind in "iu":
            return self._whole
        if not modifiers or modifiers[-1] != "f32":
            return None
        if operation == "setp":
            compare = TABLE[f"setp.{modifiers[0]}.f32"].function
            return lambda left, right: compare(self.samples(left), self.samples(right))
        if "NaN" in modifiers:
            operation += ".NaN"
        if not {*modifiers} <= IDEAL | {"NaN"}:
            return None
        if operation == "fma":
            return lambda a, b, c: self.two("add", self.two("mul", a, b), c)
        if operation in self.unary:
            return partial(self.one, operation)
        return partial(self.two, operation) if operation in self.binary else None

    def _whole(self, values: Array) -> Array:
        """Nodes of whole numbers, which are exact here."""
        distinct, places = np.unique(values, return_inverse=True)
        found = [self.codes.code(self.graph.number(int(value))) for value in distinct]
        return np.array(found, np.uint32)[places].reshape(np.shape(values))

    def _plain(self, code: Code, instruction: Instruction) -> Step:
        """An instruction on bits; refused where a bit belongs to a node, but for the sign alone."""
        operation, signed = TABLE[instruction.name], self._of_sign(instruction)
        types = [DTYPES[kind] for kind in operation.sources]

        def computed(*operands: Array) -> Array:
            holding = [self._holding(operand) for operand in operands]
            numbers = (operand.view(kind) for operand, kind in zip(operands, types, strict=True))
            if not any(some.any() for some in holding):
                return operation.function(*numbers)
            if signed is not None:
                return np.where(holding[0], self.one(signed, operands[0]), operation.function(*numbers))
            raise UnfollowedError(f"{instruction.name} computes with the bits of a float")

        return _stepping(code, instruction, computed)

    def _of_sign(self, instruction: Instruction) -> str | None:
        """The function of a number that an instruction on its sign alone computes."""
        last = instruction.operands[-1]
        if not isinstance(last, Immediate):
            return None
        value = last.value % (1 << 32)
        known = {("and.b32", MAGNITUDE): "abs", ("xor.b32", SIGN): "neg"}
        return known.get((instruction.name, value))

    def _holding(self, operand: Array) -> Array:
        """Which values hold a code, in any of their halves."""
        if operand.dtype.itemsize == 4:
            return self.codes.holds(operand.view(np.uint32))
        if operand.dtype.itemsize == 8:
            bits = operand.view(np.uint64)
            low, high = bits.astype(np.uint32), (bits >> np.uint64(32)).astype(np.uint32)
            return self.codes.holds(low) | self.codes.holds(high)
        return np.zeros(operand.shape, bool)


def _stepping(code: Code, instruction: Instruction, function: Callable[..., Array]) -> Step:
    """What computes a function in the active lanes alone: others may hold anything."""
    operation = TABLE[instruction.name]
    result, *sources = instruction.operands
    if len(sources) != len(operation.sources):
        raise unknown(code, instruction, f"it has {len(sources)} operands, {len(operation.sources)} are known")
    write = writer(code, result, _bits(operation.result))
    reads = [reader(code, one, _bits(kind)) for one, kind in zip(sources, operation.sources, strict=True)]

    def step(state: State) -> None:
        values: Sequence[Any] = [read(state) for read in reads]
        try:
            if state.active is None or all(value.shape[0] == 1 for value in values):
                found = function(*values)
            else:
                lanes = state.chosen()
                part = function(*(value if value.shape[0] == 1 else value[lanes] for value in values))
                found = moves.spread(state, lanes, np.broadcast_to(part, lanes.shape))
        except UnfollowedError as error:
            raise UnfollowedError(str(state.error(str(error)))) from None
        write(state, found)

    return step


def _bits(kind: str) -> Any:
    """The type in which an operand is read: patterns of float32, whole numbers as they are."""
    return np.dtype(np.uint32) if kind == "f32" else DTYPES[kind]
