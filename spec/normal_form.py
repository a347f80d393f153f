"""Normal form: every reduction is an equation of its own, with its own target tensor.

Input: a ``Layer`` whose equations nest reductions in arbitrary expressions. Output: a ``Layer`` in which an equation is
either a *reduction* (its value is one ``Reduction`` whose body contains none) or a *map* (it contains no reduction).
Guards of reads outside their tensors are made explicit.
"""

from __future__ import annotations

from functools import lru_cache

from sympy import Basic, Expr, Integer, Mul

from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Index, Read, Reduction, Tensor
from svertka.spec.reads_inside import guarded, term_conditions
from svertka.spec.rewrite import (
    conditions,
    conjunction,
    independent_factors,
    index_set,
    range_conditions,
)

__all__ = ["fresh_name", "is_normal", "normal_form"]


def is_normal(value: Basic) -> bool:
    """Whether an equation's value is a single reduction, or contains none."""
    inner = value.body if isinstance(value, Reduction) else value
    return not any(isinstance(node, Reduction) for node in walk(inner))


@lru_cache(maxsize=512)  # evaluation asks for it repeatedly
def normal_form(layer: Layer) -> Layer:
    """Make every reduction an equation of its own and all guards explicit."""
    lifted: list[Equation] = []
    taken = set(layer.tensors)
    for equation in layer.equations:
        known: dict[Reduction, Expr] = {}
        value = _lift(equation.value, equation.target, lifted, taken, known, top=True)
        lifted.append(Equation(equation.target, value if isinstance(value, Reduction) else guarded(value)))
    return Layer(layer.name, layer.inputs, tuple(lifted), layer.outputs)


def _lift(
    node: Basic,
    target: Tensor,
    lifted: list[Equation],
    taken: set[str],
    known: dict[Reduction, Expr],
    top: bool = False,
) -> Basic:
    if isinstance(node, Reduction):
        if not top and node in known:
            return known[node]
        body = _lift(node.body, target, lifted, taken, known)
        guard = _lift(node.guard, target, lifted, taken, known)
        outer, reduction = _factored(Reduction(node.args[0], body, guard, node.args[3]))
        if top and outer == 1:
            return reduction
        name = fresh_name(f"{target.name}_{node.operation}", taken)
        order = {index: place for place, index in enumerate(target.axes)}
        free = sorted(index_set(reduction), key=lambda index: (order.get(index, len(order)), index.name))
        kind = "integer" if node.operation == "argmax" else "real"
        temporary = Tensor(name, *free, kind=kind)
        lifted.append(Equation(temporary, reduction))
        known[node] = Mul(outer, temporary[tuple(free)])
        return known[node]
    if not node.args or isinstance(node, Read | Index):
        return node
    children = [_lift(child, target, lifted, taken, known) for child in node.args]
    return node if all(a is b for a, b in zip(children, node.args, strict=True)) else node.func(*children)


def _factored(reduction: Reduction) -> tuple[Expr, Reduction]:
    """Move factors that do not depend on the bound indices out of a sum, and make its guards explicit."""
    held = {*conditions(reduction.guard), *term_conditions(reduction.operation, reduction.body)}
    guard = conjunction(held)
    body, outer = reduction.body, Integer(1)
    if reduction.operation == "sum":
        outer, body = independent_factors(body, reduction.indices)
        if range_conditions(outer):
            outer, body = Integer(1), reduction.body
    return outer, Reduction(reduction.args[0], guarded(body, {*held, *conditions(guard)}), guard, reduction.args[3])


def fresh_name(stem: str, taken: set[str]) -> str:
    """The stem, with a number if it is taken; it is taken from then on."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name
