"""How to read a formula: each construct of the notation as the book prints it, with its meaning in words.

Output: ``Entry`` objects, made from the notation itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from svertka.codegen.book.tree import Tree
from svertka.codegen.book.typeset import Typesetter, equals
from svertka.spec.notation import (
    ArgMax,
    Divides,
    FloorDiv,
    Max,
    Select,
    Sum,
    Tensor,
    Uniform,
    axes,
    boolean,
    inside,
    integer,
    maximum,
)

__all__ = ["Entry", "primer"]


@dataclass(frozen=True)
class Entry:
    """A construct as printed, as written in Python, and its meaning."""

    shown: Tree
    written: str
    meaning: str


def primer() -> tuple[Entry, ...]:
    """The constructs in an order for readers."""
    w, q, s = axes("w q s")
    x, y, weight = Tensor("x", w), Tensor("y", q), Tensor("v", s)
    stride, flag, seed = integer("stride", positive=True), boolean("flag"), integer("seed")
    place = stride * q + s
    trees = Typesetter((q,))
    target, backwards = trees.tree(y[q]), FloorDiv(w - s, stride)
    rows = (
        (
            equals(target, trees.tree(Sum(x[place] * weight[s], s))),
            "Sum(x[stride * q + s] * v[s], s)",
            "An equation gives every element of the tensor on its left. Σ runs over all values of s at which every "
            "element that is read lies inside its tensor, so that padding adds nothing.",
        ),
        (
            trees.tree(Max(x[place], s)),
            "Max(x[stride * q + s], s)",
            "The largest element over s; padding never wins. A NaN counts as larger than any number.",
        ),
        (
            trees.tree(ArgMax(x[place], s)),
            "ArgMax(x[stride * q + s], s)",
            "The place of the first largest element, counted row by row. The gradient of a maximum goes there.",
        ),
        (
            trees.tree(maximum(x[w], 0)),
            "maximum(x[w], 0)",
            "The larger of two. Where they are equal the gradient goes to the second: at 0 it is 0.",
        ),
        (
            trees.tree(Select(x[w] > 0, x[w], flag)),
            "Select(x[w] > 0, x[w], flag)",
            "One value where the condition holds, another elsewhere; the other is never computed with.",
        ),
        (
            trees.tree(y[q] * Select(x[q] > 0, 1, 0)),
            "y[q] * Select(x[q] > 0, 1, 0)",
            "A factor that is 1 or 0 by a condition selects: where it is 0 the product is 0, and the other factors are "
            "not even read.",
        ),
        (
            trees.tree(backwards),
            "FloorDiv(w - s, stride)",
            "A quotient rounded down. In gradients it finds the window to which an element belongs.",
        ),
        (
            trees.tree(Divides(stride, w - s)),
            "Divides(stride, w - s)",
            "The second is a multiple of the first: without it, no window reads this element at this place.",
        ),
        (
            trees.tree(inside(backwards, q.extent)),
            "inside(FloorDiv(w - s, stride), Q)",
            "There is such an element: indices count from 0, and an axis has the extent of its letter in capitals.",
        ),
        (
            trees.tree(Uniform(seed, w)),
            "Uniform(seed, w)",
            "A random number from 0 to below 1, the same for the same seed and index (Philox4x32-10).",
        ),
    )
    return tuple(Entry(*row) for row in rows)
