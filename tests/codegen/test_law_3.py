"""Law 3: a changed formula changes the kernels.

Each change is written twice: as a formula, from which kernels are generated into a temporary package, and in NumPy,
forward and, by central differences in float64, backward. Kernels run in float64; they must equal the changed NumPy
function and must not equal the original one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from svertka.codegen.verify.cases import Case
from svertka.spec import Equation, Layer, Read
from svertka.spec.definition import Definition
from svertka.spec.layer import walk
from svertka.spec.layers import DEFINITIONS
from svertka.spec.rewrite import replace as replaced

from .harness import of_case, outcome
from .scratch import Scratch, scratch

Array = NDArray[np.float64]
EPSILON = 0.25


@dataclass(frozen=True)
class Alteration:
    """A definition, the change of its formula, and both versions in NumPy as functions of the first input."""

    name: str
    alter: Callable[[Layer], Layer]
    sizes: dict[str, Any]
    before: Callable[..., Array]
    after: Callable[..., Array]


def _value(layer: Layer, name: str) -> Equation:
    return next(e for e in layer.equations if e.target.name == name)


def _with(layer: Layer, name: str, value: Any) -> Layer:
    """The layer with another value of one tensor."""
    equations = tuple(Equation(e.target, value) if e.target.name == name else e for e in layer.equations)
    return Layer(layer.name, layer.inputs, equations, layer.outputs)


def _flipped(layer: Layer) -> Layer:
    """True convolution: the kernel is flipped."""
    equation = _value(layer, "output")
    for node in walk(equation.value):
        if isinstance(node, Read) and node.tensor == "weight":
            group, kernel, channel, r, s = node.indices
            turned = layer.tensors["weight"][group, kernel, channel, r.extent - 1 - r, s.extent - 1 - s]
            return _with(layer, "output", replaced(equation.value, {node: turned}))
    raise AssertionError("no weight in the formula")


def _convolved(x: Array, w: Array, b: Array, turn: int) -> Array:
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("ncpqrs,kcrs->nkpq", windows, w[:, :, ::turn, ::turn]) + b[None, :, None, None]


def _without_root(layer: Layer) -> Layer:
    """Slide 20 as printed."""
    equation = _value(layer, "output")
    roots = {n: n.base ** (2 * n.exp) for n in walk(equation.value) if n.is_Pow and n.exp.q == 2}
    assert roots
    return _with(layer, "output", replaced(equation.value, roots))


def _normalised(x: Array, weight: Array, bias: Array, power: float) -> Array:
    mean, spread = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    return (x - mean) / (spread + EPSILON) ** power * weight[None, :, None] + bias[None, :, None]


def _linear_exponent(layer: Layer) -> Layer:
    """1 + beta * base instead of base to the power beta."""
    equation = _value(layer, "output")
    powers = [n for n in walk(equation.value) if n.is_Pow and n.exp.free_symbols]
    (power,) = powers
    sign = -1 if power.exp.could_extract_minus_sign() else 1
    return _with(layer, "output", replaced(equation.value, {power: (1 + sign * power.exp * power.base) ** sign}))


def _across(x: Array, altered: bool) -> Array:
    squares = np.zeros_like(x)
    for place in range(x.shape[1]):
        squares[:, place] = (x[:, max(place - 1, 0) : place + 2] ** 2).sum(1)
    base = 2.0 + 5.0 * squares / 3
    return x / (1 + 0.5 * base) if altered else x / base**0.5


def _mean_of_squares(layer: Layer) -> Layer:
    equation = _value(layer, "output")
    reads = {n: n**2 for n in walk(equation.value) if isinstance(n, Read)}
    return _with(layer, "output", replaced(equation.value, reads))


def _pooled(x: Array, power: int) -> Array:
    windows = sliding_window_view(x, (2, 3), axis=(2, 3))[:, :, ::2, ::1] ** power
    return windows.sum((-1, -2)) / 6


CONVOLUTION = {"N": 2, "C": 3, "H": 5, "W": 6, "K": 4, "R": 2, "S": 3, "P": 4, "Q": 4, "G": 1}
PLAIN = {f"{name}_{axis}": one for name, one in (("stride", 1), ("dilation", 1), ("padding", 0)) for axis in "hw"}
POOLING = {"N": 2, "C": 3, "H": 6, "W": 5, "R": 2, "S": 3, "P": 3, "Q": 3}
STEPS = {"stride_h": 2, "stride_w": 1, "padding_h": 0, "padding_w": 0, "count_include_pad": 1, "divisor_override": 0}

ALTERATIONS = (
    Alteration(
        "convolution_2d",
        _flipped,
        CONVOLUTION | PLAIN,
        lambda x, w, b: _convolved(x, w, b, 1),
        lambda x, w, b: _convolved(x, w, b, -1),
    ),
    Alteration(
        "batch_normalization_without_estimates",
        _without_root,
        {"N": 3, "C": 2, "M": 5, "eps": EPSILON},
        lambda x, weight, bias: _normalised(x, weight, bias, 0.5),
        lambda x, weight, bias: _normalised(x, weight, bias, 1.0),
    ),
    Alteration(
        "cross_channel_normalization",
        _linear_exponent,
        {"N": 2, "C": 5, "M": 3, "J": 3, "k": 2.0, "alpha": 5.0, "beta": 0.5},
        lambda x: _across(x, False),
        lambda x: _across(x, True),
    ),
    Alteration(
        "average_pooling_2d",
        _mean_of_squares,
        POOLING | STEPS,
        lambda x: _pooled(x, 1),
        lambda x: _pooled(x, 2),
    ),
)


def _altered(alteration: Alteration) -> tuple[Definition, Definition]:
    """The definition with only the one variant, original and changed."""
    for definition in DEFINITIONS.values():
        for variant in definition.variants:
            if variant.layer.name == alteration.name:
                changed = replace(variant, layer=alteration.alter(variant.layer))
                return replace(definition, variants=(variant,)), replace(definition, variants=(changed,))
    raise AssertionError(f"no formula {alteration.name}")


def _run(made: Scratch, alteration: Alteration, device: str) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Inputs, results and the gradient of the output."""
    case = Case(alteration.name, alteration.sizes, frozenset())
    given = of_case(made.module, made.module.definition.variants[0], case, "float64")
    found = outcome(given, made.kernels, torch.float64, device)
    results = {name: tensor.cpu().numpy() for name, tensor in found.items() if tensor is not None}
    (seed,) = given.gradients.values()
    return {name: tensor.numpy() for name, tensor in given.tensors.items()}, results, seed.numpy()


def _close(left: Array, right: Array, operations: float) -> bool:
    """Whether two float64 computations of the same numbers agree up to rounding."""
    scale = np.abs(right).max() + 1
    return bool((np.abs(left - right) <= operations * 2.0**-52 * scale).all())


def _differences(function: Callable[..., Array], inputs: list[Array], place: int, seed: Array) -> tuple[Array, float]:
    """Central differences of <seed, function> by one input, and a bound of their error.

    With step h their error is h**2 / 6 times the third derivative plus the values' roundings over h. The first is found
    by halving the step (the error of the finer one is a third of the difference), the second is 2**-52 of the terms
    over h.
    """
    step = 2.0**-12

    def slopes(h: float) -> Array:
        result = np.empty(inputs[place].size)
        for n in range(result.size):
            values = []
            for sign in (1, -1):
                moved = [x.copy() for x in inputs]
                moved[place].reshape(-1)[n] += sign * h
                values.append(float((function(*moved) * seed).sum()))
            result[n] = (values[0] - values[1]) / (2 * h)
        return result.reshape(inputs[place].shape)

    coarse, fine = slopes(step), slopes(step / 2)
    terms = float(np.abs(function(*inputs) * seed).sum())
    return fine, float(np.abs(coarse - fine).max()) + 64 * 2.0**-52 * terms / step


@pytest.mark.parametrize("alteration", ALTERATIONS, ids=lambda one: one.alter.__name__.strip("_"))
def test_law_3(alteration: Alteration, device: str) -> None:
    original, changed = _altered(alteration)
    with scratch(original) as old, scratch(changed) as new:
        assert old.source != new.source
        _assert_both_ways_differ(old, new)
        inputs, before, _ = _run(old, alteration, device)
        _, after, seed = _run(new, alteration, device)
    arguments = list(inputs.values())
    terms = math.prod(value for name, value in alteration.sizes.items() if name.isupper())
    assert _close(before["output"], alteration.before(*arguments), terms)
    assert _close(after["output"], alteration.after(*arguments), terms)
    assert not _close(after["output"], alteration.before(*arguments), terms)
    for place, name in enumerate(inputs):
        slopes, bound = _differences(alteration.after, arguments, place, seed)
        gradient = after[f"grad_{name}"]
        assert np.abs(gradient - slopes).max() <= bound, name
        if name == "input":
            assert np.abs(gradient - before[f"grad_{name}"]).max() > bound


def _assert_both_ways_differ(old: Scratch, new: Scratch) -> None:
    """Check that some kernel of the forward and some kernel of the backward differs."""
    for number in (0, 2):
        kernels = [[launch.kernel for launch in made.module.programs[0][number].launches] for made in (old, new)]
        assert kernels[0] != kernels[1]
