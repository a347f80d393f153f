"""Definitions whose names are apart: what two layers that are composed name alike gets another name in the second.

Axes, extents, parameters and inner tensors are named where a formula is written, and nobody who composes two formulas
chose these names. Arguments keep theirs: users write them.

Input: a ``Definition``, names. Output: a ``Definition``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace as replaced
from itertools import count
from typing import Any

from sympy import Basic, Expr, Symbol

from svertka.spec.definition import (
    Argument,
    Definition,
    Dimension,
    Flag,
    Padding,
    PerAxis,
    Real,
    Rule,
    Seed,
    TensorArgument,
    TrailingShape,
    Variant,
    Whole,
)
from svertka.spec.layer import Equation, Layer
from svertka.spec.renamed import indices_of, parameters_of, renamed_tensor
from svertka.spec.rewrite import replace

__all__ = ["fresh", "inner_apart", "parameters_apart", "with_symbols"]


def fresh(name: str, taken: Iterable[str]) -> str:
    """The name with the first number that makes it unused."""
    every = {*taken}
    return next(one for number in count(2) if (one := f"{name}_{number}") not in every)


def inner_apart(definition: Definition, taken: set[str], kept: set[str]) -> Definition:
    """The definition with other names for tensors that are ``taken``, apart from ``kept`` ones."""
    own = {name for variant in definition.variants for name in variant.layer.tensors}
    names = {name: fresh(name, taken | own) for name in sorted((own & taken) - kept)}
    if not names:
        return definition

    def variant(one: Variant) -> Variant:
        layer = one.layer
        for old, new in names.items():
            if old in layer.tensors:
                layer = renamed_tensor(layer, old, new)
        return replaced(one, layer=layer)

    def argument(one: Argument) -> Argument:
        if not isinstance(one, TensorArgument):
            return one
        bound = names.get(one.bound, one.tensor)
        return replaced(one, tensor=bound, updated_by=names.get(one.updated_by, one.updated_by))

    return replaced(
        definition,
        variants=tuple(map(variant, definition.variants)),
        arguments=tuple(map(argument, definition.arguments)),
    )


def parameters_apart(definition: Definition, taken: set[str]) -> Definition:
    """The definition with other names for parameters that are ``taken``."""
    own = parameters_of(definition)
    indices = {index for variant in definition.variants for index in indices_of(variant.layer)}
    names = {symbol.name for symbol in own} | {s.name for index in indices for s in index.extent.free_symbols}
    clashing = sorted((symbol for symbol in own if symbol.name in taken), key=str)
    new = {s: Symbol(fresh(s.name, taken | names), **s.assumptions0) for s in clashing}

    def layer(one: Layer) -> Layer:
        equations = tuple(Equation(e.target, replace(e.value, new)) for e in one.equations)
        return Layer(one.name, one.inputs, equations, one.outputs)

    return with_symbols(definition, {old.name: one for old, one in new.items()}, layer) if new else definition


def with_symbols(
    definition: Definition, symbols: Mapping[str, Expr], layer: Callable[[Layer], Layer] = lambda one: one
) -> Definition:
    """The definition with expressions in place of symbols, by name, in all that stands beside its formulas.

    Args:
        definition: the definition.
        symbols: what replaces extents and parameters.
        layer: what replaces a formula.
    """
    if not symbols:
        return definition

    def told(node: Basic) -> Basic:
        return replace(node, {s: symbols[s.name] for s in node.free_symbols if s.name in symbols})

    def name(old: str) -> str:
        new = symbols.get(old)
        return new.name if isinstance(new, Symbol) else old

    def rule(one: Rule) -> Rule:
        return replaced(one, condition=told(one.condition))

    def variant(one: Variant) -> Variant:
        return Variant(layer(one.layer), one.when, tuple(map(rule, one.rules)))

    return replaced(
        definition,
        variants=tuple(map(variant, definition.variants)),
        arguments=tuple(_argument(one, name) for one in definition.arguments),
        extents={name(key): told(value) for key, value in definition.extents.items()},
        rules=tuple(map(rule, definition.rules)),
    )


def _argument(one: Argument, name: Callable[[str], str]) -> Argument:
    """The argument with other names of the symbols that it binds."""

    def several(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(name, names))

    more: dict[str, Any] = {}
    if isinstance(one, PerAxis):
        more = {"symbols": several(one.symbols)}
    elif isinstance(one, Padding):
        more = {"low": several(one.low), "high": several(one.high), "named": tuple(map(several, one.named))}
    elif isinstance(one, Whole | Real | Flag | Seed):
        more = {"symbol": name(one.symbol)}
    elif isinstance(one, TensorArgument):
        more = {"labels_below": name(one.labels_below)}
    elif isinstance(one, Dimension | TrailingShape):
        more = {"axis": name(one.axis.upper()).lower()}
    return replaced(one, **more)
