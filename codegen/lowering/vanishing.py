"""Which values are 0 wherever their loads are masked: their sums need no condition beside the loads' own.

A masked load gives 0. ``where(place == k, load, 0)`` is then 0 as well, and so is a product of two loads; a product
with anything else is not, as 0 times infinity is NaN. The default of an absent tensor is not masked: it is a number.

Input: an expression, statements before it, and the condition under which it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction

from svertka.codegen.ir.kernel import Apply, Constant, Let, Load, Name, Node

__all__ = ["vanishes"]


def vanishes(value: Node, guards: Sequence[Node], lets: Iterable[Let], absent: Collection[str] = ()) -> bool:
    """Whether a value is 0 where one of some conditions does not hold, because its loads have them all as masks.

    Args:
        value: what is summed.
        guards: the conditions.
        lets: statements of the same loop.
        absent: names of tensors that may be absent and then are a number.
    """
    loads = {let.name: let.value for let in lets if isinstance(let.value, Load)}
    masked = {name for name, load in loads.items() if {*guards} <= {*load.masks}}
    numbers = {name for name in masked if loads[name].tensor in absent}
    return _is_zero(value, masked - numbers, numbers)


def _is_zero(node: Node, masked: set[str], numbers: set[str]) -> bool:
    """Whether a node is 0 where all loads of some names are, and those of others are numbers."""
    if isinstance(node, Constant):
        return node.value == Fraction(0)
    if isinstance(node, Name):
        return node.kind == "real" and node.name in masked
    if not isinstance(node, Apply):
        return False
    if node.operation == "where":
        return all(_is_zero(part, masked, numbers) for part in node.arguments[1:])
    if node.operation in ("add", "subtract", "negate"):
        return all(_is_zero(part, masked, numbers) for part in node.arguments)
    if node.operation == "multiply":
        zero = [_is_zero(part, masked, numbers) for part in node.arguments]
        return any(zero) and all(
            one or _is_number(part, numbers) for one, part in zip(zero, node.arguments, strict=True)
        )
    return False


def _is_number(node: Node, numbers: set[str]) -> bool:
    """Whether a node is finite whatever is loaded where it counts."""
    if isinstance(node, Name):
        return node.name in numbers
    return isinstance(node, Constant) and isinstance(node.value, Fraction)
