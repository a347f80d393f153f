"""Chains: reductions of an expression of contractions whose elements are computed where they are read.

``S[q, k] = Σ_e Q[q, e] K[k, e]`` is read by reductions over k alone, of which some keep the rows q and some are
contractions, ``Σ_k f(S[q, k]) V[k, c]``. A kernel that walks k block by block computes each block of S by itself: S is
never stored. So it is where a reduction of rows stands between two contractions, as in attention; without one, S is
computed once and stored. In a gradient those S are computed again, and with them contractions that are read only
beside them.

Input: a ``Layer`` after its passes. Output: inner contractions by name; a ``Chain`` for a reduction that reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr, Tuple

from svertka.codegen.ir.loop_patterns import as_contraction
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.notation import Index, Read, Reduction
from svertka.spec.rewrite import conditions, index_set, substitute
from svertka.spec.window import windowed_indices

__all__ = ["Chain", "InnerProduct", "as_chain", "inner_products", "is_between"]

SIDES = ("of", "beside")
"""Parts of the names of summed indices: those in the left factor, and in the right one."""


@dataclass(frozen=True)
class InnerProduct:
    """A contraction that is computed within another reduction, at the indices at which that reads it.

    Attributes:
        read: the element; ``equation``: the contraction itself.
        left: factor over the rows; ``right``: factor over the columns.
        depth: the summed indices in the left factor; ``right_depth``: those in the right factor, of the same extents.
    """

    read: Read
    equation: Equation
    left: Expr
    right: Expr
    depth: tuple[Index, ...]
    right_depth: tuple[Index, ...]

    @property
    def value(self) -> Reduction:
        """The element's own sum."""
        right = substitute(self.right, dict(zip(self.right_depth, self.depth, strict=True)))
        value: Reduction = self.equation.value
        return Reduction(value.args[0], self.left * right, value.guard, Tuple(*self.depth))


@dataclass(frozen=True)
class Chain:
    """A reduction of an expression of inner products over its columns.

    Attributes:
        batch: indices that both factors of inner products have.
        rows: the other indices of the expression that are not summed.
        across: indices of the result that only the other factor of a contraction has.
        columns: the summed indices.
        value: the expression, over batch, rows and columns.
        other: the other factor of a contraction; None for a reduction of rows.
        inner: the inner products.
    """

    batch: tuple[Index, ...]
    rows: tuple[Index, ...]
    across: tuple[Index, ...]
    columns: tuple[Index, ...]
    value: Expr
    other: Expr | None
    inner: tuple[InnerProduct, ...]


def inner_products(layer: Layer, begun: Collection[str] | None = None) -> dict[str, Equation]:
    """Contractions that the reductions that read them may compute, by name.

    Args:
        layer: the layer.
        begun: for a gradient, those of its forward; None: those with a reduction of rows beside a contraction.
    """
    readers: dict[str, list[Equation]] = {}
    for equation in layer.equations:
        for name in {read.tensor for read in reads(equation.value)}:
            readers.setdefault(name, []).append(equation)
    candidates = {e.target.name: e for e in layer.equations if _may_be_inner(e, layer) and e.target.name in readers}
    chosen: dict[str, Equation] = {}

    def fits(name: str) -> bool:
        more = {**chosen, name: candidates[name]}
        within = any(read.tensor in more for one in more.values() for read in reads(one.value))
        return not within and all(as_chain(reader, more) is not None for one in more for reader in readers[one])

    for name in candidates:
        starts = is_between(name, readers[name]) if begun is None else name in begun
        if starts and fits(name):
            chosen[name] = candidates[name]
    for name in candidates:
        beside = all(any(read.tensor in chosen for read in reads(reader.value)) for reader in readers[name])
        if name not in chosen and beside and fits(name):
            chosen[name] = candidates[name]
    return chosen


def as_chain(equation: Equation, inner: Mapping[str, Equation]) -> Chain | None:
    """A sum or maximum as a reduction of an expression of inner products; None if it is none.

    The inner products have one factor over the rows and one over the columns. Of a contraction one factor reads them,
    and the other has no index of the rows, nor has any condition an index of the other factor's.
    """
    value = equation.value
    if not isinstance(value, Reduction) or value.operation not in ("sum", "max") or windowed_indices(value):
        return None
    found = sorted({read for read in reads(value.body) if read.tensor in inner}, key=str)
    guarded = any(read.tensor in inner for read in reads(value.guard))
    if not found or guarded or len({read.tensor for read in found}) != len(found):
        return None
    body, other, across = _sides(equation, inner)
    kept = tuple(axis for axis in equation.target.axes if axis not in across)
    products = tuple(_inner(read, inner[read.tensor], {*kept}, {*value.indices}) for read in found)
    known = tuple(product for product in products if product is not None)
    batch = tuple(axis for axis in kept if any(axis in index_set(product.right) for product in known))
    rows = tuple(axis for axis in kept if axis not in batch)
    apart = other is None or not index_set(other) & {*rows}
    free = all(not index_set(condition) & {*across} for condition in conditions(value.guard))
    if body is None or len(known) != len(products) or not rows or not apart or not free or index_set(body) & {*across}:
        return None
    return Chain(batch, rows, across, tuple(value.indices), body, other, known)


def _sides(equation: Equation, inner: Collection[str]) -> tuple[Expr | None, Expr | None, tuple[Index, ...]]:
    """The factor that reads inner products, the other and the indices of this alone; None for both if both do."""
    split = as_contraction(equation)
    if split is None:
        return equation.value.body, None, ()
    sides = ((split.left, split.right, split.n), (split.right, split.left, split.m))
    holding = [side for side in sides if any(read.tensor in inner for read in reads(side[0]))]
    return holding[0] if len(holding) == 1 else (None, None, ())


def _inner(read: Read, equation: Equation, kept: set[Index], columns: set[Index]) -> InnerProduct | None:
    """A contraction at the indices of a read: one factor without columns, one with no row."""
    split = as_contraction(equation)
    places = read.indices
    if split is None or len({*places}) != len(places) or not {*places} <= kept | columns:
        return None
    name = equation.target.name
    to = dict(zip(equation.target.axes, places, strict=True))
    first, second = substitute(split.left, to), substitute(split.right, to)
    left, right = (second, first) if index_set(first) & columns else (first, second)
    if index_set(left) & columns or not index_set(right) & columns or index_set(right) >= kept:
        return None
    of_left, of_right = (
        {index: index.twin(f"{index.name}_{side}_{name}") for index in equation.value.indices} for side in SIDES
    )
    depths = tuple(of_left.values()), tuple(of_right.values())
    return InnerProduct(read, equation, substitute(left, of_left), substitute(right, of_right), *depths)


def _may_be_inner(equation: Equation, layer: Layer) -> bool:
    """Whether it is an unconditional contraction and no result."""
    unconditional = isinstance(equation.value, Reduction) and not conditions(equation.value.guard)
    return unconditional and equation.target.name not in layer.outputs and as_contraction(equation) is not None


def is_between(name: str, readers: Sequence[Equation]) -> bool:
    """Whether a reduction of rows reads a tensor, and a contraction that sums over the same of its axes."""
    sums: dict[bool, set[frozenset[int]]] = {True: set(), False: set()}
    for reader in readers:
        for read in reads(reader.value):
            if read.tensor == name and isinstance(reader.value, Reduction):
                summed = frozenset(n for n, index in enumerate(read.indices) if index in reader.value.indices)
                sums[as_contraction(reader) is not None].add(summed)
    return bool(sums[True] & sums[False])
