"""Functions of formulas that SymPy lacks or defines differently.

SymPy never rewrites them, so that ties and NaN follow the conventions stated here.

Input: expressions. Output: expressions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sympy import Expr, Function, Integer, Symbol, exp, log, sympify
from sympy.logic.boolalg import false, true

__all__ = ["FloorDiv", "Select", "Uniform", "maximum", "minimum", "sigmoid", "softplus"]


def _all_whole(values: Iterable[Expr]) -> bool | None:
    """True if all values are whole numbers, so that choosing one needs no rounding; None if that is not known."""
    return True if all(value.is_integer for value in values) else None


class Select(Expr):  # type: ignore[misc]
    """``Select(condition, a, b)``: a where the condition holds, else b; the other value is not used."""

    is_commutative = True
    is_real = True

    def __new__(cls, condition: Any, if_true: Any, if_false: Any) -> Expr:
        """Make the node.

        Raises:
            TypeError: the condition is a Python truth value, as ``x[i] == 0`` gives one.
        """
        if isinstance(condition, bool):
            raise TypeError(
                f"Select({condition}, ...): the condition was decided before it got here; compare with Eq(a, b) and "
                "Ne(a, b) of SymPy instead of == and !=, and combine with & | ~"
            )
        condition, if_true, if_false = sympify(condition), sympify(if_true), sympify(if_false)
        if condition in (true, false) or if_true == if_false:
            return if_false if condition == false else if_true
        if isinstance(if_true, Select) and if_true.args[0] == condition:
            if_true = if_true.args[1]
        return Expr.__new__(cls, condition, if_true, if_false)

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        return Select(self.args[0], *(value.diff(symbol) for value in self.args[1:]))

    def _eval_is_integer(self) -> bool | None:
        return _all_whole(self.args[1:])


class maximum(Function):  # type: ignore[misc]  # noqa: N801 - lower case like SymPy's functions
    """``maximum(a, b)``: the larger; NaN if either is NaN. At a tie the gradient goes to b: relu'(0) = 0."""

    nargs = 2
    is_real = True

    def fdiff(self, argument: int = 1) -> Expr:
        """Derivative by one argument."""
        a, b = self.args
        return Select(a <= b, 0, 1) if argument == 1 else Select(a <= b, 1, 0)

    def _eval_is_integer(self) -> bool | None:
        return _all_whole(self.args)


class minimum(Function):  # type: ignore[misc]  # noqa: N801
    """``minimum(a, b)``: the smaller; NaN if either is NaN. At a tie the gradient goes to b."""

    nargs = 2
    is_real = True

    def fdiff(self, argument: int = 1) -> Expr:
        """Derivative by one argument."""
        a, b = self.args
        return Select(a >= b, 0, 1) if argument == 1 else Select(a >= b, 1, 0)

    def _eval_is_integer(self) -> bool | None:
        return _all_whole(self.args)


def sigmoid(x: Any) -> Expr:
    """1 / (1 + exp(-x)), written without positive exponents, so that neither it nor its gradient overflows."""
    x = sympify(x)
    return Select(x > 0, 1 / (1 + exp(-x)), exp(x) / (1 + exp(x)))


def softplus(x: Any) -> Expr:
    """log(1 + exp(x)), written without positive exponents, so that neither it nor its gradient overflows."""
    x = sympify(x)
    return Select(x > 0, x + log(1 + exp(-x)), log(1 + exp(x)))


class FloorDiv(Function):  # type: ignore[misc]
    """``FloorDiv(a, b)`` for integers, b positive. SymPy rewrites its own floor automatically, but not this one."""

    nargs = 2
    is_integer = True

    @classmethod
    def eval(cls, numerator: Expr, denominator: Expr) -> Expr | None:
        """Evaluate numbers and division by one; leave other arguments unchanged."""
        if denominator == 1:
            return numerator
        if numerator.is_Integer and denominator.is_Integer:
            return Integer(int(numerator) // int(denominator))
        return None


class Uniform(Function):  # type: ignore[misc]
    """``Uniform(seed, i)``: the i-th element of a random field over [0, 1), 24 to 31 bits of Philox4x32-10.

    Word ``i % 4`` of the block whose counter is ``i // 4`` and whose key is the seed (Salmon et al., 2011).
    """

    nargs = 2
    is_real = True
    is_nonnegative = True

    def _sympystr(self, printer: Any) -> str:  # SymPy's printer would print its own uniform distribution
        return f"Uniform({printer._print(self.args[0])}, {printer._print(self.args[1])})"
