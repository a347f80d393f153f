"""Proof that derived gradients are right: brute-force differentiation at small sizes, compared exactly.

A layer is evaluated on symbols, one per element. SymPy differentiates the resulting expressions, which contain no
index, no sum and no maximum. The result must be identical to what the derived layer gives on the same symbols.
Comparisons of elements are decided at sample values, some of them equal, so that each proof covers one region of maxima
and its ties.

Input: a layer, sizes, and what is not symbolic. Output: the number of gradients compared, or ``Disproved``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sympy import Add, Expr, Rational, Symbol

from svertka.spec.adjoint import adjoint, gradient_name, unused_prefix
from svertka.spec.arithmetic import Symbolic
from svertka.spec.evaluate import Array, evaluate, whole
from svertka.spec.identity import identical
from svertka.spec.layer import Layer
from svertka.spec.notation import Tensor
from svertka.spec.tangent import tangent, tangent_name

__all__ = ["Disproved", "Setting", "prove_adjoint", "prove_tangent"]


class Disproved(AssertionError):  # noqa: N818 - what is raised is a disproof
    """A derived gradient was not proven equal to the brute-force one."""


@dataclass(frozen=True)
class Setting:
    """The setting of a proof.

    Attributes:
        sizes: every extent and parameter by name; a real parameter may be a symbol.
        given: tensors that are not symbolic, by name: labels, and values that a case needs.
        samples: values at which comparisons are decided, assigned to the elements in turn; repeat some for ties.
        parameters: sample values of symbolic parameters.
        positive: tensors whose elements are positive symbols.
    """

    sizes: Mapping[str, Any]
    given: Mapping[str, Array] = field(default_factory=dict)
    samples: tuple[int, ...] = (2, -1, 3, 3, 0, -2, 3, 1, -1)
    parameters: Mapping[Symbol, Rational] = field(default_factory=dict)
    positive: tuple[str, ...] = ()


def prove_adjoint(
    layer: Layer, setting: Setting, wrt: Iterable[str] | None = None, outputs: Iterable[str] | None = None
) -> int:
    """Compare every element of every gradient of ``adjoint(layer, wrt, outputs)``.

    Raises:
        Disproved: an element differs, or could not be shown equal.
    """
    ground = _Ground(layer, setting)
    names = list(layer.outputs) if outputs is None else list(outputs)
    names = [name for name in names if layer.tensors[name].kind == "real"]
    derived = adjoint(layer, wrt, names)
    weights = {name: ground.symbols(layer.tensors[name], f"weight_{name}") for name in names}
    prefix = unused_prefix(layer)
    seeds = {gradient_name(name, prefix): array for name, array in weights.items()}
    values = evaluate(derived, {**ground.arrays, **seeds}, setting.sizes, ground.arithmetic)
    forward = ground.forward(names)
    compared = 0
    for tensor in layer.inputs:
        if gradient_name(tensor.name, prefix) not in values:
            continue
        got = values[gradient_name(tensor.name, prefix)].values
        for element, result in zip(ground.arrays[tensor.name].values, got, strict=True):
            expected = Add(
                *(
                    weight * value.diff(element)
                    for name in names
                    for weight, value in zip(weights[name].values, forward[name].values, strict=True)
                    if value.has(element)
                )
            )
            _compare(derived.name, str(element), result, expected)
            compared += 1
    return compared


def prove_tangent(layer: Layer, setting: Setting, wrt: Iterable[str] | None = None) -> int:
    """Compare every element of every output of ``tangent(layer, wrt)``.

    Raises:
        Disproved: an element differs, or could not be shown equal.
    """
    ground = _Ground(layer, setting)
    derived = tangent(layer, wrt)
    prefix = unused_prefix(layer, "tangent")
    moving = [t for t in layer.inputs if tangent_name(t.name, prefix) in derived.tensors]
    directions = {t.name: ground.symbols(t, f"direction_{t.name}") for t in moving}
    seeds = {tangent_name(name, prefix): array for name, array in directions.items()}
    values = evaluate(derived, {**ground.arrays, **seeds}, setting.sizes, ground.arithmetic)
    names = [name for name in layer.outputs if layer.tensors[name].kind == "real"]
    forward = ground.forward(names)
    pairs = [pair for name, d in directions.items() for pair in zip(ground.arrays[name].values, d.values, strict=True)]
    compared = 0
    for name in names:
        results = values[tangent_name(name, prefix)].values
        for place, (value, result) in enumerate(zip(forward[name].values, results, strict=True)):
            expected = Add(*(value.diff(x) * direction for x, direction in pairs if value.has(x)))
            _compare(derived.name, f"{name}_{place}", result, expected)
            compared += 1
    return compared


class _Ground:
    """A layer's inputs as arrays of symbols, and the arithmetic that decides comparisons at their samples."""

    def __init__(self, layer: Layer, setting: Setting) -> None:
        self.layer = layer
        self.setting = setting
        self.sample: dict[Symbol, Rational] = dict(setting.parameters)
        self.arithmetic = Symbolic(self.sample)
        self.arrays: dict[str, Array] = {}
        for tensor in layer.inputs:
            self.arrays[tensor.name] = setting.given.get(tensor.name) or self.symbols(tensor, tensor.name)

    def symbols(self, tensor: Tensor, stem: str) -> Array:
        """One symbol per element, each with a sample value."""
        shape = [whole(index.extent, self.setting.sizes) for index in tensor.axes]
        positive = {"positive": True} if stem in self.setting.positive else {"real": True}

        def element(indices: tuple[int, ...]) -> Expr:
            symbol = Symbol("_".join([stem, *map(str, indices)]), **positive)
            value = self.setting.samples[len(self.sample) % len(self.setting.samples)]
            self.sample[symbol] = Rational(abs(value) + 1 if positive.get("positive") else value)
            return symbol

        return Array.filled(shape, element)

    def forward(self, names: list[str]) -> dict[str, Array]:
        """The outputs as expressions in the symbols."""
        return evaluate(self.layer.only(names), self.arrays, self.setting.sizes, self.arithmetic)


def _compare(layer: str, element: str, result: Expr, expected: Expr) -> None:
    if not identical(result, expected):
        raise Disproved(
            f"{layer}: at {element} the derived layer gives\n  {result}\nbut differentiation gives\n  {expected}"
        )
