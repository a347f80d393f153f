"""Definitions are complete and consistent, and bind arguments as torch does."""

from __future__ import annotations

import functools
import inspect
import math
from fractions import Fraction
from random import Random
from typing import Any

import pytest
import torch
from sympy import Expr, Symbol
from torch.nn import functional

from svertka.spec import Equation, Float, Layer, Rational, Sum, Tensor, axis, define, evaluate, integer, number
from svertka.spec.binding import bind, call, nested, shape_of_nested
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Choice,
    Definition,
    Flag,
    Padding,
    PerAxis,
    Real,
    Seed,
    TensorArgument,
    Whole,
)
from svertka.spec.evaluate import Array, whole
from svertka.spec.layer import walk
from svertka.spec.layers import DEFINITIONS
from svertka.spec.layers.pooling import average_pooling
from svertka.spec.notation import Index, inside

ALL = pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS.keys())


def bound_symbols(argument: Argument) -> set[str]:
    """Symbols that an argument gives a value to."""
    if isinstance(argument, PerAxis):
        return set(argument.symbols)
    if isinstance(argument, Padding):
        return {*argument.low, *argument.high}
    if isinstance(argument, Whole | Real | Seed | Flag):
        return {argument.symbol} - {""}
    return set()


def extents(layer: Layer) -> set[str]:
    """Names of the extents of a formula's axes."""
    found = {index for tensor in layer.tensors.values() for index in tensor.axes}
    found |= {node for e in layer.equations for node in walk(e.value) if isinstance(node, Index)}
    return {symbol.name for index in found for symbol in index.extent.free_symbols}


@ALL
def test_every_parameter_is_bound(definition: Definition) -> None:
    given = {name for argument in definition.arguments for name in bound_symbols(argument)}
    given |= set(definition.extents)
    tensors = {a.bound for a in definition.tensor_arguments}
    for variant in definition.variants:
        layer = variant.layer
        shown = {index.extent.name for tensor in layer.inputs for index in tensor.axes}
        assert {p.name for p in layer.parameters} <= given
        assert extents(layer) <= given | shown
        assert {t.name for t in layer.inputs} <= tensors
        assert set(definition.result) <= set(layer.outputs)


@ALL
def test_what_is_named_exists(definition: Definition) -> None:
    arguments = {argument.name: argument for argument in definition.arguments}
    assert len(arguments) == len(definition.arguments)
    layers = [variant.layer for variant in definition.variants]
    known = {s.name for layer in layers for s in layer.parameters}.union(*map(extents, layers))
    known |= {s.name for e in definition.extents.values() for s in e.free_symbols}
    for argument in arguments.values():
        assert bound_symbols(argument) <= known
        if isinstance(argument, TensorArgument) and argument.updated_by:
            assert any(argument.updated_by in layer.outputs for layer in layers)
    for variant in definition.variants:
        assert variant.layer.name.startswith(definition.name)
        assert set(variant.when) <= set(arguments)
        for name, value in variant.when.items():
            argument = arguments[name]
            assert not isinstance(argument, Choice) or value in argument.choices
    rules = [*definition.rules, *(rule for v in definition.variants for rule in v.rules)]
    assert {rule.argument for rule in rules} <= set(arguments)
    assert set(definition.optional_results) <= set(arguments)
    assert set(definition.identity_when) <= set(arguments)


@ALL
def test_modules_name_torch_classes_and_arguments(definition: Definition) -> None:
    names = {argument.name for argument in definition.signature}
    for module in definition.modules:
        assert set(module.call) <= names
        assert set(module.buffers) <= names
        if module.base != "torch.nn.Module":
            named = (module.like or module.base).removeprefix("torch.nn.")  # composed: whose state they have
            assert issubclass(getattr(torch.nn, named), torch.nn.Module)
            shared = functools.reduce(getattr, module.base.split(".")[1:], torch)
            assert issubclass(getattr(torch.nn, named), shared)
            assert module.name == named or (module.name.startswith(named) and not hasattr(torch.nn, module.name))
        compile("\n".join(module.before), module.name, "exec")
        compile("\n".join(module.constructor), module.name, "exec")
        for expression in module.call.values():
            compile(expression, module.name, "eval")


# arguments that torch does not have
EXTRA = {"seed"}


@pytest.mark.parametrize(
    "name",
    ["relu", "softmax", "log_softmax", "cross_entropy", "dropout", "batch_norm", "local_response_norm"],
)
def test_signatures_are_torchs(name: str) -> None:
    definition = next(d for d in DEFINITIONS.values() if d.function == name)
    theirs = {
        parameter.name: parameter.default
        for parameter in inspect.signature(getattr(functional, name)).parameters.values()
    }
    ours = {a.name: a.default for a in definition.signature if a.name not in EXTRA}
    assert list(ours) == list(theirs)
    for argument, default in theirs.items():
        if default is inspect.Parameter.empty:
            assert ours[argument] is REQUIRED
        else:
            assert ours[argument] == default


def integers(random: Random, *shape: int) -> torch.Tensor:
    """A float64 tensor of small integers, on which sums of products are exact."""
    count = 1
    for extent in shape:
        count *= extent
    return torch.tensor([float(random.randint(-4, 4)) for _ in range(count)], dtype=torch.float64).reshape(shape)


def rounded(result: Any) -> Any:
    """Nested tuples of rationals, each rounded once."""
    return [rounded(part) for part in result] if isinstance(result, tuple) else float(result)


def equal(result: Any, expected: torch.Tensor) -> bool:
    """Exact equality of values and shape; values that are not integers are rounded once."""
    return bool(torch.equal(torch.tensor(rounded(result), dtype=torch.float64), expected.to(torch.float64)))


IMAGES = {1: (2, 4, 9), 2: (2, 4, 7, 5), 3: (1, 4, 4, 5, 3)}
CONVOLUTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"dilation": 2, "padding": 2, "groups": 2},
    {"padding": "same", "dilation": 2},
    {"padding": "valid", "groups": 4, "stride": 3},
]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
def test_convolution_is_torchs_exactly(rank: int, arguments: dict[str, Any]) -> None:
    random = Random(rank)
    image, bias = integers(random, *IMAGES[rank]), integers(random, 8)
    weight = integers(random, 8, 4 // arguments.get("groups", 1), *(2, 3, 2)[-rank:])
    expected = getattr(functional, f"conv{rank}d")(image, weight, bias, **arguments)
    result = call(
        DEFINITIONS[f"convolution_{rank}d"],
        Float(),
        input=image.tolist(),
        weight=weight.tolist(),
        bias=bias.tolist(),
        **arguments,
    )
    assert equal(result, expected)


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("arguments", POOLS, ids=str)
def test_pooling_is_torchs_exactly(rank: int, arguments: dict[str, Any]) -> None:
    image = integers(Random(rank), *IMAGES[rank])  # small integers: many ties
    for dilation in (1, 2) if arguments["kernel_size"] == 2 and rank < 3 else (1,):
        options = {**arguments, "dilation": dilation, "return_indices": True}
        expected = getattr(functional, f"max_pool{rank}d")(image, **options)
        result = call(DEFINITIONS[f"max_pooling_{rank}d"], Float(), input=image.tolist(), **options)
        assert all(equal(ours, theirs) for ours, theirs in zip(result, expected, strict=True))
    for count in (True, False):
        options = {**arguments, "count_include_pad": count}
        expected = getattr(functional, f"avg_pool{rank}d")(image, **options)
        assert equal(
            call(DEFINITIONS[f"average_pooling_{rank}d"], Rational(), input=image.tolist(), **options),
            expected,
        )


def test_divisor_override_is_torchs_exactly() -> None:
    image = integers(Random(0), 1, 2, 5, 4)
    options: dict[str, Any] = {"kernel_size": 2, "divisor_override": 3}
    expected = functional.avg_pool2d(image, **options)
    assert equal(call(DEFINITIONS["average_pooling_2d"], Rational(), input=image.tolist(), **options), expected)


def test_unbatched_and_leading_dimensions() -> None:
    random = Random(1)
    image, weight = integers(random, 3, 5, 4), integers(random, 2, 3, 2, 2)
    result = call(DEFINITIONS["convolution_2d"], Float(), input=image.tolist(), weight=weight.tolist())
    assert equal(result, functional.conv2d(image, weight))
    rows, matrix = integers(random, 2, 3, 4), integers(random, 5, 4)
    for x in (rows, rows[0], rows[0, 0]):
        result = call(DEFINITIONS["linear"], Float(), input=x.tolist(), weight=matrix.tolist())
        assert equal(result, functional.linear(x, matrix))


def test_masked_classes_do_not_spoil_the_loss() -> None:
    """A logit of minus infinity, as in torch: the loss is infinite if it is the label, and otherwise not affected."""
    scores = [[0.0, float("-inf"), 0.0]]
    loss = call(DEFINITIONS["cross_entropy"], Float(), input=scores, target=[2])
    assert loss == functional.cross_entropy(torch.tensor(scores, dtype=torch.float64), torch.tensor([2])).item()
    assert call(DEFINITIONS["cross_entropy"], Float(), input=scores, target=[1]) == float("inf")


def test_the_count_of_average_pooling_is_what_it_says() -> None:
    """The closed form of the divisor equals the sum of 1 over the elements that count."""
    layer = average_pooling(1)
    window = layer.tensors["input"].axes[2], layer.tensors["output"].axes[2]
    kernel = layer.equations[0].value.find(type(Sum(1, window[0]))).pop().indices[0]
    for include in (0, 1):
        place = whole_symbols(layer, window[1], kernel, include)
        counted = Layer("count", layer.inputs, (Equation(layer.tensors["output"], place),), ("output",))
        averaged = layer
        for extent, size, stride, padding, ceil_mode in [(7, 3, 2, 1, 0), (6, 3, 2, 1, 1), (5, 2, 3, 1, 1)]:
            sizes = {"N": 1, "C": 1, "W": extent, "S": size, "stride_w": stride, "padding_w": padding}
            sizes |= {"ceil_mode": ceil_mode, "count_include_pad": include}
            sizes["Q"] = whole(DEFINITIONS["average_pooling_1d"].extents["Q"], sizes)
            random = Random(extent)
            image = {"input": Array((1, 1, extent), [Fraction(random.randint(1, 9)) for _ in range(extent)])}
            mean = evaluate(averaged, image, sizes, Rational())["output"].values
            share = evaluate(counted, image, sizes, Rational())["output"].values
            assert mean == share


def whole_symbols(layer: Layer, output: Index, kernel: Index, include: int) -> Expr:
    """The mean with its divisor written as a sum of ones."""
    symbols = {s.name: s for s in layer.parameters}
    place = symbols["stride_w"] * output + kernel - symbols["padding_w"]
    x = layer.tensors["input"]
    widened = include * symbols["padding_w"]
    count = Sum(1, kernel, where=inside(place + widened, x.axes[2].extent + 2 * widened))
    return Sum(x[x.axes[0], x.axes[1], place], kernel) / count


@pytest.mark.parametrize("shape", [(7, 5), (5, 8), (4, 4)])
@pytest.mark.parametrize("crop", [False, True])
def test_image_input_is_its_three_steps(shape: tuple[int, int], crop: bool) -> None:
    """One formula equals resizing, cropping and normalising in sequence, exactly."""
    random, size = Random(3), 3
    image = nested([random.randint(0, 255) for _ in range(2 * shape[0] * shape[1])], (1, 2, *shape))
    normal = {"mean": (Fraction(1, 2), 100), "std": (3, Fraction(7, 2))}
    result = call(DEFINITIONS["image_input"], Rational(), input=image, size=size, crop=crop, **normal)
    scaled = [size * extent // min(shape) for extent in shape] if crop else size
    steps = call(DEFINITIONS["resize"], Rational(), input=image, size=scaled)
    steps = call(DEFINITIONS["center_crop"], Rational(), input=steps, size=size)
    assert result == call(DEFINITIONS["normalize"], Rational(), input=steps, **normal)


def test_dropout_outside_training_changes_nothing() -> None:
    values = (1, 2, 3)
    assert call(DEFINITIONS["dropout"], Rational(), input=values, training=False) is values
    dropped = call(DEFINITIONS["dropout"], Rational(), input=(1,) * 64, seed=7, p=Fraction(1, 4))
    assert set(dropped) == {0, Fraction(4, 3)}


BROKEN = {
    "input along its height, with padding, at least as long": (
        "convolution_2d",
        {"input": ((((1,),),),), "weight": ((((1,), (1,)),),)},
    ),
    "padding must be at most half of kernel_size along the width": (
        "max_pooling_1d",
        {"input": (((1, 2, 3),),), "kernel_size": 2, "padding": 2},
    ),
    "input must be more than one value per channel": (
        "batch_normalization",
        {"input": ((1,),), "running_mean": None, "running_var": None, "training": True},
    ),
    "size must be at most the image's width": (
        "center_crop",
        {"input": ((((1, 2), (3, 4)),),), "size": (2, 3)},
    ),
    "'dim' is missing": ("softmax", {"input": (1, 2)}),
    "'slope' is unknown": ("relu", {"input": (1, 2), "slope": 1}),
}


@pytest.mark.parametrize(("message", "case"), BROKEN.items(), ids=BROKEN.keys())
def test_rules(message: str, case: Any) -> None:
    with pytest.raises(ValueError, match=message.replace("input along", "input must be along")):
        bind(DEFINITIONS[case[0]], **case[1])


def test_nested_tuples_have_shapes() -> None:
    assert shape_of_nested(((1, 2, 3), (4, 5, 6))) == (2, 3)
    assert shape_of_nested(4) == ()
    assert nested(range(6), (3, 2)) == ((0, 1), (2, 3), (4, 5))


def test_defaults_satisfy_their_own_rules() -> None:
    """Refused where they are said, and not at the first call without them."""
    i = axis("i", many=True)
    given, output = Tensor("input", i), Tensor("output", i)

    def scaled(factor: Symbol) -> Layer:
        return Layer("scaled", (given,), (Equation(output, given[i] * factor),), ("output",))

    positive, least = number("alpha", positive=True), integer("alpha", positive=True)
    for factor, default, why in (
        (positive, -2, "not positive"),
        (positive, 0.0, "not positive"),
        (positive, "2", "no real number"),
        (positive, math.nan, "not positive"),
        (number("alpha"), True, "no real number"),
        (least, 0, "not positive"),
        (least, 1.5, "no integer"),
    ):
        with pytest.raises(ValueError, match=rf"define\(scaled\): the default .* of alpha is {why}"):
            define(scaled(factor), defaults={"alpha": default})
    assert define(scaled(positive), defaults={"alpha": 2}).arguments[-1].default == 2.0
    with pytest.raises(TypeError, match=r"define: 'scaled' is a Definition, no Layer"):
        define(define(scaled(positive)))  # type: ignore[arg-type]
