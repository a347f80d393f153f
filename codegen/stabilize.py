"""Sums of exponentials without overflow, by shifting every exponent by its row's maximum.

A sum ``Z = Σ exp(f)`` is written ``exp(M) * S`` with ``M = max f`` and ``S = Σ exp(f - M)``. The factor ``exp(M)`` is
carried as an opaque power, which cancels wherever the formula is invariant under a shift (softmax, log-
softmax and their
gradients); ``log(exp(M) * S)`` becomes ``M + log(S)``. What does not cancel is written out again, so that the result is
the same function in every case.

Input: a ``Layer`` after ``inline_maps``. Output: the same, with maxima added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sympy import Add, Basic, Expr, Function, Mul, Pow, Tuple, exp, expand_mul, log
from sympy.core.symbol import Str

from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Index, Read, Reduction, Tensor
from svertka.spec.rewrite import index_set, replace, substitute

__all__ = ["stabilize"]


class _Scale(Function):  # type: ignore[misc]
    """The opaque factor exp(M[...])."""

    nargs = 1
    is_positive = True
    is_real = True


def stabilize(layer: Layer) -> Layer:
    """Shift the exponents of every sum of exponentials by their maximum."""
    done: list[Equation] = []
    maxima: set[str] = set()
    pending = list(layer.equations)
    while pending:
        equation = pending.pop(0)
        found = _shift(equation, maxima)
        if found is not None:
            exponent, maximum = found
            done.append(maximum)
            maxima.add(maximum.target.name)
            pending = [Equation(e.target, _shifted(e.value, exponent, maximum.target)) for e in [equation, *pending]]
            continue
        reduction, scale = _scale_outside(equation.value)
        if scale == 1:
            done.append(equation)
            continue
        target = Tensor(f"{equation.target.name}_shifted", *equation.target.axes)
        done.append(Equation(target, reduction))
        whole = scale * target[target.axes]
        pending = [Equation(e.target, _scaled(e.value, equation.target, whole)) for e in pending]
        if equation.target.name in layer.outputs:
            pending.insert(0, Equation(equation.target, whole))
    equations = tuple(Equation(e.target, _written_out(e.value)) for e in done)
    return Layer(layer.name, layer.inputs, equations, layer.outputs).only(layer.outputs)


def _shift(equation: Equation, maxima: Collection[str]) -> tuple[Expr, Equation] | None:
    """An exponent of a sum of exponentials that is not shifted yet, with its maximum; None if no shift helps.

    A shift helps where its power comes out of the sum: what stays in a term could overflow where the term does not.
    """
    value = equation.value
    if not isinstance(value, Reduction) or value.operation != "sum":
        return None
    for node in _exponentials(value.body):
        exponent = node.args[0]
        shifted = any(isinstance(part, Read) and part.tensor in maxima for part in walk(node))
        if index_set(exponent) & set(value.indices) and not shifted:
            maximum = _maximum(equation, exponent)
            if _scale_outside(_shifted(value, exponent, maximum.target))[1] != 1:
                return exponent, maximum
    return None


def _exponentials(node: Basic) -> Iterator[Basic]:
    return (part for part in walk(node) if isinstance(part, exp))


def _maximum(equation: Equation, exponent: Expr) -> Equation:
    """The equation of the row maximum."""
    value = equation.value
    free = tuple(i for i in equation.target.axes if i in index_set(exponent))
    shift = Tensor(f"{equation.target.name}_shift", *free)
    maximum = Reduction(Str("max"), exponent, value.guard, value.args[3])
    return Equation(shift, maximum)


def _shifted(value: Basic, exponent: Expr, shift: Tensor) -> Basic:
    """Write every exp of the same row as scale * exp(exponent - maximum)."""
    found: dict[Basic, Basic] = {}
    for node in _exponentials(value):
        mapping = _match(exponent, node.args[0])
        if mapping is not None:
            maximum = shift[tuple(mapping.get(axis, axis) for axis in shift.axes)]
            found[node] = _Scale(maximum) * exp(node.args[0] - maximum)
    return _logarithms(replace(value, found))


def _match(pattern: Basic, node: Basic) -> dict[Index, Expr] | None:
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


def _scale_outside(value: Basic) -> tuple[Basic, Expr]:
    """Pull the common scale out of a sum."""
    if not isinstance(value, Reduction) or value.operation != "sum":
        return value, Mul()
    terms = Add.make_args(expand_mul(value.body))
    scales = [Mul(*(f for f in Mul.make_args(term) if _is_scale(f))) for term in terms]
    if len(set(scales)) != 1 or index_set(scales[0]) & set(value.indices):
        return value, Mul()
    body = Add(*(Mul(*(f for f in Mul.make_args(term) if not _is_scale(f))) for term in terms))
    return Reduction(value.args[0], body, value.guard, Tuple(*value.indices)), scales[0]


def _is_scale(factor: Basic) -> bool:
    return isinstance(factor, _Scale) or (isinstance(factor, Pow) and isinstance(factor.base, _Scale))


def _scaled(value: Basic, target: Tensor, whole: Expr) -> Basic:
    found: dict[Basic, Basic] = {
        node: substitute(whole, dict(zip(target.axes, node.indices, strict=True)))
        for node in walk(value)
        if isinstance(node, Read) and node.tensor == target.name
    }
    return _logarithms(replace(value, found))


def _logarithms(value: Basic) -> Basic:
    """log(scale ** p * rest) = p * M + log(rest)."""
    found: dict[Basic, Basic] = {}
    for node in walk(value):
        if isinstance(node, log):
            factors = Mul.make_args(node.args[0])
            powers = [factor.as_base_exp() for factor in factors if _is_scale(factor)]
            rest = Mul(*(factor for factor in factors if not _is_scale(factor)))
            if powers:
                found[node] = Add(*(power * base.args[0] for base, power in powers)) + log(rest)
    return replace(value, found)


def _written_out(value: Basic) -> Basic:
    found = {node: exp(node.args[0]) for node in walk(value) if isinstance(node, _Scale)}
    return replace(value, found) if found else value
