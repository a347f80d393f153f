"""Kernel IR expressions as Python source: precedence of operators, numbers, arithmetic.

The Triton printer and the launcher's printer share this module. Each adds the operations of its own language.

Input: nodes of ``svertka.codegen.ir.kernel``. Output: one line of Python.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from svertka.codegen.ir.kernel import Apply, Constant, Load, Name, Node

__all__ = ["ARITHMETIC", "NEGATION", "Binding", "ExpressionPrinter", "Text", "number"]


class Binding(IntEnum):
    """How tightly operators bind, loosest first.

    Python gives a floor division the precedence of a product. A printer that sorts the factors of a product uses
    ``FLOOR_DIVISION``, so that ``2 * (a // b)`` and ``-(a // b)`` keep their parentheses.
    """

    CONDITIONAL = 0
    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    BITWISE_OR = 5
    BITWISE_AND = 6
    SUM = 7
    FLOOR_DIVISION = 8
    PRODUCT = 9
    UNARY = 10
    POWER = 11
    ATOM = 12


ARITHMETIC = {
    "add": (Binding.SUM, "+"),
    "subtract": (Binding.SUM, "-"),
    "multiply": (Binding.PRODUCT, "*"),
    "divide": (Binding.PRODUCT, "/"),
    "floor_divide": (Binding.PRODUCT, "//"),
    "remainder": (Binding.PRODUCT, "%"),
}
"""Binary operators by the operation's name: binding and sign."""
NEGATION = {"negate": (Binding.UNARY, "-")}
"""Prefix operators by the operation's name: what the operand must bind, and sign."""


class Text(NamedTuple):
    """A piece of source and how tightly its outermost operator binds."""

    source: str
    binding: int

    def within(self, binding: int) -> str:
        """The source, in parentheses if it binds less tightly than ``binding``."""
        return self.source if self.binding >= binding else f"({self.source})"


def number(value: float, negative: Binding = Binding.UNARY) -> Text:
    """A number.

    Args:
        value: an integer or a real number.
        negative: how tightly the sign of a negative number binds.
    """
    if not math.isfinite(value):
        return Text(f'float("{value}")', Binding.ATOM)
    return Text(repr(value), negative if math.copysign(1, value) < 0 else Binding.ATOM)


class ExpressionPrinter:
    """Prints arithmetic as Python; the base of printers that have more operations.

    Attributes:
        language: how error messages call the printer.
        binary: binary operators by the operation's name.
        prefix: prefix operators by the operation's name.
    """

    language = "launcher"
    binary: Mapping[str, tuple[Binding, str]] = ARITHMETIC
    prefix: Mapping[str, tuple[Binding, str]] = NEGATION

    def text(self, node: Node, binding: int = Binding.CONDITIONAL) -> str:
        """An expression, in parentheses if it binds less tightly than ``binding``.

        Raises:
            TypeError: the expression has a load or an operation that the language does not have.
        """
        return self._text(node).within(binding)

    def _text(self, node: Node) -> Text:
        if isinstance(node, Constant):
            return number(int(node.value) if node.kind == "integer" else float(node.value))
        if isinstance(node, Name):
            return Text(node.name, Binding.ATOM)
        if isinstance(node, Load):
            raise TypeError(f"load of {node.tensor}: a load must be a statement of its own")
        if node.operation in self.binary:
            own, sign = self.binary[node.operation]
            left, right = node.arguments
            # Comparisons do not associate: a < b < c would mean something else.
            before = self.text(left, own + (own == Binding.COMPARISON))
            return Text(f"{before} {sign} {self.text(right, own + 1)}", own)
        if node.operation in self.prefix:
            binding, sign = self.prefix[node.operation]
            return Text(f"{sign}{self.text(node.arguments[0], binding)}", Binding.UNARY)
        return Text(self._call(node), Binding.ATOM)

    def _call(self, node: Apply) -> str:
        """An operation that is written as a call; printers of other languages override it."""
        raise TypeError(f"operation {node.operation!r}: the {self.language} printer does not know it")
