"""Expressions as a graph of shared nodes, each with a sample value.

Nodes are numbers. Equal expressions are one node; constants are folded exactly. The sample, a float64, decides
comparisons: which branch of a maximum or a selection is taken. So a graph represents one region of a function.
Infinities and NaN are separate constants; ``POISON`` is a value that no operation may use.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from svertka.codegen.verify.symbolic.numbers import Parameter, simplest

__all__ = ["LOG_OF_TWO", "ONE", "POISON", "ZERO", "Graph"]

ZERO, ONE, NAN, INFINITY, MINUS_INFINITY, POISON, LOG_OF_TWO = range(7)
_SPECIAL = frozenset({NAN, INFINITY, MINUS_INFINITY, POISON})
_LEAVES = frozenset({"constant", "variable", "special"})
_SIGNS = {"add": " + ", "subtract": " - ", "multiply": "*", "divide": "/", "power": "**"}


class Graph:
    """Nodes in creation order, so that arguments come before the nodes that use them.

    Attributes:
        operations: the operation of each node.
        arguments: node numbers, or the value of a constant, or the name of a variable.
        samples: float64 values.
        singular: operations that met a sample at which they have no value or no derivative, in order.
    """

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.arguments: list[tuple[Any, ...]] = []
        self.samples: list[float] = []
        self.singular: list[tuple[str, int]] = []
        self._known: dict[tuple[str, tuple[Any, ...]], int] = {}
        for value in (0, 1):
            self._node("constant", (Fraction(value),), float(value))
        for name in ("nan", "inf", "-inf"):
            self._node("special", (name,), float(name))
        self._node("special", ("poison",), math.nan)
        self._node("variable", ("log 2",), math.log(2))

    def __len__(self) -> int:
        return len(self.operations)

    def _node(self, operation: str, arguments: tuple[Any, ...], sample: float) -> int:
        key = (operation, arguments)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.operations)
            self.operations.append(operation)
            self.arguments.append(arguments)
            self.samples.append(sample)
        return found

    # Leaves --------------------------------------------------------------------------------------------------------

    def variable(self, name: str, sample: float) -> int:
        """A value of which only its sample is known."""
        return self._node("variable", (name,), sample)

    def opaque(self, operation: str, arguments: tuple[int, ...], sample: float) -> int:
        """An operation of which nothing is known but its name, arguments and sample."""
        return self._node(operation, arguments, sample)

    def number(self, value: Any) -> int:
        """The node of a number; the own node of a parameter."""
        if isinstance(value, Parameter):
            return value.node
        if isinstance(value, float):
            return self._special(value) if not math.isfinite(value) else self.constant(simplest(value))
        return self.constant(Fraction(value))

    def constant(self, value: Fraction) -> int:
        """The node of a rational."""
        return self._node("constant", (value,), float(value))

    def _special(self, value: float) -> int:
        if value != value:
            return NAN
        return self.number(value) if math.isfinite(value) else INFINITY if value > 0 else MINUS_INFINITY

    def rational(self, node: int) -> Fraction | None:
        """The value of a constant."""
        return self.arguments[node][0] if self.operations[node] == "constant" else None

    # Operations ----------------------------------------------------------------------------------------------------

    def add(self, left: int, right: int) -> int:
        """Sum of two nodes."""
        return self.total((left, right))

    def total(self, terms: Iterable[int]) -> int:
        """Sum of many nodes, in no order: this graph does not model rounding."""
        kept = sorted([term for term in terms if term != ZERO])
        if not _SPECIAL.isdisjoint(kept):
            return POISON if POISON in kept else self._special(sum(self.samples[term] for term in kept))
        operations = self.operations
        numbers = [self.arguments[term][0] for term in kept if operations[term] == "constant"]
        if len(numbers) > 1:
            rest = [term for term in kept if operations[term] != "constant"]
            folded = self.constant(sum(numbers, Fraction(0)))
            kept = sorted([*rest, folded]) if folded != ZERO or not rest else rest
        if len(kept) < 2:
            return kept[0] if kept else ZERO
        return self._node("add", tuple(kept), math.fsum([self.samples[term] for term in kept]))

    def negate(self, node: int) -> int:
        """Minus a node."""
        return self.subtract(ZERO, node)

    def subtract(self, left: int, right: int) -> int:
        """Difference."""
        if right == ZERO:
            return left
        if left == right and left not in _SPECIAL:
            return ZERO
        return self._binary("subtract", left, right, operator.sub)

    def multiply(self, left: int, right: int) -> int:
        """Product."""
        if left > right:
            left, right = right, left
        if right not in _SPECIAL and left in (ZERO, ONE):
            return ZERO if left == ZERO else right
        found = self._known.get(("multiply", (left, right)))
        return found if found is not None else self._binary("multiply", left, right, operator.mul)

    def divide(self, left: int, right: int) -> int:
        """Quotient; division by zero as in IEEE 754."""
        if right == ONE:
            return left
        divisor = self.samples[right]
        if divisor == 0:
            self.singular.append(("1 over", right))
            return POISON if POISON in (left, right) else self._special(self.samples[left] * math.inf)
        if left == ZERO and right not in _SPECIAL:
            return ZERO
        return self._binary("divide", left, right, operator.truediv)

    def power(self, base: int, exponent: int) -> int:
        """Power; for 0 and negative bases as in IEEE 754."""
        if exponent == ZERO or base == ONE:
            return ONE
        if exponent == ONE:
            return base
        low, e = self.samples[base], self.samples[exponent]
        value, whole = self.rational(base), self.rational(exponent)
        natural = whole is not None and whole.denominator == 1 and whole > 0
        if low == 0 and not (natural and value is None):  # the sample of a polynomial may be 0 by chance: keep it
            if e < 1:
                self.singular.append(("1 over" if e.is_integer() else "a root of", base))
            return ZERO if e > 0 else ONE if e == 0 else INFINITY
        if low < 0 and not e.is_integer():
            self.singular.append(("a root of", base))
            return NAN
        if value is not None and whole is not None and whole.denominator == 1:
            return self.constant(value**whole.numerator)
        return self._applied("power", (base, exponent), _safely(pow, low, e))

    def function(self, name: str, node: int) -> int:
        """A function of one argument; sign and absolute value follow from the sample."""
        sample = self.samples[node]
        if name == "Abs":
            return ZERO if sample == 0 else self.negate(node) if sample < 0 else node  # at 0 the gradient is 0
        if name == "sign":
            return NAN if sample != sample else self.number((sample > 0) - (sample < 0))
        if node == ZERO and name != "log":
            return ONE if name in ("exp", "cos") else ZERO
        if name == "log":
            if node == ONE or sample <= 0:
                if sample <= 0:
                    self.singular.append(("the logarithm of", node))
                return ZERO if node == ONE else MINUS_INFINITY if sample == 0 else NAN
            return self._applied(name, (node,), _safely(math.log, sample))
        if name not in ("exp", "tanh", "erf", "sin", "cos"):
            raise NotImplementedError(f"function {name}: symbolic execution does not know it; add it to Graph.function")
        return self._applied(name, (node,), _safely(getattr(math, name), sample))

    def exp2(self, node: int) -> int:
        """2 to the power of a node."""
        return self.function("exp", self.multiply(LOG_OF_TWO, node))

    def log2(self, node: int) -> int:
        """Logarithm to base 2."""
        return self.divide(self.function("log", node), LOG_OF_TWO)

    def larger(self, left: int, right: int) -> int:
        """The larger by the samples; NaN if either is NaN."""
        return self._chosen(left, right, self.samples[left] > self.samples[right])

    def smaller(self, left: int, right: int) -> int:
        """The smaller by the samples; NaN if either is NaN."""
        return self._chosen(left, right, self.samples[left] < self.samples[right])

    def _chosen(self, left: int, right: int, first: bool) -> int:
        for node in (left, right):
            if self.samples[node] != self.samples[node]:
                return POISON if POISON in (left, right) else node
        return left if first else right

    def _binary(self, operation: str, left: int, right: int, compute: Callable[[Any, Any], Any]) -> int:
        if self.operations[left] == self.operations[right] == "constant":
            return self.constant(compute(self.arguments[left][0], self.arguments[right][0]))
        return self._applied(operation, (left, right), _safely(compute, self.samples[left], self.samples[right]))

    def _applied(self, operation: str, arguments: tuple[int, ...], sample: float) -> int:
        if not _SPECIAL.isdisjoint(arguments):
            return POISON if POISON in arguments else self._special(sample)
        if not math.isfinite(sample):
            return self._special(sample)
        return self._node(operation, arguments, sample)

    def needed(self, nodes: Iterable[int]) -> list[int]:
        """Nodes and all nodes on which they depend; arguments come first, because their numbers are smaller."""
        found: set[int] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                if self.operations[node] not in _LEAVES:
                    waiting += self.arguments[node]
        return sorted(found)

    def variables(self, node: int) -> list[int]:
        """The variables on which a node depends, in the order of their creation."""
        return [one for one in self.needed([node]) if self.operations[one] == "variable"]

    # Text ----------------------------------------------------------------------------------------------------------

    def text(self, node: int, room: int = 160) -> str:
        """The expression, cut off if it is longer than ``room``."""
        whole = self._text(node, [room])
        return whole if len(whole) <= room else whole[:room] + " ..."

    def _text(self, node: int, room: list[int]) -> str:
        operation, arguments = self.operations[node], self.arguments[node]
        if operation in _LEAVES:
            room[0] -= len(str(arguments[0])) + 3
            return str(arguments[0])
        parts = []
        for argument in arguments:
            if room[0] <= 0:
                parts.append("...")
                break
            parts.append(self._text(argument, room))
        if operation in _SIGNS:
            return f"({_SIGNS[operation].join(parts)})"
        return f"{operation}({', '.join(parts)})"


def _safely(compute: Callable[..., float], *samples: float) -> float:
    """A float operation; infinities where Python raises."""
    try:
        return float(compute(*samples))
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan
