"""Decide whether pairs of expressions are equal: polynomials are expanded, others compared at random points.

Input: labelled pairs of nodes. Output: a ``Decision``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from svertka.codegen.verify.symbolic.degree import error_probability
from svertka.codegen.verify.symbolic.expansion import Expansion
from svertka.codegen.verify.symbolic.graph import Graph
from svertka.codegen.verify.symbolic.point import Point

__all__ = ["Decision", "decide"]

_ATTEMPTS = 8
_POLE = "every random point lies on a pole: some expression divides by what is identically 0"


@dataclass(frozen=True)
class Decision:
    """The result of the comparison.

    Attributes:
        certain: how many pairs are one expression, or have the same terms.
        error_probability: upper bound of the probability that some other pair differs and was accepted.
        failures: the first pair that differs, with both expressions.
    """

    certain: int
    error_probability: float
    failures: tuple[str, ...] = ()


def decide(
    graph: Graph, pairs: Sequence[tuple[str, int, int]], points: int, seed: str, sides: tuple[str, str]
) -> Decision:
    """Compare labelled pairs of nodes; ``sides`` name the two sides ("the kernel computes", "the formula")."""
    doubtful = []
    expansion = Expansion(graph)
    for label, left, right in pairs:
        same = expansion.same(left, right)
        if same is None:
            doubtful.append((label, left, right))
        elif not same:
            return Decision(0, 1.0, (_difference(graph, label, left, right, sides),))
    certain = len(pairs) - len(doubtful)
    nodes = sorted({node for _, left, right in doubtful for node in (left, right)})
    for number in range(points if doubtful else 0):
        values = _values(graph, nodes, f"{seed}/{number}")
        if values is None:
            return Decision(certain, 1.0, (_POLE,))
        for label, left, right in doubtful:
            if values[left] != values[right]:
                return Decision(certain, 1.0, (_difference(graph, label, left, right, sides),))
    return Decision(certain, error_probability(graph, [pair[1:] for pair in doubtful], points))


def _difference(graph: Graph, label: str, left: int, right: int, sides: tuple[str, str]) -> str:
    return f"{label}: {sides[0]} {graph.text(left)}, {sides[1]} {graph.text(right)}"


def _values(graph: Graph, nodes: Sequence[int], seed: str) -> Mapping[int, Any] | None:
    for attempt in range(_ATTEMPTS):
        point = Point(graph, f"{seed}/{attempt}")
        try:
            point.evaluate(nodes)
        except ZeroDivisionError:
            continue
        return point.values
    return None
