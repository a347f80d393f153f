"""Arrange products of a loop so that what is the same in every step is computed once.

``value * scale / total`` with the row's ``scale`` and ``total`` becomes ``value * (scale / total)``: the quotient has
the shape of the row, and neither it nor a division is computed for every element. Terms of a sum give up common
factors first, if these are exponentials or numbers: ``e * g / t - e * s / t`` becomes ``(g * (1 / t) - s / t) * e``. No
other factor is taken out of a sum: for an infinite one ``2 * v - v`` is NaN, and ``(2 - 1) * v`` is not.

Every bound of a rounding error holds as before. A running error takes a quotient for the product with a reciprocal,
and a product for any order of its factors; a factor that stands before a sum rounds the sum, which is no larger than
its terms together.

Input: an expression of a loop, and the names that change from step to step. Output: an equal expression.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import prod

from svertka.codegen.ir.kernel import Apply, Constant, Load, Name, Node, Section, walk_node

__all__ = ["arranged", "arranged_section"]

ONE = Constant(Fraction(1), "real")
SUMS = {"add", "subtract"}
PRODUCTS = {"multiply", "divide", "negate"}


def arranged_section(section: Section, running: Iterable[str] = ()) -> Section:
    """A loop with the products of its accumulators and stores arranged.

    Args:
        section: a loop; code outside loops stays as it is.
        running: names of values that change along the loop, besides its indices and statements.
    """
    if not section.loops:
        return section
    indices, lets = (loop.index for loop in section.loops), (let.name for let in section.lets)
    varying = frozenset((*indices, *lets, *running))
    accumulators = tuple(replace(a, value=arranged(a.value, varying)) for a in section.accumulators)
    stores = tuple(replace(store, value=arranged(store.value, varying)) for store in section.stores)
    return replace(section, accumulators=accumulators, stores=stores)


def arranged(node: Node, varying: frozenset[str]) -> Node:
    """The expression with its products arranged.

    Args:
        node: an expression within a loop.
        varying: names of the loop's indices and of its statements.
    """
    if not isinstance(node, Apply):
        return node
    if node.kind == "real" and node.operation in SUMS | PRODUCTS:
        return _written(_product(node, varying), varying)
    return Apply(node.operation, tuple(arranged(part, varying) for part in node.arguments), node.kind)


@dataclass(frozen=True)
class _Product:
    """Factors and divisors, in order, with a sign."""

    negative: bool
    above: tuple[Node, ...]
    below: tuple[Node, ...] = ()

    def times(self, other: _Product) -> _Product:
        return _Product(self.negative != other.negative, self.above + other.above, self.below + other.below)

    @property
    def inverse(self) -> _Product:
        return _Product(self.negative, self.below, self.above)


def _product(node: Node, varying: frozenset[str]) -> _Product:
    """The factors and divisors of an expression, each arranged."""
    if isinstance(node, Apply) and node.kind == "real":
        if node.operation == "negate":
            found = _product(node.arguments[0], varying)
            return _Product(not found.negative, found.above, found.below)
        if node.operation in ("multiply", "divide"):
            left, right = (_product(part, varying) for part in node.arguments)
            return left.times(right if node.operation == "multiply" else right.inverse)
        if node.operation in SUMS:
            return _sum([_product(term, varying) for term in _terms(node)], varying)
    return _Product(False, () if node == ONE else (arranged(node, varying),))


def _terms(node: Node, negative: bool = False) -> list[Node]:
    """The terms of a sum; those that are subtracted are negated."""
    if isinstance(node, Apply) and node.kind == "real":
        if node.operation == "negate":
            return _terms(node.arguments[0], not negative)
        if node.operation in ("add", "subtract"):
            left, right = node.arguments
            return [*_terms(left, negative), *_terms(right, negative != (node.operation == "subtract"))]
    return [Apply("negate", (node,), "real") if negative else node]


def _sum(terms: list[_Product], varying: frozenset[str]) -> _Product:
    """The sum of products, with the factors that all of them have before it."""
    above = _common(term.above for term in terms)
    below = _common(term.below for term in terms)
    rest = [_Product(t.negative, _without(t.above, above), _without(t.below, below)) for t in terms]
    first, *others = sorted(rest, key=lambda term: term.negative)
    total = _written(first, varying)
    for term in others:
        operation = "subtract" if term.negative else "add"
        total = Apply(operation, (total, _written(_Product(False, term.above, term.below), varying)), "real")
    return _Product(False, (total, *above), below)


def _common(factors: Iterable[tuple[Node, ...]]) -> tuple[Node, ...]:
    """What all have, as often as all have it, and may be taken out."""
    return tuple(reduce(lambda a, b: a & b, (Counter(filter(_may_leave, of)) for of in factors)).elements())


def _may_leave(factor: Node) -> bool:
    """Whether a factor is a number, an extent or an exponential."""
    return isinstance(factor, Constant) or (isinstance(factor, Apply) and factor.operation in ("real", "exp"))


def _without(factors: tuple[Node, ...], taken: tuple[Node, ...]) -> tuple[Node, ...]:
    left, rest = Counter(taken), []
    for part in factors:
        if left[part]:
            left[part] -= 1
        else:
            rest.append(part)
    return tuple(rest)


def _written(product: _Product, varying: frozenset[str]) -> Node:
    """The product as an expression: what changes from step to step, times the quotient of what does not."""
    changing, staying = (
        [[part for part in of if _varies(part, varying) == wanted] for of in (product.above, product.below)]
        for wanted in (True, False)
    )
    once = _quotient(*_with_one_number(*staying))
    if any(changing):
        value = _quotient(*changing)
        value = value if once == ONE else Apply("multiply", (value, once), "real")
    else:
        value = once
    return Apply("negate", (value,), "real") if product.negative else value


def _with_one_number(above: list[Node], below: list[Node]) -> tuple[list[Node], list[Node]]:
    """Factors and divisors with their numbers multiplied, which is exact."""
    number = prod(map(_number, above), start=Fraction(1)) / prod(map(_number, below), start=Fraction(1))
    left, right = ([part for part in of if not _is_number(part)] for of in (above, below))
    if number.denominator & (number.denominator - 1):
        right.insert(0, Constant(Fraction(number.denominator), "real"))
        number *= number.denominator
    return [Constant(number, "real"), *left] if number != 1 else left, right


def _is_number(node: Node) -> bool:
    return isinstance(node, Constant) and isinstance(node.value, Fraction) and node.value != 0


def _number(node: Node) -> Fraction:
    """The factor that a node is; 1 if it is no number."""
    value = node.value if isinstance(node, Constant) else 1
    return value if isinstance(value, Fraction) and value != 0 else Fraction(1)


def _quotient(above: list[Node], below: list[Node]) -> Node:
    value = _folded(above)
    return Apply("divide", (value, _folded(below)), "real") if below else value


def _folded(factors: list[Node]) -> Node:
    return reduce(lambda a, b: Apply("multiply", (a, b), "real"), factors) if factors else ONE


def _varies(node: Node, varying: frozenset[str]) -> bool:
    return any(isinstance(part, Load) or (isinstance(part, Name) and part.name in varying) for part in walk_node(node))
