"""Expressions and conditions as Python source, for the code that runs on the host.

Input: an expression or condition of SymPy over parameters and extents, or a node of the kernel IR. Output: one line of
Python. The same expression always gives the same text: terms and factors are sorted by their text, not in SymPy's
order, which depends on the hash seed.

Supported of SymPy: numbers, symbols, sums, products, powers with an integer exponent, ``FloorDiv``, ``maximum``,
``minimum``, ``Select``, absolute values; relations, ``And``, ``Or``, ``Not``, ``Divides``, ``InRange``, true
and false. Any other node is a ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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

from svertka.codegen.emit.expressions_printer import Binding, ExpressionPrinter, Text, number
from svertka.codegen.ir.kernel import Node
from svertka.spec.notation import Divides, FloorDiv, InRange, Select, maximum, minimum

__all__ = ["host_condition", "host_expression", "host_node"]

RELATIONS: dict[type[Basic], str] = {
    Equality: "==",
    Unequality: "!=",
    LessThan: "<=",
    StrictLessThan: "<",
    GreaterThan: ">=",
    StrictGreaterThan: ">",
}


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


def host_node(node: Node) -> str:
    """Print arithmetic of the kernel IR, in parentheses if it is more than a name or a number.

    Raises:
        TypeError: the node has a load or an operation that is not arithmetic.
    """
    return ExpressionPrinter().text(node, Binding.ATOM)


class _Printer:
    """Prints expressions and conditions of SymPy, with one method for each kind of node."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def text(self, node: Basic) -> Text:
        for kind in type(node).__mro__:
            if kind in HANDLERS:
                return HANDLERS[kind](self, node)
        raise TypeError(
            f"{type(node).__name__} node {node}: the host printer supports {_supported()}; "
            "write the expression with these"
        )

    def number(self, node: Any) -> Text:
        if isinstance(node, Float):
            return number(float(node), negative=Binding.SUM)
        if isinstance(node, Integer):
            return number(int(node), negative=Binding.SUM)
        return Text(f"{node.p} / {node.q}", Binding.PRODUCT if node.p > 0 else Binding.SUM)

    def symbol(self, node: Any) -> Text:
        return Text(self.names.get(node.name, node.name), Binding.ATOM)

    def sum(self, node: Any) -> Text:
        added: list[Any] = []
        taken: list[Any] = []
        for term in node.args:
            negative = term.as_coeff_Mul()[0].is_negative
            (taken if negative else added).append(-term if negative else term)
        positive, subtracted = (list(map(self.text, sorted(s, key=self._constants_last))) for s in (added, taken))
        first = "" if positive else f"-{subtracted.pop(0).within(Binding.PRODUCT)}"
        plus = " + ".join(term.within(Binding.FLOOR_DIVISION) for term in positive)
        minus = "".join(f" - {term.within(Binding.FLOOR_DIVISION)}" for term in subtracted)
        return Text(first + plus + minus, Binding.SUM)

    def _constants_last(self, term: Any) -> tuple[bool, str, str]:
        """A key that sorts the terms of a sum by their text without an integer coefficient, numbers last."""
        source = self.text(term).source
        without_coefficient = source
        if isinstance(term, Mul):
            coefficient, over, under = self._factors(term)
            if over and isinstance(coefficient, Integer):
                without_coefficient = _quotient(over, under)
        return bool(term.is_Integer), without_coefficient, source

    def product(self, node: Any) -> Text:
        coefficient, over, under = self._factors(node)
        if coefficient.is_negative:
            return Text(f"-{self.text(-node).within(Binding.PRODUCT)}", Binding.SUM)
        if coefficient != 1 or not over:
            over.insert(0, self.number(coefficient).source)
        return Text(_quotient(over, under), Binding.PRODUCT)

    def _factors(self, node: Any) -> tuple[Any, list[str], list[str]]:
        """A product's number, factors and divisors; the denominator of a rational number is a divisor."""
        coefficient, rest = node.as_coeff_Mul()
        over: list[str] = []
        under: list[str] = []
        for factor in rest.args if isinstance(rest, Mul) else (rest,):
            inverse = isinstance(factor, Pow) and factor.exp.is_Integer and factor.exp.is_negative
            (under if inverse else over).append(self.text(1 / factor if inverse else factor).within(Binding.POWER))
        over, under = sorted(over), sorted(under)
        if isinstance(coefficient, Rational) and not isinstance(coefficient, Integer):
            under.insert(0, str(coefficient.q))
            coefficient = Integer(coefficient.p)
        return coefficient, over, under

    def power(self, node: Any) -> Text:
        if not node.exp.is_Integer:
            raise TypeError(
                f"Pow node {node}: the host printer supports powers with an integer exponent; "
                f"its exponent is {node.exp}"
            )
        if node.exp.is_negative:
            return Text(f"1 / {self.text(1 / node).within(Binding.POWER)}", Binding.PRODUCT)
        return Text(f"{self.text(node.base).within(Binding.ATOM)}**{node.exp}", Binding.POWER)

    def floor_division(self, node: Any) -> Text:
        numerator, denominator = map(self.text, node.args)
        # Python groups a * b // c as (a * b) // c; the parentheses are for readers.
        return Text(f"{numerator.within(Binding.POWER)} // {denominator.within(Binding.POWER)}", Binding.FLOOR_DIVISION)

    def select(self, node: Any) -> Text:
        condition, if_true, if_false = map(self.text, node.args)
        chosen = f"{if_true.within(Binding.OR)} if {condition.within(Binding.OR)}"
        return Text(f"{chosen} else {if_false.within(Binding.CONDITIONAL)}", Binding.CONDITIONAL)

    def relation(self, node: Any) -> Text:
        left, right = (self.text(side).within(Binding.SUM) for side in (node.lhs, node.rhs))
        return Text(f"{left} {RELATIONS[node.func]} {right}", Binding.COMPARISON)

    def divides(self, node: Any) -> Text:
        divisor, expression = map(self.text, node.args)
        return Text(f"{expression.within(Binding.POWER)} % {divisor.within(Binding.POWER)} == 0", Binding.COMPARISON)

    def in_range(self, node: Any) -> Text:
        expression, extent = (self.text(side).within(Binding.SUM) for side in node.args)
        return Text(f"0 <= {expression} < {extent}", Binding.COMPARISON)

    def negation(self, node: Any) -> Text:
        return Text(f"not {self.text(node.args[0]).within(Binding.NOT)}", Binding.NOT)


def _quotient(factors: list[str], divisors: list[str]) -> str:
    """A product of at least one factor, divided by a product if there are divisors."""
    source = " * ".join(factors)
    if divisors:
        source += f" / {divisors[0]}" if len(divisors) == 1 else f" / ({' * '.join(divisors)})"
    return source


def _call(function: str) -> Callable[[_Printer, Any], Text]:
    def handler(printer: _Printer, node: Any) -> Text:
        arguments = sorted(printer.text(argument).source for argument in node.args)
        return Text(f"{function}({', '.join(arguments)})", Binding.ATOM)

    return handler


def _joined(word: str, binding: int) -> Callable[[_Printer, Any], Text]:
    def handler(printer: _Printer, node: Any) -> Text:
        parts = sorted(printer.text(part).within(binding + 1) for part in node.args)
        return Text(f" {word} ".join(parts), binding)

    return handler


def _literal(source: str) -> Callable[[_Printer, Any], Text]:
    return lambda printer, node: Text(source, Binding.ATOM)


HANDLERS: dict[type[Any], Callable[[_Printer, Any], Text]] = {
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
    And: _joined("and", Binding.AND),
    Or: _joined("or", Binding.OR),
    Not: _Printer.negation,
    BooleanTrue: _literal("True"),
    BooleanFalse: _literal("False"),
}


def _supported() -> str:
    return ", ".join(sorted(kind.__name__ for kind in HANDLERS))
