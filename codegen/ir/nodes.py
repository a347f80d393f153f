"""Expressions of kernel IR: trees of four node types, without SymPy.

Input: none. Output: ``Constant``, ``Name``, ``Apply``, ``Load``; each knows whether it is an integer, a real or a
condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["Apply", "Constant", "Kind", "Load", "Name", "Node", "walk_node"]

Kind = Literal["integer", "real", "condition"]


@dataclass(frozen=True)
class Constant:
    """A number; infinities and NaN are given by name."""

    value: Fraction | str
    kind: Kind


@dataclass(frozen=True)
class Name:
    """An index, an extent, a parameter or a value computed before."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Apply:
    """An operation on nodes."""

    operation: str
    arguments: tuple[Node, ...]
    kind: Kind


@dataclass(frozen=True)
class Load:
    """An element of a tensor; ``masks`` are the conditions under which the address is valid."""

    tensor: str
    indices: tuple[Node, ...]
    masks: tuple[Node, ...]
    kind: Kind


Node = Constant | Name | Apply | Load


def walk_node(node: Node) -> Iterator[Node]:
    """Every node of an expression, parents first."""
    yield node
    children = (
        node.arguments if isinstance(node, Apply) else (*node.indices, *node.masks) if isinstance(node, Load) else ()
    )
    for child in children:
        yield from walk_node(child)
