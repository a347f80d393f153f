"""From the notation's nodes to trees: signs, fractions, the order of terms and factors, brackets.

SymPy orders terms internally; here they have the usual order: a sum before the bias that is added to it, a subtracted
term after the term from which it is subtracted, parameters before indices, indices before elements.

Input: SymPy expressions over the notation. Output: ``Tree``s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import cast

from sympy import Abs, Add, Basic, Expr, Integer, Mul, Pow, exp, preorder_traversal
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from svertka.codegen.book.tree import (
    GREEK,
    Binding,
    Choice,
    Element,
    Fence,
    Function,
    Name,
    Number,
    Over,
    Power,
    Quotient,
    Root,
    Row,
    Sign,
    Tree,
    Word,
    fenced,
)
from svertka.spec.notation import Divides, FloorDiv, Index, InRange, Read, Reduction, Select, Tensor
from svertka.spec.rewrite import conditions

__all__ = ["Typesetter", "element_of", "equals", "joined", "name_of", "number_of"]

_RELATIONS = {"==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "<": "<", ">": ">"}


def name_of(text: str) -> Name:
    """A name as in mathematics: ``padding_h`` and ``r1`` have subscripts, ``alpha`` is a letter, ``h'`` has a prime."""
    bare = text.rstrip("'")
    found = re.fullmatch(r"(.+)_(\w)", bare) or re.fullmatch(r"([A-Za-z])(\d+)", bare)
    stem, below = found.groups() if found else (bare, "")
    return Name(GREEK.get(stem, stem), below, len(text) - len(bare))


def number_of(value: Fraction | int) -> Tree:
    """A rational number in its usual form."""
    value = Fraction(value)
    text = f"−{abs(value.numerator)}" if value < 0 else str(value.numerator)
    if value.denominator == 1:
        return Number(text)
    if value < 0:
        return Row((Sign("−"), number_of(-value)), Binding.SUM)
    return Quotient(Number(text), Number(str(value.denominator)))


def joined(parts: Sequence[Tree], sign: str, binding: Binding) -> Tree:
    """Parts with a sign between neighbours."""
    if len(parts) == 1:
        return parts[0]
    found: list[Tree] = [parts[0]]
    for part in parts[1:]:
        found += [Sign(sign), part]
    return Row(tuple(found), binding)


def equals(left: Tree, *others: Tree) -> Tree:
    """``left = other = ...``."""
    return joined((left, *others), "=", Binding.RELATION)


def element_of(tensor: Tensor) -> Tree:
    """A tensor's element at its own axes."""
    return Typesetter().tree(tensor[tensor.axes])


class Typesetter:
    """Converts expressions to trees.

    Args:
        first: indices that come first in a sum of indices, such as those of the equation's target.
    """

    def __init__(self, first: Iterable[Index] = ()) -> None:
        self.places = {index.name: place for place, index in enumerate(first)}

    def tree(self, node: Basic) -> Tree:
        """The tree of an expression or a condition.

        Raises:
            TypeError: there is no rule for a node.
        """
        if hasattr(node, "typeset"):  # a node with its own rule
            return cast(Tree, node.typeset(self))
        if isinstance(node, Read):
            return self.read(node)
        if isinstance(node, Reduction):
            return self.reduction(node)
        if isinstance(node, Select):
            return self.select(node)
        if node.is_Symbol:
            return name_of(node.name)
        if getattr(node, "is_Number", False):
            return self.number(node)
        if getattr(node, "is_NumberSymbol", False):
            return Name({"Exp1": "e", "Pi": "pi"}[type(node).__name__])
        if isinstance(node, BooleanTrue | BooleanFalse):
            return Word("always" if bool(node) else "never")
        if node.is_Add:
            return self._sum(node)
        if node.is_Mul:
            return self._product(node)
        if node.is_Pow and not isinstance(node, exp):
            return self._power(node.base, node.exp)
        return self._operation(node)

    # Methods that other typesetters override ----------------------------------------------------------------------

    def read(self, node: Read) -> Tree:
        """The element of a tensor."""
        return Element(name_of(node.tensor), tuple(self.tree(index) for index in node.indices))

    def reduction(self, node: Reduction) -> Tree:
        """A reduction with its indices and conditions."""
        ordered = sorted(conditions(node.guard), key=lambda condition: not isinstance(condition, Divides))
        guards = tuple(self.tree(condition) for condition in ordered)
        body = fenced(self.tree(node.body), Binding.REDUCTION) if node.operation == "sum" else self.tree(node.body)
        return Over(node.operation, tuple(name_of(index.name) for index in node.indices), guards, body)

    def select(self, node: Select) -> Tree:
        """A choice."""
        condition, value, otherwise = (self.tree(part) for part in node.args)
        return Choice(condition, value, otherwise)

    def number(self, node: Expr) -> Tree:
        """A number."""
        if node.is_infinite:
            return Number("−∞" if node < 0 else "∞")
        if node.is_Rational:
            return number_of(Fraction(int(node.p), int(node.q)))
        return Number(f"{float(node):.4g}".replace("-", "−"))

    # Arithmetic ---------------------------------------------------------------------------------------------------

    def _sum(self, node: Add) -> Tree:
        found: list[Tree] = []
        for term in sorted(node.args, key=self._place_of_term):
            negative = bool(term.as_coeff_Mul()[0].is_negative)
            tree = self.tree(-term if negative else term)
            if negative:
                found += [Sign("−"), fenced(tree, Binding.REDUCTION)]
            else:
                found += [*([Sign("+")] if found else []), fenced(tree, Binding.REDUCTION) if found else tree]
        return Row(tuple(found), Binding.SUM)

    def _place_of_term(self, term: Expr) -> tuple[bool, int, int, int, str]:
        """Subtracted terms come last; single elements before parameters, parameters before products with them."""
        nodes = list(preorder_traversal(term))
        reads = any(isinstance(node, Read) for node in nodes)
        scaled = any(f.is_Symbol and not _is_index(f) for f in Mul.make_args(term))
        rank = (2 if scaled else 0) if reads else 1
        places = sorted(self.places.get(i.name, 99) for i in term.free_symbols if _is_index(i))
        negative = bool(term.as_coeff_Mul()[0].is_negative)
        return negative, rank, -len(nodes) if reads else 0, places[0] if places else 100, str(term)

    def _product(self, node: Mul) -> Tree:
        coefficient, rest = node.as_coeff_Mul()
        if coefficient.is_negative:
            return Row((Sign("−"), fenced(self.tree(-node), Binding.PRODUCT)), Binding.SUM)
        parts = (
            (Integer(coefficient.p), Integer(coefficient.q)) if coefficient.is_Rational else (coefficient, Integer(1))
        )
        top, bottom = ([] if part == 1 else [part] for part in parts)
        for factor in sorted(Mul.make_args(rest), key=_place_of_factor):
            if _divides(factor):
                bottom.append(Pow(factor.base, -factor.exp))
            else:
                top.append(factor)
        if not bottom:
            return self._factors(top)
        return Quotient(self._factors(top or [Integer(1)]), self._factors(bottom))

    def _factors(self, factors: Sequence[Expr]) -> Tree:
        if len(factors) == 1:
            return self.tree(factors[0])
        *front, last = (self.tree(factor) for factor in factors)
        kept = [fenced(tree, Binding.PRODUCT) for tree in front]
        binding = Binding.REDUCTION if last.binding == Binding.REDUCTION else Binding.PRODUCT  # includes later factors
        return joined([*kept, fenced(last, Binding.REDUCTION)], "·", binding)

    def _power(self, base: Expr, exponent: Expr) -> Tree:
        if exponent.is_Number and exponent.is_negative:
            return Quotient(Number("1"), self.tree(Pow(base, -exponent)))
        if exponent.is_Rational and exponent.p == 1 and exponent.q == 2:
            return Root(self.tree(base))
        return Power(fenced(self.tree(base), Binding.ATOM), self.tree(exponent))

    # Functions and conditions -------------------------------------------------------------------------------------

    def _operation(self, node: Basic) -> Tree:
        if isinstance(node, FloorDiv):
            return Fence("⌊", Quotient(*(self.tree(part) for part in node.args)), "⌋")
        if isinstance(node, Abs):
            return Fence("|", self.tree(node.args[0]), "|")
        if isinstance(node, InRange):
            place, extent = (self.tree(part) for part in node.args)
            return Row((Number("0"), Sign("≤"), place, Sign("<"), extent), Binding.RELATION)
        if isinstance(node, Divides):
            divisor, number = (self.tree(part) for part in node.args)
            return Row((divisor, Word("divides"), number), Binding.RELATION)
        if isinstance(node, And | Or):
            parts = tuple(self.tree(part) for part in sorted(node.args, key=str))
            return self._worded(parts, "and" if isinstance(node, And) else "or")
        if isinstance(node, Not):
            return Row((Word("not"), Fence("(", self.tree(node.args[0]), ")")), Binding.RELATION)
        if getattr(node, "rel_op", None) in _RELATIONS:
            left, right = (self.tree(side) for side in node.args)
            return Row((left, Sign(_RELATIONS[node.rel_op]), right), Binding.RELATION)
        name = type(node).__name__
        short = {"maximum": "max", "minimum": "min", "Uniform": "uniform"}.get(name, name)
        if not isinstance(node, Expr) or not node.is_Function:
            raise TypeError(f"node {node}: {name} has no rule to be shown by; add one to Typesetter")
        return Function(short, tuple(self.tree(part) for part in node.args))

    @staticmethod
    def _worded(parts: Sequence[Tree], word: str) -> Tree:
        found: list[Tree] = [parts[0]]
        for part in parts[1:]:
            found += [Word(word), part]
        return Row(tuple(found), Binding.RELATION)


def _is_index(symbol: Basic) -> bool:
    """Whether a symbol is an index, or a primed name of a position."""
    return isinstance(symbol, Index) or str(symbol).endswith("'")


def _divides(factor: Expr) -> bool:
    """Whether a factor belongs into the denominator."""
    if not factor.is_Pow or isinstance(factor, exp):
        return False
    return bool(factor.exp.could_extract_minus_sign())


def _place_of_factor(factor: Expr) -> tuple[int, str]:
    """Numbers, parameters, indices, elements, the rest, reductions."""
    base = factor.base if factor.is_Pow and not isinstance(factor, exp) else factor
    if base.is_Number:
        return 0, str(factor)
    if base.is_Symbol:
        return (2 if _is_index(base) else 1), str(factor)
    if isinstance(base, Read):
        return 3, str(factor)
    return (5 if isinstance(base, Reduction) else 4), str(factor)
