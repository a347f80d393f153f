"""Products of exponentials kept as one exponent, so that no factor overflows where the product does not.

A factor ``exp(e)`` that was taken out of a sum is carried as an opaque *scale*. ``Exponents.pulled`` takes the scales
out of an expression, through products, powers, sums of terms, selections, maxima and logarithms:
``expression = exp(exponent) * rest``. ``Exponents.written`` multiplies the exponent that does not cancel into the
exponentials of the rest, ``exp(a) * exp(b) = exp(a + b)``, before anything is evaluated. Where terms of a power or of a
logarithm have different exponents, as in ``1 / (1 + exp(x))``, the largest exponent is subtracted from all of them.

Input: expressions, and what is known of maxima and supports. Output: expressions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from sympy import Add, And, Basic, Expr, Function, Integer, Mul, Not, Pow, Rel, Tuple, exp, expand_mul, log
from sympy.logic.boolalg import Boolean

from svertka.spec.layer import Equation, Layer, text_of, walk
from svertka.spec.notation import Index, Read, Reduction, Select, maximum, minimum
from svertka.spec.rewrite import conditions, selections, substitute

__all__ = ["Exponents", "Known", "Scale", "matching", "of_indices", "times_exponential"]

Conditions = tuple[Boolean, ...]


class Scale(Function):  # type: ignore[misc]
    """The opaque factor exp(argument)."""

    nargs = 1
    is_positive = True
    is_real = True


@dataclass(frozen=True)
class Known:
    """What is known of the tensors of a layer.

    Attributes:
        maxima: equations of maxima that exponents were shifted by.
        supports: by a tensor's name, conditions over its axes; where one does not hold, the tensor is 0.
    """

    maxima: list[Equation] = field(default_factory=list)
    supports: dict[str, tuple[tuple[Index, ...], Conditions]] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: Layer) -> Known:
        """The maxima of a layer."""
        known = cls()
        for equation in layer.equations:
            if isinstance(equation.value, Reduction) and equation.value.operation == "max":
                known.add(equation)
        return known

    def add(self, equation: Equation) -> None:
        """Record a maximum. A maximum of maxima is recorded as the maximum of all their elements too."""
        self.maxima.append(equation)
        value, body = equation.value, equation.value.body
        element = next((part for part in body.args if isinstance(part, Read)), body) if body.func == maximum else body
        for other in tuple(self.maxima):
            if isinstance(element, Read) and other.target.name == element.tensor:
                inner = substitute(other.value, dict(zip(other.target.axes, element.indices, strict=True)))
                guard, indices = And(value.guard, inner.guard), Tuple(*value.indices, *inner.indices)
                self.maxima.append(Equation(equation.target, Reduction(value.args[0], inner.body, guard, indices)))


def of_indices(condition: Basic) -> bool:
    """Whether a condition depends on indices only, not on elements of tensors."""
    return not any(isinstance(node, Read) for node in walk(condition))


def matching(pattern: Basic, node: Basic) -> dict[Index, Expr] | None:
    """Indices of the pattern by the expressions that make it equal to the node, or None."""
    mapping: dict[Index, Expr] = {}

    def unify(left: Basic, right: Basic) -> bool:
        if isinstance(left, Index):
            return bool(mapping.setdefault(left, right) == right)
        if left.func != right.func or len(left.args) != len(right.args):
            return False
        if not left.args:
            return bool(left == right)
        return all(unify(a, b) for a, b in zip(left.args, right.args, strict=True))

    if not unify(pattern, node):
        return None
    return mapping if substitute(pattern, mapping) == node else None


def times_exponential(exponent: Expr, rest: Expr) -> Expr:
    """``exp(exponent) * rest`` with the exponentials of the rest merged into one."""
    factors = Mul.make_args(rest)
    inner = [factor.args[0] for factor in factors if isinstance(factor, exp)]
    if rest == 0 or (exponent == 0 and len(inner) < 2):
        return rest
    others = [factor for factor in factors if not isinstance(factor, exp)]
    whole = Add(exponent, *inner)
    for place, factor in enumerate(others):
        if exponent != 0 and isinstance(factor, Add | Select) and _has_exponential(factor):
            held, parts = ((), factor.args) if isinstance(factor, Add) else (factor.args[:1], factor.args[1:])
            moved = factor.func(*held, *(times_exponential(whole, part) for part in parts))
            return Mul(*others[:place], moved, *others[place + 1 :])
    return Mul(exp(whole), *others)


def _has_exponential(node: Basic) -> bool:
    """Whether an exponential is a factor of the node, or of a term or a branch of it."""
    if isinstance(node, Select):
        return any(map(_has_exponential, node.args[1:]))
    return isinstance(node, exp) or (isinstance(node, Add | Mul) and any(map(_has_exponential, node.args)))


class Exponents:
    """Rewriting of expressions of one layer."""

    def __init__(self, known: Known) -> None:
        self.known = known

    # What is known ---------------------------------------------------------------------------------------------------

    def bounded(self, exponent: Expr, given: Conditions) -> bool:
        """Whether an exponent is certainly at most 0 where some conditions hold."""
        if exponent.is_nonpositive or self._given(exponent, given):
            return True
        if isinstance(exponent, minimum):
            return any(self.bounded(part, given) for part in exponent.args)
        terms = Add.make_args(exponent)
        for term in terms:
            times, node = term.as_coeff_Mul()
            if not times < 0:
                continue
            rest = exponent - term
            if isinstance(node, maximum):
                if any(self.bounded(rest + times * part, given) for part in node.args):
                    return True
            elif isinstance(node, Read):
                for element in self._elements(node, rest / -times, given):
                    if self.bounded(rest + times * element, given):
                        return True
        return False

    def _given(self, exponent: Expr, given: Conditions) -> bool:
        """Whether a condition implies that an exponent is at most 0: ``x <= 0`` implies it for x and for 2 x."""
        for condition in given:
            relation = getattr(condition, "rel_op", "")
            if relation in ("<", "<=", ">", ">=", "=="):
                lower, upper = condition.args if relation[0] in "<=" else reversed(condition.args)
                ratio = exponent / (lower - upper)
                if ratio.is_number and (ratio.is_positive or (relation == "==" and ratio.is_finite)):
                    return True
        return False

    def _elements(self, read: Read, rest: Expr, given: Conditions) -> Iterator[Expr]:
        """Sums of some of the terms that are known to be at most a maximum."""
        terms = Add.make_args(rest)
        for equation in self.known.maxima:
            if equation.target.name != read.tensor:
                continue
            value = substitute(equation.value, dict(zip(equation.target.axes, read.indices, strict=True)))
            for some in combinations(terms, len(Add.make_args(value.body))):
                found = matching(value.body, Add(*some))
                if found is None or any(i != e for i, e in found.items() if i not in value.indices):
                    continue
                if {substitute(condition, found) for condition in conditions(value.guard)} <= {*given}:
                    yield Add(*some)

    def has_element(self, read: Read, rest: Expr, given: Conditions) -> bool:
        """Whether terms of an expression are an element of the row whose maximum is read."""
        return next(self._elements(read, rest, given), None) is not None

    def unbounded(self, node: Basic, given: Conditions = ()) -> bool:
        """Whether some exponential of an expression may be larger than 1 where the conditions hold."""
        if isinstance(node, exp) and not self.bounded(node.args[0], given):
            return True
        if isinstance(node, Select):
            condition = node.args[0]
            return self.unbounded(node.args[1], (*given, *conditions(condition))) or self.unbounded(
                node.args[2], (*given, *conditions(Not(condition)))
            )
        if isinstance(node, Mul):
            given = (*given, *self.chosen(node))
        return any(self.unbounded(part, given) for part in node.args if not isinstance(node, Read))

    def chosen(self, product: Expr) -> Conditions:
        """Conditions under which the selecting factors of a product are 1."""
        selecting, _ = selections(product)
        found: list[Boolean] = []
        for factor in selecting:
            found += conditions(factor.args[0] if factor.args[1] == 1 else Not(factor.args[0]))
        return tuple(found)

    def support(self, node: Expr) -> frozenset[Boolean]:
        """Conditions on indices; where one does not hold, an expression is 0."""
        if isinstance(node, Read):
            axes, held = self.known.supports.get(node.tensor, ((), ()))
            mapping = dict(zip(axes, node.indices, strict=True)) if held else {}
            return frozenset(substitute(condition, mapping) for condition in held)
        if isinstance(node, Select):
            condition, if_true, if_false = node.args
            if if_false == 0:
                return self.support(if_true) | frozenset(filter(of_indices, conditions(condition)))
            if if_true == 0:
                return self.support(if_false) | frozenset(filter(of_indices, conditions(Not(condition))))
            return frozenset()
        if isinstance(node, Mul):
            return frozenset().union(*(self.support(factor) for factor in node.args))
        if isinstance(node, Add):
            return frozenset.intersection(*(self.support(term) for term in node.args))
        return self.support(node.base) if isinstance(node, Pow) and node.exp.is_positive else frozenset()

    # Scales ----------------------------------------------------------------------------------------------------------

    def pulled(self, node: Expr, given: Conditions = (), deep: bool = False) -> tuple[Expr, Expr]:
        """``(e, rest)`` with node = exp(e) * rest, and no scale in the rest.

        Args:
            node: the expression.
            given: conditions that hold where it is computed.
            deep: whether exponentials that may be larger than 1 are taken out too.
        """
        if isinstance(node, Scale):
            return node.args[0], Integer(1)
        if isinstance(node, exp) and not node.has(Scale):
            return (node.args[0], Integer(1)) if deep and not self.bounded(node.args[0], given) else (Integer(0), node)
        if not node.has(Scale) and not self.unbounded(node, given):
            return Integer(0), node
        if isinstance(node, Mul):
            return self._of_product(node, given, deep)
        if isinstance(node, Pow):
            exponent, rest = self.pulled(node.base, given, deep=True)
            return node.exp * exponent, rest**node.exp
        if isinstance(node, log):
            exponent, rest = self.pulled(node.args[0], given, deep=True)
            return Integer(0), exponent + log(rest)
        if isinstance(node, Add | maximum | minimum):
            return self._of_terms(node, given, deep)
        if isinstance(node, Select):
            return self._of_branches(node, given, deep)
        if isinstance(node, Read):
            return Integer(0), node
        return Integer(0), node.func(*(self.written(part, given) for part in node.args))

    def _of_product(self, node: Mul, given: Conditions, deep: bool) -> tuple[Expr, Expr]:
        given = (*given, *self.chosen(node))
        plain = [factor for factor in node.args if not isinstance(factor, Add)]
        parts = [self.pulled(factor, given, deep) for factor in plain]
        any_scale = any(exponent != 0 for exponent, _ in parts)
        for factor in node.args:
            if isinstance(factor, Add):
                uniform = self._uniform(factor, given)
                if not uniform and factor.has(Scale):
                    return self.pulled(expand_mul(node), given, deep)
                parts.append(self.pulled(factor, given, deep or any_scale))
        return Add(*(exponent for exponent, _ in parts)), Mul(*(rest for _, rest in parts))

    def _uniform(self, node: Expr, given: Conditions) -> bool:
        """Whether all terms have the same scale."""
        return len({self.pulled(term, given)[0] for term in node.args if term != 0}) == 1

    def _largest(self, exponents: Iterable[Expr], given: Conditions) -> Expr:
        """The maximum of some exponents, without those that are certainly at most another one."""
        distinct = sorted(exponents, key=text_of)
        kept = [e for e in distinct if not any(o != e and self.bounded(e - o, given) for o in distinct)]
        first, *rest = kept or distinct
        for other in rest:
            first = maximum(first, other)
        return first

    def _of_terms(self, node: Expr, given: Conditions, deep: bool) -> tuple[Expr, Expr]:
        parts = [self.pulled(term, given, deep) for term in node.args]
        exponents = {exponent for exponent, rest in parts if rest != 0}
        common = self._largest(exponents, given)
        if len(exponents) > 1 and not deep:
            terms = (times_exponential(exponent, rest) for exponent, rest in parts)
            return Integer(0), node.func(*terms)
        return common, node.func(*(times_exponential(exponent - common, rest) for exponent, rest in parts))

    def _of_branches(self, node: Select, given: Conditions, deep: bool) -> tuple[Expr, Expr]:
        held = conditions(node.args[0]), conditions(Not(node.args[0]))
        condition = self.condition(node.args[0], given)
        sides = [self.pulled(part, (*given, *where), deep) for part, where in zip(node.args[1:], held, strict=True)]
        exponents = [exponent for exponent, rest in sides if rest != 0]
        exponent = exponents[0] if len(set(exponents)) == 1 else Select(condition, *(e for e, _ in sides))
        return exponent, Select(condition, *(rest for _, rest in sides))

    def condition(self, node: Basic, given: Conditions = ()) -> Basic:
        """A condition without scales; both sides of a comparison may be divided by a common one."""
        if not node.has(Scale):
            return node
        if not isinstance(node, Rel):
            return node.func(*(self.condition(part, given) for part in node.args))
        sides = [self.pulled(side, given) for side in node.args]
        if len({exponent for exponent, rest in sides if rest != 0}) == 1:
            return node.func(*(rest for _, rest in sides))
        return node.func(*(times_exponential(*side) for side in sides))

    def written(self, node: Basic, given: Conditions = ()) -> Basic:
        """The expression with scales written out, each merged with the exponentials that it multiplies."""
        if not node.args or (not node.has(Scale) and not self.unbounded(node, given)):
            return node
        if isinstance(node, Add):
            return Add(*(self.written(term, given) for term in node.args))
        if isinstance(node, Select):
            condition = self.condition(node.args[0], given)
            held = conditions(node.args[0]), conditions(Not(node.args[0]))
            return Select(
                condition,
                *(self.written(part, (*given, *where)) for part, where in zip(node.args[1:], held, strict=True)),
            )
        if isinstance(node, Boolean):
            return self.condition(node, given)
        value = times_exponential(*self.pulled(node, given))
        if isinstance(value, Add) and not isinstance(node, Add):  # a scale that its factors do not share
            return Add(*(self._supported(term, given) for term in value.args))
        return self._supported(value, given)

    def _supported(self, value: Expr, given: Conditions) -> Expr:
        """A product that is 0 outside a support, written so that no infinite exponential is multiplied by this 0."""
        here = (*given, *self.chosen(value))
        if not isinstance(value, Mul) or not self.unbounded(value, here):
            return value
        missing = self.support(value) - {*here}
        return Select(And(*missing), value, 0) if missing else value
