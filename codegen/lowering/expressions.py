"""Expressions of formulas as expressions of kernels: the only way from SymPy to kernel IR.

Input: a SymPy expression without reductions. Output: a ``Node`` tree. A node that has no operation in the IR is a
``TypeError`` that names it; ``SUPPORTED`` lists those that have one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any

from sympy import Abs, Add, Basic, Expr, Integer, Mul, Pow, S, Symbol, cos, erf, exp, log, sign, sin, tanh
from sympy.codegen.cfunctions import expm1, log1p
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from svertka.codegen.ir.kernel import Apply, Constant, Kind, Load, Name, Node
from svertka.codegen.lowering.small_arguments import of_small_argument
from svertka.spec.layer import reads, text_of, walk
from svertka.spec.notation import Divides, FloorDiv, Index, InRange, Read, Select, Uniform, maximum, minimum
from svertka.spec.rewrite import conditions, selections

__all__ = ["ExpressionLowering"]

SUPPORTED = (
    "supported are numbers, pi and E; indices, extents and parameters; + - * /; powers; exp, log, tanh, erf, sin, cos, "
    "Abs, sign; maximum, minimum, Select, FloorDiv, Uniform; reads of tensors; conditions from comparisons, inside, "
    "Divides, and, or, not"
)
_FUNCTIONS = {exp, expm1, log, log1p, tanh, erf, sin, cos, Abs, sign, maximum, minimum}
_COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}
_NOT_FINITE = {S.Infinity: "inf", S.NegativeInfinity: "-inf", S.NaN: "nan"}


class ExpressionLowering:
    """Translates expressions, given the values that a kernel has computed already.

    Args:
        values: what stands for reads of tensors whose elements the kernel has computed. It is looked at each time that
            a read is translated, so the caller may add to it in between.
        signed: divisions of numbers that may be negative and no multiples of the divisor.
    """

    def __init__(self, values: Mapping[Read, Node], signed: Collection[FloorDiv] = ()) -> None:
        self.values = values
        self.signed = signed

    def real(self, node: Basic, masks: tuple[Node, ...] = ()) -> Node:
        """A real-valued expression; ``masks`` say where its reads are valid."""
        node = of_small_argument(node)
        if isinstance(node, Read):
            return self._read(node, masks)
        if node.is_Number or node.is_NumberSymbol:
            return _constant(node, "real")
        if isinstance(node, Add):
            if _of_quotients(node):
                return Apply("real", (self.integer(node),), "real")
            return self._sum([self._signed(term, masks) for term in _elements_first(node.args)])
        if isinstance(node, Mul):
            return self._product(node, masks)
        if isinstance(node, Pow):
            return self._power(node.base, node.exp, masks)
        if isinstance(node, Select):
            return self._select(node, masks)
        if isinstance(node, Uniform):
            return Apply("uniform", (self.integer(node.args[0]), self.integer(node.args[1])), "real")
        if node.is_Symbol and not node.is_integer:
            return Name(node.name, "real")
        if node.is_Symbol or isinstance(node, FloorDiv):
            return Apply("real", (self.integer(node),), "real")
        name = type(node).__name__
        if type(node) not in _FUNCTIONS:
            raise TypeError(f"expression {node}: {name} is not supported in a kernel; {SUPPORTED}")
        return Apply(name, tuple(self.real(part, masks) for part in node.args), "real")

    def _read(self, node: Read, masks: tuple[Node, ...]) -> Node:
        if node in self.values:
            return self.values[node]
        kind: Kind = "integer" if node.args[1].name == "integer" else "real"
        indices = tuple(self.integer(i, masks) for i in node.indices)
        return Load(node.tensor, indices, masks if indices else (), kind)  # a single element is always there

    def _signed(self, term: Expr, masks: tuple[Node, ...]) -> tuple[bool, Node]:
        if term.could_extract_minus_sign():
            return True, self.real(-term, masks)
        return False, self.real(term, masks)

    def _sum(self, terms: list[tuple[bool, Node]]) -> Node:
        terms.sort(key=lambda item: item[0])
        (negative, total), *rest = terms
        if negative:
            total = Apply("negate", (total,), total.kind)
        for negative, term in rest:
            total = Apply("subtract" if negative else "add", (total, term), total.kind)
        return total

    def _product(self, node: Mul, masks: tuple[Node, ...]) -> Node:
        """Factors over divisors; a factor that is 0 or 1 by a condition selects, so that 0 * inf cannot arise."""
        above: list[Node] = []
        below: list[Node] = []
        selecting, others = selections(node)
        negative = False
        for factor in _sorted(others):
            if factor.is_Rational:
                negative = factor < 0
                _split_number(abs(factor), above, below)
            elif isinstance(factor, Pow) and factor.exp.could_extract_minus_sign() and factor.exp.is_integer:
                below.append(self._power(factor.base, -factor.exp, masks))
            else:
                above.append(self.real(factor, masks))
        result = _folded("multiply", above) if above else _constant(S.One, "real")
        if below:
            result = Apply("divide", (result, _folded("multiply", below)), "real")
        if negative:
            result = Apply("negate", (result,), "real")
        for select in _sorted(selecting):
            zero = _constant(S.Zero, "real")
            chosen = (result, zero) if select.args[1] == 1 else (zero, result)
            result = Apply("where", (self.condition(select.args[0], masks), *chosen), "real")
        return result

    def _power(self, base: Expr, exponent: Expr, masks: tuple[Node, ...]) -> Node:
        value = self.real(base, masks)
        if exponent.is_Integer and 1 <= exponent <= 8:
            return _folded("multiply", [value] * int(exponent))
        if exponent.is_Integer and -8 <= exponent < 0:
            one = _constant(S.One, "real")
            return Apply("divide", (one, _folded("multiply", [value] * -int(exponent))), "real")
        if exponent.is_Rational and exponent.q == 2 and abs(exponent.p) <= 7:
            root = Apply("sqrt" if exponent > 0 else "rsqrt", (value,), "real")
            whole = abs(int(exponent.p)) // 2
            return _folded("multiply", [root, *([value] * whole if exponent > 0 else [root] * (2 * whole))])
        if exponent.is_integer:
            return Apply("whole_power", (value, self.integer(exponent, masks)), "real")
        return Apply("power", (value, self.real(exponent, masks)), "real")

    def _select(self, node: Select, masks: tuple[Node, ...]) -> Node:
        """The value under a condition. What the condition itself reads needs no mask: it is read either way."""
        condition = node.args[0]
        inside = tuple(self.condition(c, masks) for c in conditions(condition) if isinstance(c, InRange | Divides))
        asked = {read: self._read(read, masks) for read in reads(condition)}
        if_true = ExpressionLowering({**self.values, **asked}, self.signed).real(node.args[1], masks + inside)
        return Apply("where", (self.condition(condition, masks), if_true, self.real(node.args[2], masks)), "real")

    def integer(self, node: Basic, masks: tuple[Node, ...] = ()) -> Node:
        """An integer expression: indices, extents, parameters and labels."""
        if isinstance(node, Read):
            return self._read(node, masks)
        if node.is_Integer:
            return _constant(node, "integer")
        if isinstance(node, Index) or node.is_Symbol:
            return Name(node.name, "integer")
        if isinstance(node, Add):
            signed = []
            for term in _sorted(node.args):
                minus = term.could_extract_minus_sign()
                signed.append((minus, self.integer(-term if minus else term, masks)))
            return self._sum(signed)
        if isinstance(node, Mul):
            return _folded("multiply", [self.integer(part, masks) for part in _sorted(node.args)])
        if isinstance(node, Pow) and node.exp.is_Integer and node.exp > 0:
            return _folded("multiply", [self.integer(node.base, masks)] * int(node.exp))
        if isinstance(node, FloorDiv):
            number, divisor = (self.integer(part, masks) for part in node.args)
            return self._floor(number, divisor, node in self.signed)
        if isinstance(node, Select):
            chosen = tuple(self.integer(part, masks) for part in node.args[1:])
            return Apply("where", (self.condition(node.args[0], masks), *chosen), "integer")
        raise TypeError(
            f"index expression {node}: {type(node).__name__} is not supported; use +, -, *, FloorDiv, Select and reads"
        )

    @staticmethod
    def _floor(number: Node, divisor: Node, signed: bool) -> Node:
        """A quotient, rounded down; a kernel's own division rounds toward 0."""
        if not signed:
            return Apply("floor_divide", (number, divisor), "integer")
        zero, one = _constant(S.Zero, "integer"), _constant(S.One, "integer")
        below = Apply(
            "subtract", (Apply("add", (Apply("negate", (number,), "integer"), divisor), "integer"), one), "integer"
        )
        away = Apply("negate", (Apply("floor_divide", (below, divisor), "integer"),), "integer")
        plain = Apply("floor_divide", (number, divisor), "integer")
        return Apply("where", (Apply("<", (number, zero), "condition"), away, plain), "integer")

    def condition(self, node: Basic, masks: tuple[Node, ...] = ()) -> Node:
        """A condition."""
        if isinstance(node, BooleanTrue | BooleanFalse):
            return Name(str(bool(node)), "condition")
        if isinstance(node, InRange):
            return self._in_range(node, masks)
        if isinstance(node, Divides):
            divisor, number = (self.integer(part, masks) for part in node.args)
            rest = Apply("remainder", (number, divisor), "integer")
            return Apply("==", (rest, _constant(S.Zero, "integer")), "condition")
        if isinstance(node, And | Or):
            parts = [self.condition(part, masks) for part in _sorted(node.args)]
            return _folded("and" if isinstance(node, And) else "or", parts)
        if isinstance(node, Not):
            return Apply("not", (self.condition(node.args[0], masks),), "condition")
        relation = getattr(node, "rel_op", "")
        if relation not in _COMPARISONS:
            raise TypeError(f"condition {node}: {type(node).__name__} is not supported; compare, or use inside(...)")
        side = self.integer if all(part.is_integer for part in node.args) else self.real
        return Apply(relation, tuple(side(part, masks) for part in node.args), "condition")

    def _in_range(self, node: InRange, masks: tuple[Node, ...]) -> Node:
        place, extent = (self.integer(part, masks) for part in node.args)
        below = Apply("<", (place, extent), "condition")
        if node.args[0].is_nonnegative:
            return below
        above = Apply(">=", (place, _constant(S.Zero, "integer")), "condition")
        return Apply("and", (above, below), "condition")


def _sorted(parts: Iterable[Any]) -> list[Any]:
    """Terms or factors in the order in which a kernel computes them: numbers first, the rest by its text.

    Any fixed order would do. This one is part of every kernel's source, so that another (SymPy's ``default_sort_key``)
    would change all of them.
    """
    return sorted(parts, key=lambda part: (not part.is_Number, text_of(part)))


def _of_quotients(node: Add) -> bool:
    """Whether a sum of whole numbers has quotients of indices: it may be small where its terms are large."""
    whole = (Add, Mul, FloorDiv, Symbol, Integer)
    return (
        bool(node.is_integer)
        and node.has(FloorDiv)
        and node.has(Index)
        and all(isinstance(part, whole) for part in walk(node))
    )


def _elements_first(terms: tuple[Basic, ...]) -> list[Basic]:
    """Terms of a sum with tensor elements before the rest.

    A row's maximum is then subtracted from its elements before anything else is added; large scores cancel exactly.
    """
    return sorted(_sorted(terms), key=lambda term: not isinstance(term.as_coeff_Mul()[1], Read))


def _constant(node: Expr, kind: Kind) -> Constant:
    if node.is_Rational:
        return Constant(Fraction(int(node.p), int(node.q)), kind)
    if node.is_Float or node.is_NumberSymbol:
        return Constant(Fraction(float(node)), kind)
    return Constant(_NOT_FINITE[node], kind)


def _split_number(number: Expr, above: list[Node], below: list[Node]) -> None:
    """A dyadic number becomes a factor; another becomes a factor and a divisor, so that each rounds once."""
    if int(number.q) & (int(number.q) - 1) == 0:
        if number != 1:
            above.append(_constant(number, "real"))
        return
    if number.p != 1:
        above.append(_constant(S(number.p), "real"))
    below.append(_constant(S(number.q), "real"))


def _folded(operation: str, parts: list[Node]) -> Node:
    result = parts[0]
    for part in parts[1:]:
        result = Apply(operation, (result, part), result.kind)
    return result
