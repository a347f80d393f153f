"""Composed layers compute the same as their parts in sequence; a message says why others cannot be composed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from svertka.spec import (
    Array,
    Equation,
    Layer,
    Max,
    Rational,
    Sum,
    Tensor,
    adjoint,
    axis,
    define,
    evaluate,
    integer,
    maximum,
    number,
)
from svertka.spec.compose import compose, fuse
from svertka.spec.definition import Definition, ModuleFace, PerAxis, TensorArgument, Variant
from svertka.spec.evaluate import shape_of, whole
from svertka.spec.layers import DEFINITIONS

SIZES = {"N": 2, "G": 2, "K": 1, "C": 2, "H": 4, "W": 3, "R": 2, "S": 3, "P": 3, "Q": 1}
SIZES |= {
    f"{kind}_{place}": value for kind, value in (("stride", 1), ("dilation", 1), ("padding", 0)) for place in "hw"
}


def formula(definition: str, variant: int = 0) -> Layer:
    return DEFINITIONS[definition].variants[variant].layer


def drawn(layer: Layer, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Array]:
    random = Random(seed)
    found = {}
    for tensor in layer.inputs:
        shape = shape_of(tensor, sizes)
        count = 1
        for extent in shape:
            count *= extent
        found[tensor.name] = Array(
            shape, [Fraction(random.randint(-5, 5), random.choice((1, 2))) for _ in range(count)]
        )
    return found


def chained(first: Layer, second: Layer, into: str, arrays: Mapping[str, Array], sizes: Mapping[str, Any]) -> Any:
    """The second layer applied to the first's result; arrays have the shapes of its own axes."""
    given = {**arrays, into: evaluate(first, arrays, sizes, Rational())["output"]}
    own = {t.name: Array(shape_of(t, sizes), given[t.name].values) for t in second.inputs}
    return evaluate(second, own, sizes, Rational())


def test_convolution_then_relu() -> None:
    layer = compose("both", formula("convolution_2d"), formula("relu"))
    arrays = drawn(layer, SIZES)
    expected = chained(formula("convolution_2d"), formula("relu"), "input", arrays, SIZES | {"I": 2 * 2 * 3})
    found = evaluate(layer, arrays, SIZES, Rational())["output"]
    assert found.values == expected["output"].values
    assert layer.tensors["output"].dims == layer.tensors["convolution_2d_output"].dims
    assert 0 < sum(value == 0 for value in found.values) < len(found.values)


def test_the_axis_of_channels_becomes_groups_of_kernels() -> None:
    """Mean over everything except the channels: the channels of the consumer are a product of axes of the producer."""
    n, c, m = axis("n", batch=True), axis("c"), axis("m", many=True)
    x, y, weight = Tensor("input", n, c, m), Tensor("output", c), Tensor("scale", c)
    mean = Layer("mean", (x, weight), (Equation(y, Sum(x[n, c, m], n, m) / m.extent * weight[c]),), ("output",))
    layer = compose("both", formula("convolution_2d"), mean)
    assert layer.tensors["output"].dims == layer.tensors["scale"].dims == ((axis("g"), axis("k")),)
    arrays = drawn(layer, SIZES)
    expected = chained(formula("convolution_2d"), mean, "input", arrays, {**SIZES, "C": 2, "M": 3})
    assert evaluate(layer, arrays, SIZES, Rational())["output"].values == expected["output"].values


def test_the_gradient_is_that_of_the_whole() -> None:
    """The chain rule by hand: the second adjoint's result is the output gradient for the first adjoint."""
    first, second = formula("convolution_2d"), formula("relu")
    layer, sizes = compose("both", first, second), SIZES | {"I": 12}
    arrays = drawn(layer, SIZES)
    seed = Array((2, 2, 1, 3, 1), [Fraction(value - 4) for value in range(12)])
    found = evaluate(adjoint(layer), {**arrays, "grad_output": seed}, SIZES, Rational())
    between = evaluate(first, arrays, SIZES, Rational())["output"]
    flat = {"input": Array((12,), between.values), "grad_output": Array((12,), seed.values)}
    back = evaluate(adjoint(second), flat, sizes, Rational())["grad_input"]
    expected = evaluate(adjoint(first), {**arrays, "grad_output": Array(seed.shape, back.values)}, SIZES, Rational())
    assert {name: array.values for name, array in found.items()} == {n: a.values for n, a in expected.items()}


def test_state_of_a_part_stays_an_output() -> None:
    layer = formula("batch_normalization_relu")
    assert set(layer.outputs) == {"output", "new_running_mean", "new_running_var"}


i, j = axis("i"), axis("j")
stride = integer("stride", positive=True)


def layer_of(name: str, value: Any, *inputs: Tensor, out: Any = (i,)) -> Layer:
    return Layer(name, inputs, (Equation(Tensor("output", *out), value),), ("output",))


X, Y = Tensor("input", i), Tensor("input", i, j)
DOUBLE = layer_of("double", 2 * X[i], X)
SHIFTED = layer_of("shifted", X[stride * i], X)
WINDOW = layer_of("window", Max(X[i + j], j), X)
N, M = axis("n", batch=True), axis("m", many=True)
PRODUCT = layer_of("product", Tensor("input", (i, j))[i, j], Tensor("input", (i, j)), out=((i, j),))
OTHER = layer_of("other", Tensor("input", (N, j))[N, j], Tensor("input", (N, j)), out=((N, j),))
LEARNED = layer_of("learned", X[i] * Tensor("weight", i)[i], X, Tensor("weight", i))


@pytest.mark.parametrize(
    ("first", "second", "into", "words"),
    [
        (DOUBLE, DOUBLE, "image", ("double", "image", "input")),
        (DOUBLE, layer_of("matrix", Y[i, j], Y, out=(i, j)), "input", ("(i)", "(i, j)", "do not match")),
        (PRODUCT, OTHER, "input", ("i x j", "n x j", "different products")),
        (PRODUCT, SHIFTED, "input", ("shifted", "arithmetic", "i, j")),
        (SHIFTED, SHIFTED, "input", ("parameter", "stride", "rename")),
        (WINDOW, WINDOW, "input", ("extent", "J", "rename")),
        (LEARNED, LEARNED, "input", ("tensor", "weight", "rename")),
    ],
)
def test_what_cannot_be_composed(first: Layer, second: Layer, into: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=".*".join(map(re.escape, words))):
        compose("both", first, second, into)


def test_a_chain_of_equal_parts_has_names_of_its_own() -> None:
    layer = compose("four", compose("twice", DOUBLE, DOUBLE), DOUBLE)
    array = Array((3,), [Fraction(value) for value in (1, 2, -5)])
    assert evaluate(layer, {"input": array}, {"I": 3}, Rational())["output"].values == [8, 16, -40]


def definition(name: str, layer: Layer, **face: Any) -> Definition:
    arguments = tuple(TensorArgument(name=tensor.name) for tensor in layer.inputs)
    return Definition(name, name, "a test", (Variant(layer),), name, arguments, **face)


def test_what_cannot_be_fused() -> None:
    plain, learned = definition("double", DOUBLE), definition("learned", LEARNED)
    words = {"title": "", "source": ""}
    with pytest.raises(ValueError, match=r"'image'"):
        fuse("both", plain, plain, into="image", **words)
    with pytest.raises(ValueError, match=r"argument 'weight'.*rename"):
        fuse("both", learned, learned, **words)
    with pytest.raises(ValueError, match=r"dropout returns its input unchanged where training=False"):
        fuse("both", plain, DEFINITIONS["dropout"], **words)
    with pytest.raises(ValueError, match=r"learned has no argument 'gain'; it has input, weight"):
        fuse("both", learned, learned, names={"gain": "weight"})
    with pytest.raises(ValueError, match=r"\(g x k\) and \(g_2 x k_2\) are different products"):
        fuse(
            "both",
            DEFINITIONS["convolution_2d"],
            DEFINITIONS["group_normalization"],
            names={"weight": "scale", "bias": "shift"},
        )


def test_a_part_with_other_names() -> None:
    """Tensors and parameters of the second part are renamed in its formula, rules, extents and module too."""
    eps = number("eps", positive=True)
    value = X[i] * Tensor("weight", i)[i] + eps
    part = define(layer_of("part", value, X, Tensor("weight", i)), parameters={"weight": 1.0}, defaults={"eps": 0.5})
    both = fuse("both", part, part, names={"weight": "second_weight", "eps": "second_eps"})
    assert [argument.name for argument in both.arguments] == ["input", "weight", "second_weight", "eps", "second_eps"]
    assert [rule.argument for rule in both.rules] == ["eps", "second_eps"]
    assert both.modules == (ModuleFace("Both", parameters={"weight": 1.0, "second_weight": 1.0}),)
    assert both.title == "Part. Then: Part."
    given = {"input": (2, 3), "weight": (5, 7), "second_weight": (-1, 2)}
    arrays = {name: Array((2,), [Fraction(number) for number in numbers]) for name, numbers in given.items()}
    sizes = {"I": 2, "eps": Fraction(1, 2), "second_eps": Fraction(1, 4)}
    found = evaluate(both.variants[0].layer, arrays, sizes, Rational())["output"].values
    assert found == [-Fraction(21, 2) + Fraction(1, 4), 2 * (21 + Fraction(1, 2)) + Fraction(1, 4)]


def test_arguments_of_both_required_ones_first() -> None:
    fused = DEFINITIONS["batch_normalization_add_relu"]
    names = [argument.name for argument in fused.arguments]
    assert names[:4] == ["input", "running_mean", "running_var", "residual"]
    assert "inplace" not in names
    assert [variant.when for variant in fused.variants] == [
        dict(variant.when) for variant in DEFINITIONS["batch_normalization"].variants
    ]


def test_nothing_between_is_stored() -> None:
    """One forward kernel for two composed layers."""
    from svertka.codegen.lowering.built import built

    forward, saving, _ = built(DEFINITIONS["convolution_2d_relu"]).programs[0]
    assert len(forward.launches) == len(saving.launches) == 1
    assert isinstance(formula("convolution_2d_relu").equations[-1].value, maximum)


NAMES = {"weight": "second_weight", "bias": "second_bias"}


def test_axes_of_one_name_are_two() -> None:
    """Outputs of the first linear layer are inputs of the second, whose outputs are others."""
    both = fuse("both", DEFINITIONS["linear"], DEFINITIONS["linear"], names=NAMES)
    first = [[1, 2, 3], [4, 5, 6]]
    second = [[1, -1], [2, 0], [0, 3], [5, 7]]
    given = {"input": ((1, 3), [1, 0, 2]), "weight": ((2, 3), [*first[0], *first[1]]), "bias": ((2,), [10, 20])}
    given |= {
        "second_weight": ((4, 2), [number for row in second for number in row]),
        "second_bias": ((4,), [1, 2, 3, 4]),
    }
    arrays = {name: Array(shape, [Fraction(number) for number in numbers]) for name, (shape, numbers) in given.items()}
    sizes = {"M": 1, "I": 3, "O": 2, "O_2": 4}
    found = evaluate(both.variants[0].layer, arrays, sizes, Rational())["output"].values
    hidden = [1 + 6 + 10, 4 + 12 + 20]
    assert found == [sum(a * b for a, b in zip(row, hidden, strict=True)) + n for n, row in enumerate(second, 1)]


def test_arguments_stand_for_the_second_parts_own_windows() -> None:
    """Stride, window and output of a pooling are not those of the convolution before it."""
    names = {"stride": "pool_stride", "padding": "pool_padding", "dilation": "pool_dilation"}
    both = fuse("both", DEFINITIONS["convolution_1d"], DEFINITIONS["max_pooling_1d"], names=names)
    symbols = {a.name: a.symbols for a in both.arguments if isinstance(a, PerAxis)}
    assert symbols["stride"] != symbols["pool_stride"]
    assert symbols["kernel_size"] == ("S_2",)
    [pool_stride] = [a for a in both.arguments if a.name == "pool_stride"]
    assert pool_stride.default == "<kernel_size>"
    assert "return_indices" not in {argument.name for argument in both.arguments}
    sizes = {"W": 11, "S": 3, "S_2": 2, "ceil_mode": 0}
    sizes |= dict.fromkeys((*symbols["stride"], *symbols["dilation"], *symbols["pool_dilation"]), 1)
    padding = {str(s): 0 for extent in both.extents.values() for s in extent.free_symbols if "pad" in s.name}
    sizes |= padding | dict.fromkeys(symbols["pool_stride"], 2)
    for name, extent in both.extents.items():
        sizes[name] = whole(extent, sizes)
    assert (sizes["Q"], sizes["Q_2"]) == (9, 4)
    assert all(layer.outputs == ("output",) for layer in (variant.layer for variant in both.variants))


def test_an_argument_is_not_named_as_a_parameter_of_the_first_part() -> None:
    value = Tensor("input", N, axis("c"), axis("w"))[N, axis("c"), axis("w")] * number("stride_w")
    layer = layer_of("scaled", value, Tensor("input", N, axis("c"), axis("w")), out=(N, axis("c"), axis("w")))
    with pytest.raises(
        ValueError, match=r"scaled has an argument 'stride_w', and average_pooling_1d a parameter; rename"
    ):
        fuse("both", DEFINITIONS["average_pooling_1d"], define(layer))
