"""Which maxima may ignore NaN among their elements: those by whose result nothing differs then.

``M = max_j x_j`` shifts ``S = Σ_j w_j exp(x_j - M)``, over the same elements. If some x is NaN, so is its exponential
whatever M is, hence S, and a result that is computed from S by arithmetic. A maximum that propagates NaN costs three
instructions an element of a tile, another one costs one.

A value is *poisoned* if it is NaN wherever S is: S itself, and sums, products, powers and exponentials of what is
poisoned. It is *unaffected* by M if it does not read M, if it is poisoned, or if it is any function of what is
unaffected. What reads M and is affected may be read by what is not. No result may be affected.

Input: a layer of equations as they are lowered, and equations that it is given the results of. Output: names of maxima.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sympy import Add, Basic, Mul, Pow, exp, log

from svertka.codegen.ir.online import as_online
from svertka.spec.layer import Equation, Layer, reads, walk
from svertka.spec.notation import Read, Reduction, Select
from svertka.spec.rewrite import selections

__all__ = ["ignored"]


def ignored(layer: Layer, given: Sequence[Equation] = (), stored: Collection[str] = ()) -> frozenset[str]:
    """Names of the maxima that may ignore NaN.

    Args:
        layer: what reads them.
        given: equations whose results it is given.
        stored: outputs of the layer whose other readers are known to be unaffected.
    """
    shown = {*layer.outputs} - {*stored}
    every = (*given, *layer.equations)
    maxima = (e for e in every if isinstance(e.value, Reduction) and e.value.operation == "max")
    return frozenset(e.target.name for e in maxima if _is_ignored(layer, e, every, shown))


def _is_ignored(layer: Layer, largest: Equation, every: Sequence[Equation], shown: Collection[str]) -> bool:
    sums = {e.target.name: e for e in every if _is_poisoned_sum(e, largest)}
    affected = {largest.target.name: largest}
    for equation in layer.equations if sums else ():
        name = equation.target.name
        poisoned = sums if _is_of_one_row(equation, affected | sums) else {}
        if name not in sums and not _is_unaffected(equation.value, affected, poisoned):
            affected[name] = equation
    return bool(sums) and not {*affected} & {*shown}


def _is_of_one_row(equation: Equation, known: Mapping[str, Equation]) -> bool:
    """Whether an equation reads all of some values at the same row."""
    found = (read for read in reads(equation.value) if read.tensor in known)
    places = (zip(known[read.tensor].target.axes, read.indices, strict=True) for read in found)
    return len({frozenset(place) for place in places}) <= 1


def _is_poisoned_sum(equation: Equation, largest: Equation) -> bool:
    """Whether a sum has a term that is NaN wherever an element of the maximum is; a selection may leave one out."""
    online = as_online(equation, [largest])
    return online is not None and not any(selections(term)[0] for term in Add.make_args(online.weight))


def _is_unaffected(node: Basic, affected: Collection[str], sums: Collection[str]) -> bool:
    if isinstance(node, Read) and node.tensor in affected:
        return False
    if not any(isinstance(part, Read) and part.tensor in affected for part in walk(node)) or _is_poisoned(node, sums):
        return True
    parts = node.args
    if isinstance(node, Mul) and selections(node)[0]:  # what is not selected is 0, also in place of NaN
        selecting, others = selections(node)
        parts = (*selecting, Mul(*others))
    return all(_is_unaffected(part, affected, sums) for part in parts)


def _is_poisoned(node: Basic, sums: Collection[str]) -> bool:
    """Whether a value is NaN wherever one of some sums is."""
    if isinstance(node, Read):
        return node.tensor in sums
    if isinstance(node, Add):
        return any(_is_poisoned(part, sums) for part in node.args)
    if isinstance(node, Mul):
        return not selections(node)[0] and any(_is_poisoned(part, sums) for part in node.args)
    if isinstance(node, Pow):
        return bool(node.exp.is_number and node.exp != 0) and _is_poisoned(node.base, sums)
    if isinstance(node, Select):
        return all(_is_poisoned(part, sums) for part in node.args[1:])
    return isinstance(node, exp | log) and _is_poisoned(node.args[0], sums)
