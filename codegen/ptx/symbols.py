"""Instructions on expressions: what the machine executes where registers hold codes of nodes (``codes``).

Arithmetic of float32 gives nodes: over the reals, without rounding, so that ``fma`` is a product and a sum, and
``div.full``, ``rcp.approx``, ``sqrt.approx``, ``ex2.approx`` and ``lg2.approx`` are the functions that they
approximate. The float32 nearest to log2(e), which Triton multiplies with before ``ex2``, is log2(e). Comparisons are
decided by the nodes' samples. Instructions that only move bits keep codes. Every other instruction is executed as ever
where none of its operands is a code. Where one is, the kernel computes with the bits of a number: its sign is followed;
else the result is a node of which only the instruction and its operands are known, and whose sample are the bits that
the operands' samples give. Such a node equals no expression of a formula; ``functions`` recognizes some.

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

__all__ = ["BITS", "MatrixError", "Symbols", "UnfollowedError"]

IDEAL = {"rn", "ftz", "approx", "full", "f32"}
"""Modifiers that say how a result is rounded to nearest, or approximated: of no account over the reals."""
SIGN, MAGNITUDE = 0x80000000, 0x7FFFFFFF
BITS = "bits: "  # how the operation of a node begins that is computed with the bits of floats


class UnfollowedError(PtxError):
    """A kernel computes what expressions cannot say."""


class MatrixError(UnfollowedError):
    """A kernel multiplies with the matrix unit, which rounds its operands."""


class Symbols:
    """Instructions over one graph.

    Attributes:
        graph: where expressions are made.
        codes: its nodes as patterns.
        touched: nodes of which a kernel took the bits or the magnitude.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.codes = graph, Codes(graph)
        self.touched: set[int] = set()
        self._bits: dict[int, int] = {}
        self._known: dict[tuple[str, int], int] = {}
        half = graph.number(0.5)
        one: dict[str, Callable[[int], int]] = {
            "neg": graph.negate,
            "abs": self._magnitude,
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
            "max": self._numbers_of(self._of_equals(graph.larger)),
            "min": self._numbers_of(self._of_equals(graph.smaller)),
            "max.NaN": self._of_equals(graph.larger),
            "min.NaN": self._of_equals(graph.smaller),
        }

    def _magnitude(self, node: int) -> int:
        self.touched.add(node)
        return self.graph.function("Abs", node)

    def _of_equals(self, choose: Callable[[int, int], int]) -> Callable[[int, int], int]:
        """A maximum or minimum that takes the same of two equal numbers in whatever order they come.

        Lanes that reduce the same elements by shuffles have the same number; they have to have the same node.
        """
        samples = self.graph.samples
        return lambda left, right: max(left, right) if samples[left] == samples[right] else choose(left, right)

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
        if instruction.operation == "mma" or instruction.name.startswith("wgmma.mma_async"):
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
        found = [self._of_whole(values.dtype, value) for value in distinct]
        return np.array(found, np.uint32)[places].reshape(np.shape(values))

    def _of_whole(self, kind: Any, value: Any) -> int:
        if kind.itemsize == 4 and self.codes.holds(np.array([value]).view(np.uint32))[0]:
            node = self.codes.node(int(np.array([value]).view(np.uint32)[0]))
            number = np.array([self.pattern_of(node)], np.uint32).view(kind)[0]
            return self.codes.code(self.graph.opaque(f"{BITS}cvt.rn.f32.{kind.name}", (node,), float(number)))
        return self.codes.code(self.graph.number(int(value)))

    def pattern_of(self, node: int) -> int:
        """The bits of a node's sample."""
        if node not in self._bits:
            self._bits[node] = int(np.array([self.graph.samples[node]], np.float32).view(np.uint32)[0])
        return self._bits[node]

    def _plain(self, code: Code, instruction: Instruction) -> Step:
        """An instruction on bits; where these belong to a node, and are not its sign, the result is opaque."""
        operation, signed = TABLE[instruction.name], self._of_sign(instruction)
        types = [DTYPES[kind] for kind in operation.sources]

        def numbers(operands: Sequence[Array]) -> Array:
            given = (part.view(kind) for part, kind in zip(operands, types, strict=True))
            return np.asarray(operation.function(*given))

        def computed(*operands: Array) -> Array:
            holding = np.logical_or.reduce(np.broadcast_arrays(*(self._holding(operand) for operand in operands)))
            if not holding.any():
                return numbers(operands)
            if signed is not None:
                return np.where(holding, self.one(signed, operands[0]), numbers(operands))
            sizes = {DTYPES[kind].itemsize for kind in (operation.result, *operation.sources)}
            if not sizes <= {1, 4}:
                raise UnfollowedError(f"{instruction.name} computes with the bits of a float")
            rows = np.stack(np.broadcast_arrays(*(part.view(np.uint32) for part in operands)), axis=-1)
            distinct, places = np.unique(rows.reshape(-1, len(operands)), axis=0, return_inverse=True)
            found = [self._opaque(instruction, numbers, row) for row in distinct]
            return np.concatenate(found)[places.reshape(rows.shape[:-1])]

        return _stepping(code, instruction, computed)

    def _opaque(self, instruction: Instruction, compute: Callable[[Sequence[Array]], Array], row: Array) -> Array:
        """The result of an instruction on one lane's operands, some of which are codes."""
        held = self.codes.holds(row)
        nodes = [self.codes.node(int(pattern)) for pattern in row[held]]
        self.touched.update(node for node in nodes if not self.graph.operations[node].startswith(BITS))
        bits = row.copy()
        bits[held] = [self.pattern_of(node) for node in nodes]
        given = [bits[place : place + 1] for place in range(len(row))]
        result = compute(given)
        if result.dtype == bool or not held.any():
            return result if result.dtype == bool else result.view(np.uint32)
        told = ", ".join("." if here else str(pattern) for pattern, here in zip(row, held, strict=True))
        sample = float(result.view(np.float32)[0])
        node = self.graph.opaque(f"{BITS}{instruction.name} {told}", tuple(nodes), sample)
        self._bits[node] = int(result.view(np.uint32)[0])
        return np.array([self.codes.code(node)], np.uint32)

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
