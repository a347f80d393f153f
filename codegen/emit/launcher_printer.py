"""Print SymPy expressions and conditions as Python source, for the code that runs on the host.

Input: an expression or condition over parameters and extents. Output: one line of Python. The same expression
always gives the same text: terms and factors are sorted by their text, never by SymPy's order, which follows
the hash seed.

Supported: numbers, symbols, sums, products, powers with an integer exponent, ``FloorDiv``, ``maximum``,
``minimum``, ``Select``, absolute values; relations, ``And``, ``Or``, ``Not``, ``Divides``, ``InRange``, true
and false. Any other node is a ``TypeError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sympy import Abs, Add, Basic, Expr, Float, Integer, Mul, Pow, Rational, Symbol
from sympy.core.relational import (
    Equality,
    GreaterThan,
    LessThan,
    StrictGreaterThan,
    StrictLessThan,
    Unequality,
)
from sympy.logic.boolalg import And, Boolean, BooleanFalse, BooleanTrue, Not, Or

from svertka.spec.notation import Divides, FloorDiv, InRange, Select, maximum, minimum

__all__ = ["host_condition", "host_expression"]

# How tightly operators bind, loosest first. Python gives a floor division a product's binding; here it has less,
# because -(a // b) and 2 * (a // b) need their parentheses.
CONDITIONAL, OR, AND, NOT, COMPARISON, SUM, FLOOR_DIVISION, PRODUCT, POWER, ATOM = range(10)
RELATIONS: dict[type[Basic], str] = {
    Equality: "==",
    Unequality: "!=",
    LessThan: "<=",
    StrictLessThan: "<",
    GreaterThan: ">=",
    StrictGreaterThan: ">",
}


class _Text(NamedTuple):
    """A piece of source and how tightly its outermost operator binds."""

    source: str
    binding: int

    def within(self, binding: int) -> str:
        """The source, in parentheses where it binds less tightly than its surroundings."""
        return self.source if self.binding >= binding else f"({self.source})"


def host_expression(expr: Expr, names: Mapping[str, str] | None = None) -> str:
    """Print an integer or real expression.

    Args:
        expr: the expression.
        names: Python source by symbol name; a symbol that is not in it prints as its own name.

    Raises:
        TypeError: the expression has a node outside the supported subset.
    """
    return _Printer(names or {}).text(expr).source


def host_condition(condition: Boolean, names: Mapping[str, str] | None = None) -> str:
    """Print a condition; arguments and errors as in ``host_expression``."""
    return _Printer(names or {}).text(condition).source


class _Printer:
    """One method a kind of node."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def text(self, node: Basic) -> _Text:
        for kind in type(node).__mro__:
            if kind in HANDLERS:
                return HANDLERS[kind](self, node)
        raise TypeError(
            f"{type(node).__name__} node {node}: the host printer supports {_supported()}; "
            "write the expression with these"
        )

    def number(self, node: Any) -> _Text:
        if isinstance(node, Float):
            source = repr(float(node))
        elif isinstance(node, Integer):
            source = str(int(node))
        else:
            return _Text(f"{node.p} / {node.q}", PRODUCT if node.p > 0 else SUM)
        return _Text(source, SUM if source.startswith("-") else ATOM)

    def symbol(self, node: Any) -> _Text:
        return _Text(self.names.get(node.name, node.name), ATOM)

    def sum(self, node: Any) -> _Text:
        added: list[_Text] = []
        taken: list[_Text] = []
        for term in node.args:
            negative = term.as_coeff_Mul()[0].is_negative
            (taken if negative else added).append(self.text(-term if negative else term))
        added.sort(key=_constants_last)
        taken.sort(key=_constants_last)
        first = "" if added else f"-{taken.pop(0).within(PRODUCT)}"
        plus = " + ".join(term.within(FLOOR_DIVISION) for term in added)
        minus = "".join(f" - {term.within(FLOOR_DIVISION)}" for term in taken)
        return _Text(first + plus + minus, SUM)

    def product(self, node: Any) -> _Text:
        coefficient, rest = node.as_coeff_Mul()
        if coefficient.is_negative:
            return _Text(f"-{self.text(-node).within(PRODUCT)}", SUM)
        over: list[str] = []
        under: list[str] = []
        for factor in rest.args if isinstance(rest, Mul) else (rest,):
            inverse = isinstance(factor, Pow) and factor.exp.is_Integer and factor.exp.is_negative
            (under if inverse else over).append(self.text(1 / factor if inverse else factor).within(POWER))
        over, under = sorted(over), sorted(under)
        if isinstance(coefficient, Rational) and not isinstance(coefficient, Integer):
            under.insert(0, str(coefficient.q))
            coefficient = Integer(coefficient.p)
        if coefficient != 1 or not over:
            over.insert(0, self.number(coefficient).source)
        source = " * ".join(over)
        if under:
            source += f" / {under[0]}" if len(under) == 1 else f" / ({' * '.join(under)})"
        return _Text(source, PRODUCT)

    def power(self, node: Any) -> _Text:
        if not node.exp.is_Integer:
            raise TypeError(
                f"Pow node {node}: the host printer supports powers with an integer exponent; "
                f"its exponent is {node.exp}"
            )
        if node.exp.is_negative:
            return _Text(f"1 / {self.text(1 / node).within(POWER)}", PRODUCT)
        return _Text(f"{self.text(node.base).within(ATOM)}**{node.exp}", POWER)

    def floor_division(self, node: Any) -> _Text:
        numerator, denominator = map(self.text, node.args)
        # A product before // would regroup: (a * b) // c keeps its parentheses.
        return _Text(f"{numerator.within(POWER)} // {denominator.within(POWER)}", FLOOR_DIVISION)

    def select(self, node: Any) -> _Text:
        condition, if_true, if_false = map(self.text, node.args)
        source = f"{if_true.within(OR)} if {condition.within(OR)} else {if_false.within(CONDITIONAL)}"
        return _Text(source, CONDITIONAL)

    def relation(self, node: Any) -> _Text:
        left, right = (self.text(side).within(SUM) for side in (node.lhs, node.rhs))
        return _Text(f"{left} {RELATIONS[node.func]} {right}", COMPARISON)

    def divides(self, node: Any) -> _Text:
        divisor, expression = map(self.text, node.args)
        return _Text(f"{expression.within(POWER)} % {divisor.within(POWER)} == 0", COMPARISON)

    def in_range(self, node: Any) -> _Text:
        expression, extent = (self.text(side).within(SUM) for side in node.args)
        return _Text(f"0 <= {expression} < {extent}", COMPARISON)

    def negation(self, node: Any) -> _Text:
        return _Text(f"not {self.text(node.args[0]).within(NOT)}", NOT)


def _call(function: str) -> Callable[[_Printer, Any], _Text]:
    def handler(printer: _Printer, node: Any) -> _Text:
        arguments = sorted(printer.text(argument).source for argument in node.args)
        return _Text(f"{function}({', '.join(arguments)})", ATOM)

    return handler


def _joined(word: str, binding: int) -> Callable[[_Printer, Any], _Text]:
    def handler(printer: _Printer, node: Any) -> _Text:
        parts = sorted(printer.text(part).within(binding + 1) for part in node.args)
        return _Text(f" {word} ".join(parts), binding)

    return handler


def _literal(source: str) -> Callable[[_Printer, Any], _Text]:
    return lambda printer, node: _Text(source, ATOM)


HANDLERS: dict[type[Any], Callable[[_Printer, Any], _Text]] = {
    Rational: _Printer.number,
    Float: _Printer.number,
    Symbol: _Printer.symbol,
    Add: _Printer.sum,
    Mul: _Printer.product,
    Pow: _Printer.power,
    FloorDiv: _Printer.floor_division,
    Select: _Printer.select,
    maximum: _call("max"),
    minimum: _call("min"),
    Abs: _call("abs"),
    **dict.fromkeys(RELATIONS, _Printer.relation),
    Divides: _Printer.divides,
    InRange: _Printer.in_range,
    And: _joined("and", AND),
    Or: _joined("or", OR),
    Not: _Printer.negation,
    BooleanTrue: _literal("True"),
    BooleanFalse: _literal("False"),
}


def _supported() -> str:
    return ", ".join(sorted(kind.__name__ for kind in HANDLERS))


def _constants_last(term: _Text) -> tuple[bool, str, str]:
    without_coefficient = re.sub(r"^\d+ \* ", "", term.source)
    return term.source.isdigit(), without_coefficient, term.source
