"""Sums in which a scan is hidden: the scan becomes an equation of its own, so that the work is linear.

The gradient of a weight that many rows of a scan share sums over the rows and over the places behind:
``T[j] = Σ_n Σ_i x[n, j] g[n, i], j <= i``. The factors that depend on ``i`` do not depend on ``j``, so this is a sum of
products with a scan, ``T[j] = Σ_n x[n, j] S[n, j]``, ``S[n, j] = Σ_i g[n, i], j <= i``. An index that occurs in the
scan's terms alone is summed before them: ``Σ_j Σ_c x[j, c]``, ``j <= i``, is a scan of ``Σ_c x[j, c]``.

A formula's error bound holds for any order of its additions. No term has more roundings here than there, so it holds.

Input: a ``Layer`` after ``inline_maps``. Output: the same, with tensors of scans and of their terms added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Mul, Tuple
from sympy.core.symbol import Str
from sympy.logic.boolalg import Boolean

from svertka.codegen.ir.scans import as_scan
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Index, Reduction, Tensor
from svertka.spec.rewrite import conditions, conjunction, index_set

__all__ = ["nested", "without_hidden_scans"]


def without_hidden_scans(layer: Layer) -> Layer:
    """Give every scan within a sum an equation of its own."""
    taken = set(layer.tensors)
    found: list[Equation] = []
    for equation in layer.equations:
        found += nested(equation, taken) or [equation]
    return Layer(layer.name, layer.inputs, tuple(found), layer.outputs)


def nested(equation: Equation, taken: set[str]) -> list[Equation]:
    """The equations of a sum with its scan apart; none if it has none, or is one. Names that are used become taken."""
    value = equation.value
    if not isinstance(value, Reduction) or value.operation != "sum" or len(value.indices) < 2:
        return []
    for bound in value.indices:
        for place in equation.target.axes:
            parts = _parts(value, bound, place) if place.extent == bound.extent else None
            if parts is not None:
                return _steps(equation, parts, taken)
    return []


@dataclass(frozen=True)
class _Parts:
    """A sum, divided.

    Attributes:
        bound: the index over which the scan runs; ``place``: the one of the result along which it runs.
        side: the condition between the two.
        terms, within: factors and conditions of the scan.
        others, around: the other factors and conditions.
        first: indices that are summed before the scan; ``last``: those that are summed behind it.
    """

    bound: Index
    place: Index
    side: Boolean
    terms: Expr
    within: list[Boolean]
    others: Expr
    around: list[Boolean]
    first: tuple[Index, ...]
    last: tuple[Index, ...]


def _parts(value: Reduction, bound: Index, place: Index) -> _Parts | None:
    """How a sum divides if a condition between two indices makes it a scan; else None."""
    held, factors = conditions(value.guard), Mul.make_args(value.body)
    sides = [condition for condition in held if {bound, place} <= index_set(condition)]
    if len(sides) != 1 or any(bound in index_set(f) and place in index_set(f) for f in factors):
        return None
    terms, others = ([f for f in factors if (bound in index_set(f)) == inner] for inner in (True, False))
    rest = [condition for condition in held if condition is not sides[0]]
    within, around = ([c for c in rest if (bound in index_set(c)) == inner] for inner in (True, False))
    outside = frozenset[Index]().union(*map(index_set, (*others, *around)))
    first = tuple(i for i in value.indices if i != bound and i not in outside)
    last = tuple(i for i in value.indices if i != bound and i in outside)
    probe = Tensor("probe", place)
    if as_scan(Equation(probe, Reduction(value.args[0], bound, sides[0], Tuple(bound)))) is None:
        return None
    return _Parts(bound, place, sides[0], Mul(*terms), within, Mul(*others), around, first, last)


def _steps(equation: Equation, parts: _Parts, taken: set[str]) -> list[Equation]:
    """A sum over the first indices, a scan, and a sum over the last; a sum over no index is left out."""
    target, found = equation.target, list[Equation]()
    terms, within = parts.terms, parts.within
    if parts.first:
        free = (index_set(terms) | index_set(conjunction(within))) - {*parts.first}
        first = Tensor(_name(f"{target.name}_terms", taken), *_ordered(free | {parts.bound}, target))
        found.append(Equation(first, _sum(terms, within, parts.first)))
        terms, within = first[first.axes], []
    if not parts.last:
        return [*found, Equation(target, _sum(terms, [*within, parts.side], (parts.bound,)))]
    free = (index_set(terms) | index_set(conjunction(within))) - {parts.bound}
    scan = Tensor(_name(f"{target.name}_scan", taken), *_ordered(free | {parts.place}, target))
    found.append(Equation(scan, _sum(terms, [*within, parts.side], (parts.bound,))))
    return [*found, Equation(target, _sum(parts.others * scan[scan.axes], parts.around, parts.last))]


def _sum(body: Expr, guard: Sequence[Boolean], indices: Sequence[Index]) -> Reduction:
    return Reduction(Str("sum"), body, conjunction(guard), Tuple(*indices))


def _ordered(indices: set[Index] | frozenset[Index], target: Tensor) -> list[Index]:
    """Indices in the order of the target's axes, then the others by name."""
    order = {index: number for number, index in enumerate(target.axes)}
    return sorted(indices, key=lambda index: (order.get(index, len(order)), index.name))


def _name(stem: str, taken: set[str]) -> str:
    name = stem
    while name in taken:
        name = f"{name}_again"
    taken.add(name)
    return name
