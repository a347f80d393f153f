"""Divide a layer's equations among kernels.

Equations over the same rows share a kernel: several reductions over one row, maps over a row that is bounded, pointwise
results that follow a reduction (epilogue). What another kernel needs is stored in a temporary.

Contractions whose readers compute their elements themselves (``ir.chains``) have no kernel of their own.

Input: a ``Layer`` after ``inline_maps``, ``stabilize`` and ``split``. Output: ``FusionGroup``s in the order
in which they run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from svertka.codegen.ir.chains import Chain, as_chain, inner_products
from svertka.codegen.ir.loop_patterns import LoopPattern, loop_pattern
from svertka.codegen.ir.online import as_online
from svertka.codegen.ir.scans import Scan, as_scan
from svertka.codegen.passes.centered_sums import matched, over
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.notation import Index, Read
from svertka.spec.rewrite import index_set, substitute

__all__ = ["FusionGroup", "Result", "partition"]


@dataclass(frozen=True)
class Result:
    """A tensor that a kernel stores.

    Attributes:
        name: the tensor.
        value: its value; for a reduction of the same kernel, a read of it.
        indices: the kernel's indices in the order of the tensor's axes.
    """

    name: str
    value: object
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class FusionGroup:
    """What one kernel computes.

    Attributes:
        pattern: its loop pattern.
        rows: indices of the parallel loops; for contractions batch, m and n together.
        columns: indices of the row, for row programs; for scans the index along which they run.
        reductions: reduction equations in order; the axes of their targets are the rows, for scans with the column.
        results: what is stored.
        chain: for chains, how their indices divide, and the inner products; its expressions are those of the last
            reduction, the contraction if there is one.
    """

    pattern: LoopPattern
    rows: tuple[Index, ...]
    columns: tuple[Index, ...]
    reductions: tuple[Equation, ...]
    results: tuple[Result, ...]
    chain: Chain | None = None


@dataclass
class _Draft:
    pattern: LoopPattern
    rows: tuple[Index, ...]
    columns: tuple[Index, ...] = ()
    reductions: list[Equation] = field(default_factory=list)
    results: list[tuple[str, Result]] = field(default_factory=list)
    chain: Chain | None = None

    @property
    def made(self) -> set[str]:
        return {e.target.name for e in self.reductions}

    def rename(self, equation: Equation) -> Equation:
        """The reduction with this kernel's columns as bound indices."""
        return over(equation, self.columns)


def partition(layer: Layer, inner: Collection[str] | None = None) -> tuple[FusionGroup, ...]:
    """Assign every equation to a kernel.

    Args:
        layer: the layer.
        inner: for a gradient, the inner products of its forward.
    """
    within = inner_products(layer, inner)
    drafts: list[_Draft] = []
    maker: dict[str, int] = {}
    for equation in layer.equations:
        if equation.target.name in within:
            continue
        chain = as_chain(equation, within)
        read = [equation.value, *(one.equation.value for one in (chain.inner if chain else ()))]
        after = max((maker[r.tensor] for value in read for r in reads(value) if r.tensor in maker), default=0)
        joins = (n for n in range(after, len(drafts)) if _join(drafts[n], equation, chain))
        place = next(joins, None)
        if place is None:
            drafts.append(_open(equation, chain))
            place = len(drafts) - 1
        maker[equation.target.name] = place
    _store_temporaries(drafts, layer, maker, within)
    for draft in drafts:
        _divide(draft)
    return tuple(
        FusionGroup(d.pattern, d.rows, d.columns, tuple(d.reductions), tuple(r for _, r in d.results), d.chain)
        for d in drafts
    )


def _join(draft: _Draft, equation: Equation, chain: Chain | None) -> bool:
    """Add the equation to the kernel if their loops agree."""
    if chain is not None:
        return _join_chain(draft, equation, chain)
    kind = loop_pattern(equation)
    if kind == LoopPattern.SCAN:
        return _join_scan(draft, equation)
    if not _local_reads_agree(draft, equation):
        return False
    if kind == LoopPattern.POINTWISE:
        return _join_map(draft, equation)
    if kind == LoopPattern.CONTRACTION or kind != draft.pattern or set(equation.target.axes) != set(draft.rows):
        return False
    if kind == LoopPattern.ROW:
        if not matched(equation.value.indices, draft.columns):
            return False
        draft.reductions.append(draft.rename(equation))
        return True
    draft.reductions.append(equation)
    return True


def _join_scan(draft: _Draft, equation: Equation) -> bool:
    """Add a scan to scans of the same places in the same direction; it may run over their results."""
    if draft.pattern != LoopPattern.SCAN:
        return False
    scan, first = _scan(equation), _scan(draft.reductions[0])
    if (scan.index, scan.reverse) != (first.index, first.reverse) or {*_rows(equation, scan)} != {*draft.rows}:
        return False
    parts = (scan.element,) if scan.step is None else (scan.element, scan.step)
    if not all(_local_reads_agree(draft, Equation(equation.target, part)) for part in parts):
        return False
    draft.reductions.append(equation)
    return True


def _join_chain(draft: _Draft, equation: Equation, chain: Chain) -> bool:
    """Add a reduction of inner products to others over the same rows and columns, at most one contraction.

    All share one loop: it reads no reduction of the kernel, but for a maximum by which exponentials are shifted.
    """
    held = draft.chain
    if held is None or (held.batch, held.rows) != (chain.batch, chain.rows) or (held.across and chain.across):
        return False
    if not matched(chain.columns, draft.columns) or not _local_reads_agree(draft, equation):
        return False
    renamed = draft.rename(equation)
    maxima = [e for e in draft.reductions if e.value.operation == "max"]
    online = as_online(renamed, maxima)
    body = renamed.value.body if online is None else online.weight
    if {read.tensor for read in reads(body)} & draft.made:
        return False
    last = len(draft.reductions) - bool(held.across)  # a contraction stays the last
    draft.reductions.insert(last, renamed)
    joined = _renamed(chain, matched(chain.columns, draft.columns), held)
    draft.chain = replace(held, inner=joined.inner) if held.across else joined
    draft.rows = (*draft.rows, *chain.across)
    return True


def _renamed(chain: Chain, to: Mapping[Index, Index], held: Chain) -> Chain:
    """The chain over other columns, with the inner products that another has, too."""
    inner = [
        replace(one, read=substitute(one.read, to), left=substitute(one.left, to), right=substitute(one.right, to))
        for one in chain.inner
    ]
    inner += [one for one in held.inner if one.read not in {other.read for other in inner}]
    other = None if chain.other is None else substitute(chain.other, to)
    return replace(chain, columns=held.columns, value=substitute(chain.value, to), other=other, inner=tuple(inner))


def _scan(equation: Equation) -> Scan:
    scan = as_scan(equation)
    assert scan is not None
    return scan


def _rows(equation: Equation, scan: Scan) -> tuple[Index, ...]:
    return tuple(axis for axis in equation.target.axes if axis != scan.index)


def _local_reads_agree(draft: _Draft, equation: Equation) -> bool:
    """Whether every read of a value made in this kernel is at the kernel's own row."""
    for read in reads(equation.value):
        made = next((e for e in draft.reductions if e.target.name == read.tensor), None)
        if made is not None and read.indices != made.target.axes:
            return False
        if made is None and any(name == read.tensor for name, _ in draft.results):
            return False
    return True


def _join_map(draft: _Draft, equation: Equation) -> bool:
    axes = equation.target.axes
    held = draft.chain
    each = held is not None and set(axes) == {*held.batch, *held.rows}
    if each or (set(axes) == set(draft.rows) and draft.pattern != LoopPattern.SCAN):
        draft.results.append((equation.target.name, Result(equation.target.name, equation.value, axes)))
        return True
    if draft.pattern not in (LoopPattern.ROW, LoopPattern.SCAN):
        return False
    if draft.pattern == LoopPattern.ROW and any(column.batch for column in draft.columns):
        return False
    if not set(draft.rows) < set(axes):
        return False
    mapping = matched(tuple(i for i in axes if i not in draft.rows), draft.columns)
    if not mapping:
        return False
    indices = tuple(mapping.get(i, i) for i in axes)
    value = substitute(equation.value, mapping)
    draft.results.append((equation.target.name, Result(equation.target.name, value, indices)))
    return True


def _open(equation: Equation, chain: Chain | None) -> _Draft:
    if chain is not None:
        rows = (*chain.batch, *chain.rows, *chain.across)
        return _Draft(LoopPattern.CHAIN, rows, chain.columns, [equation], chain=chain)
    kind = loop_pattern(equation)
    draft = _Draft(kind, equation.target.axes)
    if kind == LoopPattern.POINTWISE:
        _join_map(draft, equation)
        return draft
    if kind == LoopPattern.ROW:
        draft.columns = equation.value.indices
    if kind == LoopPattern.SCAN:
        scan = _scan(equation)
        draft.rows, draft.columns = _rows(equation, scan), (scan.index,)
    draft.reductions.append(equation)
    return draft


def _divide(draft: _Draft) -> None:
    """Make a map that reads something of some of its indices alone one of rows and columns.

    The columns are its last indices that no such read has: what is computed of these reads is computed once a row.
    """
    if draft.pattern != LoopPattern.POINTWISE:
        return
    found = [index_set(read) & {*draft.rows} for _, result in draft.results for read in reads(result.value)]
    partial = [indices for indices in found if indices and indices != {*draft.rows}]
    used = max((draft.rows.index(index) for indices in partial for index in indices), default=-1) + 1
    if 0 < used < len(draft.rows):
        draft.pattern, draft.rows, draft.columns = LoopPattern.ROW, draft.rows[:used], draft.rows[used:]


def _store_temporaries(
    drafts: list[_Draft], layer: Layer, maker: dict[str, int], within: Mapping[str, Equation]
) -> None:
    """Store reductions that are outputs or that another kernel reads; inner products are computed by their readers."""
    needed = set(layer.outputs)
    for equation in layer.equations:
        for read in reads(equation.value):
            inner = within.get(read.tensor)
            made = maker.get(equation.target.name)
            found = {read.tensor} if inner is None else {one.tensor for one in reads(inner.value)}
            needed |= {name for name in found if maker.get(name) != made}
    for draft in drafts:
        for equation in draft.reductions:
            target = equation.target
            if target.name in needed:
                value: Read = target[target.axes]
                draft.results.insert(0, (target.name, Result(target.name, value, target.axes)))
