"""The formula's side: an arithmetic for ``spec.evaluate`` over the expression graph that the kernel's values use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import sympy

from svertka.codegen.verify.symbolic.graph import ONE, Graph

__all__ = ["APPROXIMATED", "GraphArithmetic"]

APPROXIMATED: Mapping[str, Callable[[Graph, int], int]] = {
    "tanh": lambda graph, node: graph.function("tanh", node),
    "expm1": lambda graph, node: graph.subtract(graph.function("exp", node), ONE),
    "log1p": lambda graph, node: graph.function("log", graph.add(ONE, node)),
}
"""The package's primitives that approximate a function, as that function."""


class GraphArithmetic:
    """Values are nodes; comparisons are decided by their samples."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def number(self, value: Any) -> int:
        """A number of the formula or a parameter's value."""
        if isinstance(value, sympy.Expr):
            if value.is_Rational:
                return self.graph.constant(Fraction(int(value.p), int(value.q)))
            return self.graph.number(float(value))
        return self.graph.number(value)

    def add(self, *values: int) -> int:
        """Sum of a few values."""
        return self.graph.total(values)

    def multiply(self, *values: int) -> int:
        """Product of a few values."""
        return reduce(self.graph.multiply, values, ONE)

    def power(self, base: int, exponent: int) -> int:
        """Power."""
        return self.graph.power(base, exponent)

    def function(self, name: str, value: int) -> int:
        """A function of one argument."""
        return self.graph.function(name, value)

    def total(self, values: Sequence[int]) -> int:
        """Sum of a reduction."""
        return self.graph.total(values)

    def product(self, values: Sequence[int]) -> int:
        """Product of a reduction."""
        return self.multiply(*values)

    def compare(self, relation: str, left: int, right: int) -> bool:
        """Whether the relation holds for the samples."""
        a, b = self.graph.samples[left], self.graph.samples[right]
        if math.isnan(a) or math.isnan(b):
            return relation == "!="
        below, equal = a < b, a == b
        return {
            "<": below,
            "<=": below or equal,
            ">": not below and not equal,
            ">=": not below,
            "==": equal,
            "!=": not equal,
        }[relation]
