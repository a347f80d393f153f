"""The dot-product test, exactly: <J v, y> = <v, J* y> over random geometry and rational numbers.

The tangent J and the adjoint J* are derived separately, forward and in reverse; they are equal only if both are right
or have the same fault, and ``test_proofs`` excludes the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from svertka.spec import Layer, Rational, adjoint
from svertka.spec.definition import Definition
from svertka.spec.evaluate import Array, evaluate, holds, whole
from svertka.spec.layers import DEFINITIONS
from svertka.spec.tangent import tangent

Completer: TypeAlias = Callable[[Definition, Mapping[str, Any]], dict[str, Any]]
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32)


def random_array(
    layer: Layer, name: str, sizes: Mapping[str, Any], random: Random, low: int = -3, high: int = 3
) -> Array:
    shape = [whole(index.extent, sizes) for index in layer.tensors[name].axes]
    return Array.filled(shape, lambda _: Fraction(random.randint(low, high)))


def dot(left: Array, right: Array) -> Fraction:
    return sum((a * b for a, b in zip(left.values, right.values, strict=True)), Fraction(0))


@cache
def derived(layer: Layer, wrt: tuple[str, ...], outputs: tuple[str, ...]) -> tuple[Layer, Layer]:
    """Tangent and adjoint, derived once per formula."""
    return tangent(layer, wrt), adjoint(layer, wrt, outputs)


def check(
    definition: Definition,
    layer: Layer,
    sizes: Mapping[str, Any],
    seed: int,
    wrt: Sequence[str],
    given: Mapping[str, Array] | None = None,
) -> None:
    """Compare <J v, y> and <v, J* y> at random inputs, directions and weights."""
    random, arithmetic = Random(seed), Rational()
    outputs = definition.result
    layer = layer.only(outputs)
    forwards, backwards = derived(layer, tuple(wrt), outputs)
    arrays = {t.name: random_array(layer, t.name, sizes, random) for t in layer.inputs}
    arrays.update(given or {})
    directions = {name: random_array(layer, name, sizes, random) for name in wrt}
    weights = {name: random_array(layer, name, sizes, random) for name in outputs}
    moved = {f"tangent_{name}": array for name, array in directions.items()}
    pulled = {f"grad_{name}": array for name, array in weights.items()}
    forward = evaluate(forwards, {**arrays, **moved}, sizes, arithmetic)
    back = evaluate(backwards, {**arrays, **pulled}, sizes, arithmetic)
    left = sum(dot(forward[f"tangent_{name}"], array) for name, array in weights.items())
    right = sum(dot(array, back[f"grad_{name}"]) for name, array in directions.items())
    assert left == right


@st.composite
def geometry(draw: st.DrawFn, rank: int, *, pooling: bool = False) -> dict[str, int]:
    """Sizes of windows along the last axes, of a layer with stride, dilation and padding."""
    sizes = {"ceil_mode": draw(st.integers(0, 1)), "count_include_pad": draw(st.integers(0, 1))}
    sizes["divisor_override"] = draw(st.sampled_from([0, 0, 7]))
    longest = {1: 9, 2: 6, 3: 4}[rank]
    for extent, window in [("D", "T"), ("H", "R"), ("W", "S")][-rank:]:
        name = extent.lower()
        sizes[extent] = draw(st.integers(1, longest))
        sizes[window] = draw(st.integers(1, 3 if rank < 3 else 2))
        sizes[f"stride_{name}"] = draw(st.integers(1, 3))
        sizes[f"dilation_{name}"] = draw(st.integers(1, 3))
        sizes[f"padding_{name}"] = draw(st.integers(0, sizes[window] // 2 if pooling else 2))
        sizes[f"padding_{name}_high"] = draw(st.integers(0, 2))
    return sizes


def completed(definition: Definition, sizes: Mapping[str, Any], complete: Completer) -> dict[str, Any]:
    sizes = complete(definition, sizes)
    assume(all(holds(rule.condition, sizes) for rule in definition.rules))
    return sizes


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank: int, complete: Completer) -> None:
    definition = DEFINITIONS[f"convolution_{rank}d"]
    layer = definition.variants[0].layer

    @EXAMPLES
    @given(geometry(rank), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2), seeds)
    def run(sizes: dict[str, Any], groups: int, channels: int, kernels: int, examples: int, seed: int) -> None:
        known = {**sizes, "G": groups, "C": channels, "K": kernels, "N": examples}
        check(definition, layer, completed(definition, known, complete), seed, ["input", "weight", "bias"])

    run()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_is_linear_in_the_image(rank: int, complete: Completer) -> None:
    """<F x, y> = <x, F* y> with F itself instead of a tangent: the transposed convolution is the adjoint."""
    definition = DEFINITIONS[f"convolution_{rank}d"]
    layer = definition.variants[0].layer

    @EXAMPLES
    @given(geometry(rank), seeds)
    def run(sizes: dict[str, Any], seed: int) -> None:
        known = completed(definition, {**sizes, "G": 2, "C": 1, "K": 2, "N": 1}, complete)
        random = Random(seed)
        arrays = {name: random_array(layer, name, known, random) for name in ("input", "weight")}
        y = random_array(layer, "output", known, random)
        forward = evaluate(layer, arrays, known, Rational())["output"]
        back = evaluate(adjoint(layer, ["input"]), {**arrays, "grad_output": y}, known, Rational())
        assert dot(forward, y) == dot(arrays["input"], back["grad_input"])

    run()


@pytest.mark.parametrize("name", ["max_pooling", "average_pooling"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(name: str, rank: int, complete: Completer) -> None:
    definition = DEFINITIONS[f"{name}_{rank}d"]

    @EXAMPLES
    @given(geometry(rank, pooling=True), st.integers(1, 2), seeds)
    def run(sizes: dict[str, Any], channels: int, seed: int) -> None:
        known = completed(definition, {**sizes, "C": channels, "N": 1}, complete)
        check(definition, definition.variants[0].layer, known, seed, ["input"])

    run()


@EXAMPLES
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3), seeds)
def test_channel_normalization(channels: int, window: int, beta: int, seed: int) -> None:
    for name in ("cross_channel_normalization", "local_response_normalization"):
        sizes = {"N": 2, "C": channels, "M": 2, "J": window, "k": 2, "alpha": Fraction(3, 2), "beta": beta}
        check(DEFINITIONS[name], DEFINITIONS[name].variants[0].layer, sizes, seed, ["input"])


@EXAMPLES
@given(st.integers(1, 3), st.integers(2, 4), seeds)
def test_batch_normalization(examples: int, elements: int, seed: int) -> None:
    """Eps is chosen so that variance + eps is a square of a rational."""
    values = [Fraction(Random(seed).randint(-3, 3)) for _ in range(examples * elements)]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    sizes = {"N": examples, "C": 1, "M": elements, "momentum": Fraction(1, 10)}
    sizes["eps"] = (variance + 1) ** 2 - variance
    array = {"input": Array((examples, 1, elements), values)}
    definition = DEFINITIONS["batch_normalization"]
    for variant in definition.variants[:2]:
        check(definition, variant.layer, sizes, seed, ["input", "weight", "bias"], array)
    sizes["eps"] = Fraction(5, 4)
    given_variance = {"running_var": Array((1,), [Fraction(1)])}
    check(definition, definition.variants[2].layer, sizes, seed, ["input", "weight", "bias"], given_variance)


@EXAMPLES
@given(*[st.integers(1, 6)] * 4, st.integers(0, 1), st.integers(0, 1), seeds)
def test_image_layers(height: int, width: int, rows: int, columns: int, antialias: int, crop: bool, seed: int) -> None:
    known = {"N": 1, "C": 2, "H": height, "W": width, "P": rows, "Q": columns}
    known |= {"antialias": antialias, "crop": crop}
    for name in ("resize", "image_input", "center_crop"):
        definition = DEFINITIONS[name]
        sizes = dict(known)
        for extent, expression in definition.extents.items():
            sizes[extent] = whole(expression, sizes)
        std = {"std": Array((2,), [Fraction(2), Fraction(3)])} if name == "image_input" else {}
        check(definition, definition.variants[0].layer, sizes, seed, ["input"], std)


@EXAMPLES
@given(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), seeds)
def test_layers_without_windows(first: int, second: int, third: int, seed: int) -> None:
    """Extents of 0 included."""
    for name, sizes, wrt in (
        ("relu", {"I": first}, ["input"]),
        ("dropout", {"I": first, "p": Fraction(1, 4), "seed": seed}, ["input"]),
        ("linear", {"M": first, "I": second, "O": third}, ["input", "weight", "bias"]),
    ):
        check(DEFINITIONS[name], DEFINITIONS[name].variants[0].layer, sizes, seed, wrt)
