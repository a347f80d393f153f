"""Sizes and parameters for the tests of a definition: asymmetric, drawn from its own rules, deterministic.

Input: a ``Definition`` and one of its variants. Output: ``Case``s.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sympy import Pow

from svertka.codegen.verify.fitting import (
    LARGEST,
    broken,
    derive,
    extents_of_formula,
    fitted,
    shrunk,
    sixteenths,
    small_extents,
    valid,
)
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
    Seed,
    Variant,
    Whole,
)
from svertka.spec.layer import Layer
from svertka.spec.notation import Tensor

__all__ = [
    "Case",
    "altered",
    "at_zero",
    "cases",
    "label",
    "large_case",
    "met_exactly",
    "within",
]

ATTEMPTS, STARTS = 600, 60  # draws, and draws that are then moved


@dataclass(frozen=True)
class Case:
    """Values of every symbol of a formula.

    Attributes:
        name: for test reports.
        sizes: extents and parameters by name.
        absent: optional tensors that are left out.
        last: whether tensors are in channels-last format: their second dimension is the fastest in memory.
        boxed: whether extents allow contractions to load boxes through tensor descriptors.
        view: whether tensors are views: they begin inside their memory, and their strides are odd.
    """

    name: str
    sizes: dict[str, Any]
    absent: frozenset[str]
    last: bool = False
    boxed: bool = False
    view: bool = False


def cases(definition: Definition, variant: Variant, count: int = 3) -> Iterator[Case]:
    """Draw cases; the first has default parameters, the last leaves optional tensors out.

    Raises:
        ValueError: no sizes satisfy the definition's rules.
    """
    for number in range(count):
        sizes = _fitting(definition, variant, random.Random(f"{variant.layer.name}/{number}"), plain=number == 0)
        optional = {t.name for t in variant.layer.inputs if t.default is not None}
        absent = frozenset(optional if number == count - 1 else ())
        yield Case(f"{variant.layer.name}-{number}", sizes, absent)


def _fitting(definition: Definition, variant: Variant, draw: random.Random, plain: bool) -> dict[str, Any]:
    """Sizes that the rules allow: the first draw that they allow, or else one that is moved until they do.

    A draw is moved after it was shrunk: of a tensor with many axes few draws have few elements.

    Raises:
        ValueError: none is found.
    """
    for _ in range(ATTEMPTS):
        sizes = _drawn(definition, variant, draw, plain)
        if valid(definition, variant, sizes):
            return sizes
    for _ in range(STARTS):
        start = shrunk(definition, variant, _drawn(definition, variant, draw, plain))
        found = fitted(definition, variant, start, draw)
        if found is not None:
            return found
    missed = "; ".join(f"{rule.argument} {rule.rule}, {rule.condition}" for rule in broken(definition, variant, sizes))
    said = (
        f"draws break: {missed}" if missed else f"extents come out as 0, or tensors have more than {LARGEST} elements"
    )
    raise ValueError(
        f"definition {definition.name}: no small sizes are found that its rules allow; {said}; correct a rule "
        "that contradicts another"
    )


def altered(
    definition: Definition, variant: Variant, case: Case, sizes: Mapping[str, Any], most: float = LARGEST
) -> Case | None:
    """The case with other extents and parameters, and the extents that follow.

    None if a rule forbids it, or a tensor has more elements than ``most``.
    """
    known = derive(definition, {**case.sizes, **sizes})
    return replace(case, sizes=known) if valid(definition, variant, known, most) else None


def large_case(definition: Definition, variant: Variant) -> Case:
    """A case of realistic size for compilation: default parameters, windows of 3, one group, else powers of two."""
    layer = variant.layer
    small = small_extents(layer)
    groups = {a.symbol for a in definition.arguments if isinstance(a, Whole)}
    indices = {str(i.extent): i for t in normal_form(layer).tensors.values() for i in t.axes}
    usual = 256 if max(len(t.axes) for t in layer.inputs) <= 3 else 64
    sizes = dict(next(cases(definition, variant, 2)).sizes)
    for name in extents_of_formula(layer):
        index = indices.get(name)
        if name not in definition.extents:
            many, batch = (index.many, index.batch) if index is not None else (False, False)
            sizes[name] = 3 if name in small else 1 if name in groups else 4096 if many else 32 if batch else usual
    derive(definition, sizes)
    return Case(f"{layer.name}-large", sizes, frozenset())


def _drawn(definition: Definition, variant: Variant, draw: random.Random, plain: bool) -> dict[str, Any]:
    """One draw of every symbol; extents differ from one another as far as there are enough values."""
    layer = variant.layer
    small = small_extents(layer)
    pool = draw.sample(range(2, 12), 10)
    sizes: dict[str, Any] = {}
    for name in extents_of_formula(layer):
        sizes[name] = draw.choice((2, 3)) if name in small else pool.pop() if pool else draw.randint(2, 11)
    for argument in definition.arguments:
        sizes |= _bound(argument, draw, plain, sizes)
    for parameter in layer.parameters:
        sizes.setdefault(parameter.name, draw.randint(1, 3) if parameter.is_integer else 0.5)
    derive(definition, sizes)
    return sizes


def _bound(argument: Argument, draw: random.Random, plain: bool, sizes: dict[str, Any]) -> dict[str, Any]:
    """Values of the symbols that an argument binds."""
    if isinstance(argument, PerAxis):
        if all(symbol in sizes for symbol in argument.symbols):  # extents are drawn already
            return {}
        low = argument.minimum if argument.missing is None else max(argument.minimum, 1)  # it may be an extent
        return {s: low if plain else draw.randint(low, 3) for s in argument.symbols}
    if isinstance(argument, Padding):
        return {s: 0 if plain else draw.randint(0, 2) for s in (*argument.low, *argument.high)}
    if isinstance(argument, Whole):
        if argument.symbol in sizes:
            return {argument.symbol: draw.choice((2, 3))}
        default = argument.missing if argument.default is None else argument.default
        low = argument.minimum or 0
        return {argument.symbol: default if plain and default is not REQUIRED else draw.randint(low, low + 3)}
    if isinstance(argument, Real):
        default = 0.5 if argument.default is REQUIRED or argument.epsilon else argument.default
        return {argument.symbol: default if plain else draw.choice(sixteenths(argument))}
    if isinstance(argument, Flag) and argument.symbol:
        return {argument.symbol: int(bool(argument.default)) if plain else draw.randint(0, 1)}
    if isinstance(argument, Seed):
        return {argument.symbol: draw.getrandbits(40)}
    return {}


def label(definition: Definition, tensor: Tensor, case: Case, draw: random.Random) -> int:
    """An element of an integer tensor: a class, sometimes the ignored one; without bounds, also a place outside."""
    argument = next((a for a in definition.tensor_arguments if a.bound == tensor.name and a.labels_below), None)
    if argument is None:
        extents = [int(v) for n, v in case.sizes.items() if n.isupper()]
        return draw.choice((-1, *extents)) if draw.random() < 0.25 else draw.randrange(min(extents))
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
