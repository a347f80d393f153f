"""Name the expressions that a section computes more than once.

Input: statements and the expressions that follow them. Output: the same, with repeated integer, real and boolean
expressions as statements of their own, each before its first use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from svertka.codegen.ir.kernel import Apply, Let, Load, Name, Node, walk_node

__all__ = ["share"]

SMALLEST = 4  # nodes; a name for a smaller expression makes the kernel harder to read
STEMS = {"integer": "place", "condition": "inside", "real": "value"}


def share(
    lets: Sequence[Let], roots: Sequence[Node], name_of: Callable[[Node, str], str]
) -> tuple[list[Let], list[Node]]:
    """Name repeated expressions, the largest first.

    Args:
        lets: statements in order.
        roots: expressions that follow them.
        name_of: gives a node a name that begins with a stem; the same node always has the same name.
    """
    statements, expressions = list(lets), list(roots)
    while (node := _largest_repeated(statements, expressions)) is not None:
        name = Name(name_of(node, STEMS[node.kind]), node.kind)
        first = next((n for n, let in enumerate(statements) if _holds(let.value, node)), len(statements))
        statements = [Let(let.name, _replaced(let.value, node, name)) for let in statements]
        expressions = [_replaced(root, node, name) for root in expressions]
        statements.insert(first, Let(name.name, node))
    return statements, expressions


def _largest_repeated(lets: Sequence[Let], roots: Sequence[Node]) -> Apply | None:
    counts: Counter[Apply] = Counter()
    for root in (*(let.value for let in lets), *roots):
        counts.update(node for node in walk_node(root) if isinstance(node, Apply))
    sizes = {node: sum(1 for _ in walk_node(node)) for node, count in counts.items() if count > 1}
    candidates = [node for node, size in sizes.items() if size >= SMALLEST]
    return max(candidates, key=lambda node: sizes[node], default=None)


def _holds(node: Node, part: Node) -> bool:
    return any(other == part for other in walk_node(node))


def _replaced(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    if isinstance(node, Apply):
        return Apply(node.operation, tuple(_replaced(a, old, new) for a in node.arguments), node.kind)
    if isinstance(node, Load):
        indices = tuple(_replaced(i, old, new) for i in node.indices)
        return Load(node.tensor, indices, tuple(_replaced(m, old, new) for m in node.masks), node.kind)
    return node
