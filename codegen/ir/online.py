"""Sums of exponentials that are shifted by a maximum of the same elements: both are found in one walk.

``S = Σ_j w_j exp(x_j - M)`` with ``M = max_j x_j`` over the same elements needs no M beforehand. What was summed so far
is relative to the largest element so far, ``s = Σ w exp(x - m)``; where an element is larger, ``s exp(m - x)`` is
relative to it (Milakov and Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867). Lanes that walk
parts of a row side by side are relative to maxima of their own, and in the end to the largest of them.

Input: equations of sums and maxima over the same indices. Output: an ``OnlineSum`` of those that have this form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sympy import Add, Expr, Mul, exp

from svertka.spec.layer import Equation, reads
from svertka.spec.notation import Read, Reduction, maximum
from svertka.spec.rewrite import conditions

__all__ = ["OnlineSum", "as_online", "online_sums"]


@dataclass(frozen=True)
class OnlineSum:
    """A sum of ``weight * exp(x - shift)``, x the elements of a maximum.

    Attributes:
        sum: the equation of the sum.
        maximum: the equation of the maximum.
        weight: what the exponentials are multiplied by; it does not read the maximum.
        shift: a read of the maximum, or the larger of it and a number.
    """

    sum: Equation
    maximum: Equation
    weight: Expr
    shift: Expr

    @property
    def weights(self) -> Equation:
        """The sum without its exponentials."""
        value = self.sum.value
        return Equation(self.sum.target, Reduction(value.args[0], self.weight, value.guard, value.args[3]))


def online_sums(equations: Sequence[Equation]) -> dict[str, OnlineSum]:
    """Those of some equations that are sums over the elements of a maximum that stands before them, by name."""
    found: dict[str, OnlineSum] = {}
    maxima: list[Equation] = []
    for equation in equations:
        value = equation.value
        if isinstance(value, Reduction) and value.operation == "max":
            maxima.append(equation)
        online = as_online(equation, maxima)
        if online is not None:
            found[equation.target.name] = online
    return found


def as_online(equation: Equation, maxima: Sequence[Equation]) -> OnlineSum | None:
    """The sum of an equation, if its exponentials are shifted by one of some maxima over the same indices."""
    value = equation.value
    if not isinstance(value, Reduction) or value.operation != "sum":
        return None
    for largest in maxima:
        same = largest.value.indices == value.indices and {*largest.target.axes} <= {*equation.target.axes}
        if same and {*conditions(largest.value.guard)} == {*conditions(value.guard)}:
            found = _shifted(value.body, largest)
            if found is not None and largest.target.name not in {read.tensor for read in reads(found[0])}:
                return OnlineSum(equation, largest, *found)
    return None


def _shifted(body: Expr, largest: Equation) -> tuple[Expr, Expr] | None:
    """The weight and the shift of a sum's body."""
    for shift in _shifts(body, largest):
        rests = [_without(term, largest.value.body - shift) for term in Add.make_args(body)]
        known = [rest for rest in rests if rest is not None]
        if len(known) == len(rests):
            return Add(*known), shift
    return None


def _shifts(body: Expr, largest: Equation) -> Iterator[Expr]:
    """A maximum, and the larger of it and a number, as they occur in an expression."""
    read: Read = largest.target[largest.target.axes]
    yield read
    yield from sorted((m for m in body.atoms(maximum) if read in m.args and any(a.is_number for a in m.args)), key=str)


def _without(term: Expr, exponent: Expr) -> Expr | None:
    """A product without its factor exp(exponent); None if it has none."""
    factors = Mul.make_args(term)
    place = next((n for n, f in enumerate(factors) if isinstance(f, exp) and f.args[0] - exponent == 0), None)
    return None if place is None else Mul(*factors[:place], *factors[place + 1 :])
