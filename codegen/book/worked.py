"""A layer computed with numbers: for every element of its result the elements that are read and the computation.

The formula itself is instantiated at the element's indices, so nothing here depends on the layer. The numbers come from
``svertka.spec.evaluate``.

Input: a ``Layer``, its tensors, extents and parameters. Output: ``Worked``, with one ``Step`` per element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

from svertka.codegen.book.instance import Instance
from svertka.codegen.book.tree import Binding, Number, Row, Sign, Tree
from svertka.codegen.book.typeset import Typesetter, equals, number_of
from svertka.spec.arithmetic import Arithmetic, Float, Rational
from svertka.spec.evaluate import Array, Places, evaluate, extents_of
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Read

__all__ = ["Step", "Worked", "shown_number", "work"]

DIGITS = 4  # of numbers that are rounded
LONGEST = 6  # digits of a denominator that is written out

Place = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One element of a tensor and its computation.

    Attributes:
        tensor: name of the tensor; ``place``: the element's indices.
        reads: elements from which it is computed, by tensor and indices, in order.
        outside: positions that it would read outside their tensors.
        value: the element.
        written: ``element = sum of products = value``.
    """

    tensor: str
    place: Place
    reads: tuple[tuple[str, Place], ...]
    outside: tuple[tuple[str, Place], ...]
    value: Any
    written: Tree


@dataclass(frozen=True)
class Worked:
    """A layer with numbers.

    Attributes:
        layer: the layer.
        sizes: extents and parameters by name.
        values: every tensor that was given or computed.
        exact: whether the numbers are exact; otherwise they are rounded to float64.
        known: a cache of the reads of elements.
    """

    layer: Layer
    sizes: Mapping[str, Any]
    values: Mapping[str, Array]
    exact: bool
    known: dict[tuple[str, Place], tuple[tuple[str, Place], ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def places(self) -> Places:
        """Conditions and positions at these sizes."""
        return Places(self.sizes)

    def steps(self, tensor: str) -> tuple[Step, ...]:
        """The elements of a computed tensor in row-major order."""
        equation = next(e for e in self.layer.equations if e.target.name == tensor)
        return tuple(self._step(equation, place) for place in product(*map(range, self.values[tensor].shape)))

    def origins(self, step: Step) -> tuple[tuple[str, Place], ...]:
        """Elements of the inputs on which a step depends only through other tensors."""
        made = {equation.target.name: equation for equation in self.layer.equations}
        found: dict[tuple[str, Place], None] = {}
        waiting = [spot for spot in step.reads if spot[0] in made]
        seen = set(waiting)
        while waiting:
            tensor, place = waiting.pop()
            for spot in self._reads(made[tensor], place):
                if spot[0] not in made:
                    found[spot] = None
                elif spot not in seen:
                    seen.add(spot)
                    waiting.append(spot)
        return tuple(spot for spot in found if spot not in step.reads)

    def _reads(self, equation: Equation, place: Place) -> tuple[tuple[str, Place], ...]:
        """The reads of an element; cached, because many elements have the same ones."""
        key = (equation.target.name, place)
        if key not in self.known:
            instance = self._instance()
            instance.at(equation.value, _here(equation, place))
            self.known[key] = tuple(dict.fromkeys(instance.reads))
        return self.known[key]

    def _instance(self) -> Instance:
        defaults = {t.name: t.default for t in self.layer.inputs if t.default is not None}
        return Instance(self.values, self.sizes, defaults, self.places)

    def _step(self, equation: Equation, place: Place) -> Step:
        instance, here = self._instance(), _here(equation, place)
        node = instance.at(equation.value, here)
        value = self.values[equation.target.name][place]
        left = Typesetter().tree(instance.at(equation.target[equation.target.axes], here, target=True))
        written = _Numbers(self.values).tree(node)
        result = shown_number(value)
        known = (written,) if written != result and not isinstance(written, Number) else ()
        exact = _is_short(value)
        return Step(
            equation.target.name,
            place,
            tuple(dict.fromkeys(instance.reads)),
            tuple(dict.fromkeys(instance.outside)),
            value,
            equals(left, *known, result) if exact else _rounded(left, known, result),
        )


def _here(equation: Equation, place: Place) -> dict[str, int]:
    """Values of the target's indices by name."""
    return dict(zip((index.name for index in equation.target.axes), place, strict=True))


def _rounded(left: Tree, known: tuple[Tree, ...], result: Tree) -> Tree:
    head = equals(left, *known) if known else left
    return Row((head, Sign("≈"), result), Binding.RELATION)


def work(layer: Layer, arrays: Mapping[str, Array], sizes: Mapping[str, Any]) -> Worked:
    """Evaluate every equation of a layer, in exact rationals if it has no transcendental function."""
    every = {**extents_of(layer, arrays), **sizes}
    known = {name: Fraction(str(value)) if isinstance(value, float) else value for name, value in every.items()}
    names = tuple(equation.target.name for equation in layer.equations)
    whole = Layer(layer.name, layer.inputs, layer.equations, names)
    try:
        return Worked(layer, known, _values(whole, arrays, known, Rational()), True)
    except (ValueError, ZeroDivisionError):  # a function that is not rational, or a pole
        return Worked(layer, known, _values(whole, arrays, known, Float()), False)


def _values(
    layer: Layer, arrays: Mapping[str, Array], sizes: Mapping[str, Any], arithmetic: Arithmetic
) -> dict[str, Array]:
    given: dict[str, Array] = {}
    for tensor in layer.inputs:
        if tensor.name in arrays:
            array = arrays[tensor.name]
            given[tensor.name] = array.map(arithmetic.number) if tensor.kind == "real" else array
    return {**given, **evaluate(layer, given, sizes, arithmetic)}


def shown_number(value: Any) -> Tree:
    """A number for display: rationals exactly unless they are long, others with a few digits."""
    if _is_short(value):
        return number_of(value)
    text = f"{float(value) + 0.0:.{DIGITS}g}"  # no minus before a zero
    return Number(text.replace("-", "−").replace("inf", "∞"))


def _is_short(value: Any) -> bool:
    """Whether a number is shown exactly."""
    return isinstance(value, int | Fraction) and len(str(Fraction(value).denominator)) <= LONGEST


class _Numbers(Typesetter):
    """Prints elements as their values."""

    def __init__(self, values: Mapping[str, Array]) -> None:
        super().__init__()
        self.values = values

    def read(self, node: Read) -> Tree:
        """The value of an element; the tensor's default where there is none."""
        return shown_number(self.values[node.tensor][[int(index) for index in node.indices]])
