"""Sizes and parameters for the tests of a definition: asymmetric, drawn from its own rules, deterministic.

Input: a ``Definition`` and one of its variants. Output: ``Case``s.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sympy import Pow, Symbol

from svertka.codegen.ir.loop_patterns import constant_extents, extent_names
from svertka.spec import Uniform, normal_form
from svertka.spec.arithmetic import uniform
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Definition,
    Flag,
    Padding,
    PerAxis,
    Real,
    Rule,
    Seed,
    Variant,
    Whole,
)
from svertka.spec.evaluate import holds, whole
from svertka.spec.layer import Layer
from svertka.spec.notation import Tensor

__all__ = [
    "Case",
    "altered",
    "at_zero",
    "cases",
    "known_symbols",
    "label",
    "large_case",
    "met_exactly",
    "within",
]

ATTEMPTS = 2000
LARGEST = 4096  # elements of a tensor, and of the input of one result's reduction


@dataclass(frozen=True)
class Case:
    """Values of every symbol of a formula.

    Attributes:
        name: for test reports.
        sizes: extents and parameters by name.
        absent: optional tensors that are left out.
        last: whether tensors are in channels-last format: their second dimension is the fastest in memory.
        boxed: whether extents allow contractions to load boxes through tensor descriptors.
    """

    name: str
    sizes: dict[str, Any]
    absent: frozenset[str]
    last: bool = False
    boxed: bool = False


def cases(definition: Definition, variant: Variant, count: int = 3) -> Iterator[Case]:
    """Draw cases; the first has default parameters, the last leaves optional tensors out.

    Raises:
        ValueError: no sizes satisfy the definition's rules.
    """
    for number in range(count):
        draw = random.Random(f"{variant.layer.name}/{number}")
        for _ in range(ATTEMPTS):
            sizes = _drawn(definition, variant, draw, plain=number == 0)
            if _valid(definition, variant, sizes):
                break
        else:
            raise ValueError(f"definition {definition.name}: no sizes found that satisfy its rules; check the rules")
        optional = {t.name for t in variant.layer.inputs if t.default is not None}
        absent = frozenset(optional if number == count - 1 else ())
        yield Case(f"{variant.layer.name}-{number}", sizes, absent)


def altered(definition: Definition, variant: Variant, case: Case, sizes: Mapping[str, Any]) -> Case | None:
    """The case with other extents and parameters, and the extents that follow; None if a rule forbids it."""
    known = {**case.sizes, **sizes}
    _derive(definition, known)
    return replace(case, sizes=known) if _valid(definition, variant, known) else None


def large_case(definition: Definition, variant: Variant) -> Case:
    """A case of realistic size for compilation: default parameters, windows of 3, one group, else powers of two."""
    layer = variant.layer
    small = constant_extents(normal_form(layer))
    groups = {a.symbol for a in definition.arguments if isinstance(a, Whole)}
    indices = {str(i.extent): i for t in normal_form(layer).tensors.values() for i in t.axes}
    usual = 256 if max(len(t.axes) for t in layer.inputs) <= 3 else 64
    sizes = dict(next(cases(definition, variant, 2)).sizes)
    for name in _extents(layer):
        index = indices.get(name)
        if name not in definition.extents:
            many, batch = (index.many, index.batch) if index is not None else (False, False)
            sizes[name] = 3 if name in small else 1 if name in groups else 4096 if many else 32 if batch else usual
    _derive(definition, sizes)
    return Case(f"{layer.name}-large", sizes, frozenset())


def _derive(definition: Definition, sizes: dict[str, Any]) -> None:
    """Compute the extents that follow from others."""
    for _ in definition.extents:
        for name, rule in definition.extents.items():
            if {s.name for s in rule.free_symbols} <= set(sizes):
                sizes[name] = whole(rule, sizes)


@lru_cache(maxsize=64)
def _extents(layer: Layer) -> tuple[str, ...]:
    return tuple(sorted(extent_names(normal_form(layer))))


@lru_cache(maxsize=64)
def _constant_extents(layer: Layer) -> frozenset[str]:
    return frozenset(constant_extents(normal_form(layer)))


def _drawn(definition: Definition, variant: Variant, draw: random.Random, plain: bool) -> dict[str, Any]:
    """One draw of every symbol; extents differ from one another as far as there are enough values."""
    layer = variant.layer
    small = _constant_extents(layer)
    pool = draw.sample(range(2, 12), 10)
    sizes: dict[str, Any] = {}
    for name in _extents(layer):
        sizes[name] = draw.choice((2, 3)) if name in small else pool.pop() if pool else draw.randint(2, 11)
    for argument in definition.arguments:
        sizes |= _bound(argument, draw, plain, sizes)
    for parameter in layer.parameters:
        sizes.setdefault(parameter.name, draw.randint(1, 3) if parameter.is_integer else 0.5)
    _derive(definition, sizes)
    return sizes


def _bound(argument: Argument, draw: random.Random, plain: bool, sizes: dict[str, Any]) -> dict[str, Any]:
    """Values of the symbols that an argument binds."""
    if isinstance(argument, PerAxis):
        if all(symbol in sizes for symbol in argument.symbols):  # extents are drawn already
            return {}
        return {s: argument.minimum if plain else draw.randint(argument.minimum, 3) for s in argument.symbols}
    if isinstance(argument, Padding):
        return {s: 0 if plain else draw.randint(0, 2) for s in (*argument.low, *argument.high)}
    if isinstance(argument, Whole):
        if argument.symbol in sizes:
            return {argument.symbol: draw.choice((2, 3))}
        default = argument.missing if argument.default is None else argument.default
        low = argument.minimum or 0
        return {argument.symbol: default if plain and default is not REQUIRED else draw.randint(low, low + 3)}
    if isinstance(argument, Real):
        default = 0.5 if argument.default is REQUIRED else argument.default
        return {argument.symbol: default if plain else _real(argument, default, draw)}
    if isinstance(argument, Flag) and argument.symbol:
        return {argument.symbol: int(bool(argument.default)) if plain else draw.randint(0, 1)}
    if isinstance(argument, Seed):
        return {argument.symbol: draw.getrandbits(40)}
    return {}


def _real(argument: Real, default: float, draw: random.Random) -> float:
    """A multiple of 1/16 within the bounds; with a tiny default a missing term would not be noticed."""
    low = 0.0 if argument.low is None else argument.low
    high = low + 2.0 if argument.high is None else argument.high
    steps = [low + (high - low) * step / 16 for step in range(1, 16)]
    return draw.choice(steps)


def _valid(definition: Definition, variant: Variant, sizes: dict[str, Any]) -> bool:
    if any(sizes[name] < 1 for name in _extents(variant.layer)):
        return False
    every = [rule for rule in (*definition.rules, *variant.rules) if _concerns(rule, definition, variant)]
    missing = {s.name for r in every for s in r.condition.free_symbols} - set(sizes)
    if missing:
        return False
    if not all(holds(rule.condition, sizes) for rule in every):
        return False
    return all(_elements(tensor.axes, sizes) <= LARGEST for tensor in normal_form(variant.layer).tensors.values())


def _concerns(rule: Rule, definition: Definition, variant: Variant) -> bool:
    """Whether a rule concerns symbols of the formula; some rules concern only arguments that it does not use."""
    known = known_symbols(definition, variant)
    return any(symbol.name in known for symbol in rule.condition.free_symbols)


def known_symbols(definition: Definition, variant: Variant) -> set[str]:
    """Extents and parameters that occur in a formula or in what follows from its extents."""
    return {*_extents(variant.layer), *definition.extents, *(symbol.name for symbol in variant.layer.parameters)}


def _elements(axes: Any, sizes: dict[str, Any]) -> int:
    total = 1
    for axis in axes:
        extent = axis.extent
        total *= sizes[extent.name] if isinstance(extent, Symbol) else whole(extent, sizes)
    return total


def label(definition: Definition, tensor: Tensor, case: Case, draw: random.Random) -> int:
    """An element of an integer tensor: a class, sometimes the ignored one."""
    argument = next((a for a in definition.tensor_arguments if a.bound == tensor.name and a.labels_below), None)
    if argument is None:
        return draw.randrange(min(int(v) for n, v in case.sizes.items() if n.isupper()))
    if argument.ignored and draw.random() < 0.25:
        return int(case.sizes[argument.ignored])
    return draw.randrange(int(case.sizes[argument.labels_below]))


def within(tensor: Tensor, value: Any) -> Any:
    """A number, or a tensor of them, moved into the bounds of a tensor's elements.

    Whole numbers stay exact in binary, numbers of different magnitude stay different, and none comes near a bound: half
    precision would round it to the bound.
    """
    if tensor.above is not None and tensor.below is not None:
        part = (value / 8 + 1 / 16) % 1.0
        return tensor.above + (tensor.below - tensor.above) * (1 / 32 + part * 15 / 16)
    if tensor.above is not None:
        return tensor.above + (abs(value) + 0.5)
    return value if tensor.below is None else tensor.below - (abs(value) + 0.5)


def met_exactly(layer: Layer, case: Case) -> Case:
    """The case with some real parameters equal to a random number with which the formula compares them."""
    known = dict(case.sizes)
    for equation in layer.equations:
        for drawn in equation.value.atoms(Uniform):
            seed = next(iter(drawn.args[0].free_symbols)).name
            for symbol in equation.value.free_symbols & set(layer.parameters):
                if not symbol.is_integer:
                    known[symbol.name] = uniform(int(known[seed]), 1)
    return replace(case, sizes=known)


def at_zero(definition: Definition, layer: Layer, case: Case) -> list[Case]:
    """The case with bases of powers 0 where elements are 0: by each parameter, by all, and with exponents 0."""
    free = {a.symbol for a in definition.arguments if isinstance(a, Real) and a.low is None}
    found = []
    for power in sorted({power for e in layer.equations for power in e.value.atoms(Pow)}, key=str):
        base, exponent = ({s.name for s in part.free_symbols} & free for part in (power.base, power.exp))
        if exponent:
            if len(base) > 1:
                found += [replace(case, sizes={**case.sizes, name: 0.0}) for name in sorted(base)]
            zeros = dict.fromkeys(base, 0.0)
            found.append(replace(case, sizes={**case.sizes, **zeros}))
            found.append(replace(case, sizes={**case.sizes, **zeros, **dict.fromkeys(exponent, 0.0)}))
    return found
