"""Sums of exponentials without overflow, by shifting every exponent by its row's maximum.

A sum ``Z = Σ exp(f)`` is written ``exp(M) * S`` with ``M = max f`` and ``S = Σ exp(f - M)``, both over the same guard.
An element that the guard excludes may be larger than M, but neither the sum nor the maximum contains it. The factor
``exp(M)`` is carried, as an opaque scale, into every equation that reads Z, also into further sums. It cancels wherever
the formula is invariant under a shift (softmax, log-softmax and their gradients), also through selections, powers and
sums of terms; see ``exponents``. ``log(exp(M) * S)`` becomes ``M + log(S)``. What does not cancel is written out again,
so that the result is the same function in every case. Terms of a sum whose exponents differ are summed separately, each
with a scale of its own.

Input: a ``Layer`` after ``inline_maps``. Output: the same, with maxima added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Add, And, Basic, Expr, Integer, Mul, Not, Tuple, exp, expand_mul, log, oo
from sympy.core.symbol import Str
from sympy.logic.boolalg import Boolean

from svertka.codegen.passes.exponents import Exponents, Known, Scale, matching, of_indices
from svertka.spec.layer import Equation, Layer, reads, text_of, walk
from svertka.spec.notation import Index, Read, Reduction, Select, Tensor, maximum
from svertka.spec.rewrite import conditions, conjunction, index_set, replace, substitute

__all__ = ["stabilize", "unshifted"]

LOWEST = Integer(-(2**128 - 2**104))
"""The lowest number of float32. A row of float64 whose elements are all lower counts as a row of -inf."""


def stabilize(layer: Layer) -> Layer:
    """Shift the exponents of every sum of exponentials by their maximum."""
    return _Stabilizing(layer).result()


def unshifted(layer: Layer) -> tuple[str, ...]:
    """Tensors of a stabilised layer that are sums in which some exponential may be larger than 1."""
    known = Exponents(Known.of(layer))
    return tuple(
        equation.target.name
        for equation in layer.equations
        if isinstance(equation.value, Reduction)
        and equation.value.operation == "sum"
        and known.unbounded(equation.value.body, conditions(equation.value.guard))
    )


@dataclass(frozen=True)
class _Term:
    """A term of a sum: ``exp(exponent) * rest`` where conditions hold, else 0."""

    conditions: frozenset[Boolean]
    exponent: Expr
    rest: Expr


class _Stabilizing:
    """The equations so far, and what is known of those that were shifted."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.done: list[Equation] = []
        self.whole: dict[str, tuple[Tensor, Expr]] = {}  # the expression that replaces a tensor that was shifted
        self.known = Known()
        self.exponents = Exponents(self.known)
        self.shifts: set[str] = set()
        self.taken = set(layer.tensors)

    def result(self) -> Layer:
        """The layer with every sum of exponentials shifted."""
        for equation in self.layer.equations:
            self._support(equation)
            self._add(Equation(equation.target, self._current(equation.value)))
        equations = self._finite(tuple(self.done))
        return Layer(self.layer.name, self.layer.inputs, equations, self.layer.outputs).only(self.layer.outputs)

    def _finite(self, equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
        """Equations in which each shift that is itself a term of a result is at least LOWEST.

        The logarithm of a sum in which every term is exp(-inf) is then -inf. A shift that is subtracted from an element
        of its row, as in log-softmax, is not changed: for such a row the formula has no value there.
        """
        names: set[str] = set()
        for equation in equations:
            value, given = equation.value, ()
            if isinstance(value, Reduction):
                value, given = value.body, conditions(value.guard)
                if equation.target.name in self.shifts:
                    continue
            names |= {read.tensor for read in self._shown(value, given)}

        def lifted(value: Basic) -> Basic:
            return replace(value, {read: maximum(read, LOWEST) for read in reads(value) if read.tensor in names})

        return tuple(Equation(e.target, lifted(e.value)) for e in equations) if names else equations

    def _shown(self, node: Basic, given: tuple[Boolean, ...]) -> Iterator[Read]:
        """Shifts that are terms of an expression, but not subtracted in an exponent or from an element of their row."""
        terms = node.args[0] if isinstance(node, exp) else node
        for part in Add.make_args(terms):
            times, read = part.as_coeff_Mul()
            if isinstance(read, Read) and read.tensor in self.shifts:
                beside = isinstance(node, exp) or self.exponents.has_element(read, (terms - part) / -times, given)
                if times > 0 or not beside:
                    yield read
            elif isinstance(part, Select):
                for side, where in zip(part.args[1:], (part.args[0], Not(part.args[0])), strict=True):
                    yield from self._shown(side, (*given, *conditions(where)))
            elif not isinstance(part, Read):
                for inner in part.args:
                    yield from self._shown(inner, given)

    def _support(self, equation: Equation) -> None:
        """Record where a tensor is 0; a sum is 0 where its guard excludes every term."""
        value, axes = equation.value, equation.target.axes
        if not isinstance(value, Reduction):
            held = self.exponents.support(value)
        elif value.operation == "sum":
            all_held = self.exponents.support(value.body) | frozenset(filter(of_indices, conditions(value.guard)))
            held = frozenset(condition for condition in all_held if not index_set(condition) & {*value.indices})
        else:
            return
        if held:
            self.known.supports[equation.target.name] = axes, tuple(sorted(held, key=text_of))

    def _current(self, value: Basic) -> Basic:
        """The value with shifted tensors replaced by the expressions in ``whole``."""
        found: dict[Basic, Basic] = {}
        for read in reads(value):
            if read.tensor in self.whole:
                target, whole = self.whole[read.tensor]
                found[read] = substitute(whole, dict(zip(target.axes, read.indices, strict=True)))
        value = replace(value, found)
        logarithms = {node for node in walk(value) if isinstance(node, log) and node.has(Scale)}
        return replace(value, {node: self.exponents.pulled(node)[1] for node in logarithms})

    def _add(self, equation: Equation) -> None:
        target, value = equation.target, equation.value
        if not isinstance(value, Reduction):
            self.done.append(Equation(target, self.exponents.written(value)))
            return
        given = conditions(value.guard)
        if value.operation != "sum" or not (value.has(Scale) or self.exponents.unbounded(value.body, given)):
            body = self.exponents.written(value.body, given)
            guard = self.exponents.condition(value.guard)
            self._add_reduction(Equation(target, Reduction(value.args[0], body, guard, value.args[3])))
            return
        self._add_sum(equation)

    def _add_reduction(self, equation: Equation) -> None:
        self.done.append(equation)
        if equation.value.operation == "max":
            self.known.add(equation)

    def _add_sum(self, equation: Equation) -> None:
        """Add the sums that an equation consists of, and record the expression that replaces its target."""
        target, value = equation.target, equation.value
        groups: dict[tuple[frozenset[Boolean], Expr], list[Expr]] = {}
        for term in self._terms(value.body, conditions(value.guard)):
            groups.setdefault((term.conditions, term.exponent), []).append(term.rest)
        parts: list[Expr] = []
        alone = len(groups) == 1
        for (held, exponent), rests in groups.items():
            parts.append(self._shifted(equation, held, exponent, Add(*rests), alone))
        if parts == [target[target.axes]]:
            return
        self.whole[target.name] = target, Add(*parts)
        if target.name in self.layer.outputs:
            self.done.append(Equation(target, self.exponents.written(Add(*parts))))

    def _terms(self, body: Expr, given: tuple[Boolean, ...]) -> Iterator[_Term]:
        """The terms of a sum's body, each with its exponent and the conditions under which it is not 0."""
        for held, term in _selected(body, frozenset()):
            here = (*given, *held)
            exponent, rest = self.exponents.pulled(term, here)
            grown, rest = self._raw(rest, here)
            exponent += grown
            if exponent == 0:
                yield _Term(held, Integer(0), rest)
            else:
                yield _Term(held | self.exponents.support(term) - {*given}, exponent, rest)

    def _raw(self, node: Expr, given: tuple[Boolean, ...]) -> tuple[Expr, Expr]:
        """``(e, rest)`` with node = exp(e) * rest, where exp(e) has the exponentials that may be larger than 1."""
        if isinstance(node, exp) and not self.exponents.bounded(node.args[0], given):
            return node.args[0], Integer(1)
        if isinstance(node, Select) and node.args[2] == 0:
            exponent, rest = self._raw(node.args[1], (*given, *conditions(node.args[0])))
            return exponent, Select(node.args[0], rest, 0)
        if isinstance(node, Mul):
            parts = [self._raw(factor, given) for factor in node.args]
            return Add(*(exponent for exponent, _ in parts)), Mul(*(rest for _, rest in parts))
        return Integer(0), node

    def _shifted(self, equation: Equation, held: frozenset[Boolean], exponent: Expr, rest: Expr, alone: bool) -> Expr:
        """Add the sum of ``exp(exponent) * rest`` with its exponent shifted; give the expression that replaces it."""
        target, value = equation.target, equation.value
        guard = conjunction([*conditions(value.guard), *filter(of_indices, held)])
        asked = [condition for condition in held if not of_indices(condition)]
        inner, outer = _divided(exponent, value.indices)
        if not self.exponents.bounded(exponent, (*conditions(guard), *asked)):
            if inner != 0:
                row = self._row_maximum(target, inner, guard, asked, value)
                inner, outer = inner - row, outer + row
        elif inner != 0:
            inner, outer = exponent, Integer(0)
        body = Mul(exp(inner), rest) if not isinstance(rest, Add) else Add(*(exp(inner) * term for term in rest.args))
        body = Select(And(*asked), body, 0) if asked else body
        guard = self.exponents.condition(guard)
        reduction = Reduction(value.args[0], body, guard, value.args[3])
        if alone and outer == 0:
            self.done.append(Equation(target, reduction))
            return target[target.axes]
        shifted = self._same_sum(target.axes, reduction)
        if shifted is None:
            shifted = Tensor(self._fresh(f"{target.name}_shifted"), *target.axes)
            self.done.append(Equation(shifted, reduction))
        if target.name in self.known.supports:
            self.known.supports[shifted.name] = self.known.supports[target.name]
        return (Scale(outer) if outer != 0 else Integer(1)) * shifted[target.axes]

    def _same_sum(self, axes: tuple[Index, ...], reduction: Reduction) -> Tensor | None:
        """The tensor of an equal sum, if there is one already: a sum that a layer keeps for its gradient."""
        return next((e.target for e in self.done if e.value == reduction and e.target.axes == axes), None)

    def _row_maximum(
        self, target: Tensor, exponent: Expr, guard: Boolean, asked: list[Boolean], value: Reduction
    ) -> Expr:
        """The maximum of an exponent over a sum's row; an existing maximum of the same elements is used again."""
        body = Select(And(*asked), exponent, -oo) if asked else exponent
        for equation in self.known.maxima:
            found = _same_row(equation, body, guard, value.indices)
            if found is not None:
                return found
        free = tuple(i for i in target.axes if i in index_set(body) | index_set(guard))
        shift = Tensor(self._fresh(f"{target.name}_shift"), *free)
        row = Equation(shift, Reduction(Str("max"), body, guard, Tuple(*value.indices)))
        self.known.add(row)
        self.done.append(row)
        self.shifts.add(shift.name)
        return shift[free]

    def _fresh(self, stem: str) -> str:
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name


def _selected(body: Expr, held: frozenset[Boolean]) -> Iterator[tuple[frozenset[Boolean], Expr]]:
    """Terms of a sum, each with conditions on indices that are taken out of it; where one does not hold, it is 0."""
    for term in Add.make_args(expand_mul(body)):
        factors = Mul.make_args(term)
        for place, factor in enumerate(factors):
            found = _condition_of(factor)
            if found is not None:
                condition, inner = found
                rest = Mul(*factors[:place], inner, *factors[place + 1 :])
                yield from _selected(rest, held | {*conditions(condition)})
                break
        else:
            yield held, term


def _condition_of(factor: Expr) -> tuple[Boolean, Expr] | None:
    """``(condition, value)`` of a factor that is 0 where a condition on indices does not hold; None for others."""
    if not isinstance(factor, Select) or not of_indices(factor.args[0]):
        return None
    condition, if_true, if_false = factor.args
    if if_false == 0:
        return condition, if_true
    return (Not(condition), if_false) if if_true == 0 else None


def _divided(exponent: Expr, indices: tuple[Index, ...]) -> tuple[Expr, Expr]:
    """The terms of an exponent that depend on some indices, and those that do not."""
    terms = Add.make_args(exponent)
    inner = Add(*(term for term in terms if index_set(term) & {*indices}))
    return inner, exponent - inner


def _same_row(equation: Equation, body: Expr, guard: Boolean, indices: tuple[Index, ...]) -> Expr | None:
    """A read of a known maximum at the row over which it is the maximum of a body, or None."""
    value = equation.value
    found = matching(value.body, body)
    if found is None or {found.get(index) for index in value.indices} != {*indices}:
        return None
    rows = [found.get(axis, axis) for axis in equation.target.axes]
    if any(index_set(row) & {*indices} for row in rows):
        return None
    same = {substitute(c, found) for c in conditions(value.guard)} == {*conditions(guard)}
    return equation.target[tuple(rows)] if same else None
