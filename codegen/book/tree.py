"""The appearance of a formula, independent of the output language.

A tree has the notation's own constructs (an element of a tensor, a reduction, a choice) and fractions, powers and
roots. Each has an operator precedence, so that all printers put the same brackets.

Input: none. Output: ``Tree`` nodes, made by ``svertka.codegen.book.typeset`` and printed by
``svertka.codegen.book.printers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "GREEK",
    "Binding",
    "Choice",
    "Element",
    "Fence",
    "Function",
    "Name",
    "Number",
    "Over",
    "Power",
    "Quotient",
    "Root",
    "Row",
    "Sign",
    "Tree",
    "Word",
    "fenced",
    "parts_of",
]


_LETTERS = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho final sigma tau upsilon phi chi
psi omega
"""
GREEK = {word: chr(code) for code, word in enumerate(_LETTERS.split(), start=ord("α"))} | {"eps": "ε"}


class Binding(IntEnum):
    """Operator precedence of a construct, lowest first."""

    RELATION = 0
    SUM = 1
    REDUCTION = 2
    PRODUCT = 3
    POWER = 4
    ATOM = 5


@dataclass(frozen=True)
class Name:
    """An index, an extent, a parameter or a tensor, with its subscript (``stride_h``) and its primes."""

    text: str
    below: str = ""
    primes: int = 0

    binding = Binding.ATOM


@dataclass(frozen=True)
class Number:
    """A number for display; a negative one gets brackets as a factor or a base."""

    text: str

    @property
    def binding(self) -> Binding:
        """A sign has the precedence of a sum."""
        return Binding.SUM if self.text.startswith("−") else Binding.ATOM


@dataclass(frozen=True)
class Word:
    """Words within a formula (``divides``, ``otherwise``)."""

    text: str

    binding = Binding.ATOM


@dataclass(frozen=True)
class Sign:
    """An operator between the parts of a ``Row``."""

    text: str

    binding = Binding.ATOM


@dataclass(frozen=True)
class Row:
    """Parts and the signs between them."""

    parts: tuple[Tree, ...]
    binding: Binding


@dataclass(frozen=True)
class Fence:
    """Something between brackets."""

    left: str
    body: Tree
    right: str

    binding = Binding.ATOM


@dataclass(frozen=True)
class Quotient:
    """A fraction."""

    top: Tree
    bottom: Tree

    binding = Binding.PRODUCT


@dataclass(frozen=True)
class Power:
    """A power; the base already has brackets if it needs them."""

    base: Tree
    exponent: Tree

    binding = Binding.POWER


@dataclass(frozen=True)
class Root:
    """A square root."""

    body: Tree

    binding = Binding.ATOM


@dataclass(frozen=True)
class Element:
    """The element of a tensor at some indices."""

    tensor: Name
    indices: tuple[Tree, ...]

    binding = Binding.ATOM


@dataclass(frozen=True)
class Function:
    """A function of some arguments."""

    name: str
    arguments: tuple[Tree, ...]

    binding = Binding.ATOM


@dataclass(frozen=True)
class Over:
    """A reduction over indices under conditions: a sum, or the largest element or its position."""

    operation: str
    indices: tuple[Tree, ...]
    conditions: tuple[Tree, ...]
    body: Tree

    binding = Binding.REDUCTION


@dataclass(frozen=True)
class Choice:
    """One value under a condition, another otherwise."""

    condition: Tree
    value: Tree
    otherwise: Tree

    binding = Binding.ATOM


Tree = Name | Number | Word | Sign | Row | Fence | Quotient | Power | Root | Element | Function | Over | Choice


def fenced(tree: Tree, least: Binding) -> Tree:
    """The tree, in brackets if its precedence is lower than required."""
    return tree if tree.binding >= least else Fence("(", tree, ")")


def parts_of(tree: Tree) -> Iterator[Tree]:
    """Every node of a tree, parents first."""
    yield tree
    children: tuple[Tree, ...] = ()
    match tree:
        case Row(parts, _):
            children = parts
        case Fence(_, body, _) | Root(body):
            children = (body,)
        case Quotient(first, second) | Power(first, second):
            children = (first, second)
        case Element(_, arguments) | Function(_, arguments):
            children = arguments
        case Over(_, indices, conditions, body):
            children = (*indices, *conditions, body)
        case Choice(condition, value, otherwise):
            children = (condition, value, otherwise)
    for child in children:
        yield from parts_of(child)
