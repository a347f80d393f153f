"""Expressions as bit patterns of 32 bits, so that registers and memory of the machine hold them.

A pattern is a number of float32, or the code of a node of an expression graph: one of the signalling NaNs of positive
sign, which no kernel computes and no whole number of a kernel is, except by a chance of one in a thousand millions.
Moves, loads, stores and shuffles keep patterns whatever they mean.

A float32 stands for the constant of the formula that rounds to it, such as the root of 2, or else for the simplest
rational that does, as literals of the source. What is computed of constants is a node, so that one can follow what
becomes of its bits; 0 is but a number.

Input: nodes or patterns. Output: patterns or nodes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from svertka.codegen.ptx.state import Array
from svertka.codegen.verify.symbolic.graph import INFINITY, LOG_OF_TWO, MINUS_INFINITY, NAN, ONE, ZERO, Graph
from svertka.codegen.verify.symbolic.numbers import between

__all__ = ["LN_2", "LOG2_E", "Codes", "simplest_32"]

FIRST, MOST = 0x7F800001, 0x003FFFFF  # the first signalling NaN, and how many there are of positive sign
LOG2_E, LN_2 = 0x3FB8AA3B, 0x3F317218
"""The float32 nearest to log2(e) and to log(2): in kernels they stand for these numbers themselves."""
_CLOSED = ("add", "subtract", "multiply", "divide", "power")
SPECIAL = {NAN: 0x7FFFFFFF, INFINITY: 0x7F800000, MINUS_INFINITY: 0xFF800000, ZERO: 0}


def simplest_32(value: float) -> Fraction:
    """The rational of least denominator whose nearest float32 is ``value``, which is one."""
    if value == 0:
        return Fraction(0)
    if value < 0:
        return -simplest_32(-value)
    near = np.float32(value)
    below, above = (Fraction(float(np.nextafter(near, np.float32(end)))) for end in (0, np.inf))
    exact = Fraction(value)
    return between((exact + below) / 2, (exact + above) / 2)


class Codes:
    """The patterns of one graph's nodes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._nodes: dict[int, int] = {bits: node for node, bits in SPECIAL.items()}
        self._codes: dict[int, int] = dict(SPECIAL)
        self._constants: dict[float, int] = {}
        self._nodes |= {LOG2_E: graph.divide(ONE, LOG_OF_TWO), LN_2: LOG_OF_TWO}

    def holds(self, patterns: Array) -> Array:
        """Which patterns of 32 bits are codes."""
        return (patterns >= np.uint32(FIRST)) & (patterns < np.uint32(FIRST + len(self.graph)))

    def prefer(self) -> None:
        """Let a float32 stand for a constant of the graph that rounds to it: a root, or one that float64 rounds too.

        The graph has those of the formula. A literal may be its multiple by a power of two, which changes no digits.
        """
        graph = self.graph
        closed: set[int] = set()
        for node, operation in enumerate(graph.operations):
            value = graph.rational(node)
            if value is not None or (operation in _CLOSED and closed.issuperset(graph.arguments[node])):
                closed.add(node)
                near = np.float32(graph.samples[node])
                digits = math.frexp(abs(float(near)))[0]
                if not np.isfinite(near) or value == 0 or simplest_32(float(near)) == value:
                    continue
                if value is not None or abs(digits) != math.frexp(abs(graph.samples[node]))[0]:
                    self._constants.setdefault(digits, node)

    def _constant(self, value: float) -> int:
        """The node for which a finite number stands."""
        digits, exponent = math.frexp(abs(value))
        known = self._constants.get(digits)
        if known is None:
            return self.graph.constant(simplest_32(value))
        own = math.frexp(float(np.float32(abs(self.graph.samples[known]))))[1]
        scale = Fraction(2) ** (exponent - own) * (-1 if (value < 0) != (self.graph.samples[known] < 0) else 1)
        return self.graph.multiply(self.graph.constant(scale), known)

    def node(self, pattern: int) -> int:
        """The node of a pattern."""
        found = self._nodes.get(pattern)
        if found is None:
            if FIRST <= pattern < FIRST + len(self.graph):
                found = pattern - FIRST
            else:
                value = float(np.array([pattern], np.uint32).view(np.float32)[0])
                found = self._constant(value) if math.isfinite(value) else self.graph.number(value)
            self._nodes[pattern] = found
        return found

    def code(self, node: int) -> int:
        """The pattern of a node.

        Raises:
            OverflowError: the graph has more nodes than there are codes.
        """
        found = self._codes.get(node)
        if found is None:
            found = FIRST + node
            if node >= MOST:
                raise OverflowError(f"{node} expressions are more than there are codes for")
            self._codes[node] = found
        return found

    def of_nodes(self, nodes: Any) -> Array:
        """Patterns of nodes."""
        return np.array([self.code(int(node)) for node in nodes], np.uint32)

    def nodes(self, patterns: Array) -> list[int]:
        """Nodes of patterns."""
        return [self.node(pattern) for pattern in patterns.tolist()]
