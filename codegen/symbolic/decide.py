"""Whether pairs of expressions are equal: compared at random points of a prime field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from svertka.codegen.symbolic.degree import error_probability
from svertka.codegen.symbolic.graph import Graph
from svertka.codegen.symbolic.point import Point

__all__ = ["Decision", "decide"]

_ATTEMPTS = 8
_POLE = "every random point lies on a pole: some expression divides by what is identically 0"


@dataclass(frozen=True)
class Decision:
    """What the comparison showed: at most one failure, with both expressions, or how probable an error is."""

    error_probability: float
    failures: tuple[str, ...] = ()


def decide(
    graph: Graph, pairs: Sequence[tuple[str, int, int]], points: int, seed: str, sides: tuple[str, str]
) -> Decision:
    """Compare labelled pairs of nodes; ``sides`` say who speaks ("the kernel computes", "the formula")."""
    doubtful = [pair for pair in pairs if pair[1] != pair[2]]
    nodes = sorted({node for _, left, right in doubtful for node in (left, right)})
    for number in range(points if doubtful else 0):
        values = _values(graph, nodes, f"{seed}/{number}")
        if values is None:
            return Decision(1.0, (_POLE,))
        for label, left, right in doubtful:
            if values[left] != values[right]:
                texts = graph.text(left), graph.text(right)
                return Decision(1.0, (f"{label}: {sides[0]} {texts[0]}, {sides[1]} {texts[1]}",))
    return Decision(error_probability(graph, [pair[1:] for pair in doubtful], points))


def _values(graph: Graph, nodes: Sequence[int], seed: str) -> Mapping[int, Any] | None:
    for attempt in range(_ATTEMPTS):
        point = Point(graph, f"{seed}/{attempt}")
        try:
            point.evaluate(nodes)
        except ZeroDivisionError:
            continue
        return point.values
    return None
