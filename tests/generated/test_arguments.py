"""Every kind of wrong argument, for every public function: the message names argument and value; nothing has run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from svertka.generated import functional, runtime
from svertka.spec.definition import (
    Argument,
    Choice,
    Definition,
    Dimension,
    ElementType,
    Flag,
    Padding,
    PerAxis,
    Real,
    Seed,
    TensorArgument,
    TrailingShape,
    Whole,
)
from svertka.spec.layers import DEFINITIONS

from .cases import CASES, Case

GOOD: dict[str, Case] = {case.function: case for case in reversed(CASES)} | {
    "dropout": Case("dropout", {"input": (3, 4)})
}
Wrong = tuple[str, type[Exception], object, str]  # name, error, value, pattern of the message


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(*given: object, **symbols: object) -> None:
        raise AssertionError("an operator was called")

    monkeypatch.setattr(runtime.Operator, "__call__", ran)


def arguments(function: str) -> dict[str, Any]:
    """A valid call."""
    case = GOOD[function]
    return {**case.tensors(), **case.others()}


def refuses(function: str, error: type[Exception], pattern: str, **wrong: object) -> None:
    with pytest.raises(error, match=pattern) as caught:
        getattr(functional, function)(**arguments(function) | wrong)
    message = str(caught.value)
    assert re.fullmatch(r"[a-z_, .]+=.+: .+; .+", message, re.DOTALL), f"no value, rule and remedy in {message!r}"


# Tensors


def bad_tensors(definition: Definition, argument: TensorArgument, given: Tensor, first: bool) -> Iterator[Wrong]:
    """Invalid tensor arguments."""
    name = argument.name
    yield name, TypeError, given.tolist(), rf"^{name}="
    yield name, TypeError, 3.5, rf"^{name}=3\.5: must be a torch\.Tensor"
    yield name, TypeError, given.to(torch.complex64), rf"^{name}\.dtype=torch\.complex64"
    yield name, TypeError, given > 0, rf"^{name}\.dtype=torch\.bool"
    yield name, TypeError, given.to(torch.float8_e4m3fn), rf"^{name}\.dtype=torch\.float8_e4m3fn"
    if given.is_floating_point() and not argument.labels_below and not argument.integers:
        yield name, TypeError, given.to(torch.int32), rf"^{name}\.dtype=torch\.int32"
    if given.dim():
        yield name, TypeError, given.to_sparse(), rf"^{name}\.layout=torch\.sparse_coo"
    if not first:
        yield name, ValueError, given.to("meta"), rf"^{name}\.device='meta': must be 'cpu'"
        if given.is_floating_point():
            if f"{name} = beside(" not in "".join(definition.first):  # which converts it
                yield name, TypeError, given.half(), rf"^{name}\.dtype=torch\.float16: must be torch\.float64"
            ranks = rf"^{name}\.shape=\(1, 1, 1, {', '.join(map(str, given.shape))},?\)"
            yield name, ValueError, given[None, None, None], ranks


def tensor_cases() -> Iterator[Any]:
    for definition in DEFINITIONS.values():
        given = arguments(definition.function)
        tensors = [a for a in definition.tensor_arguments if given.get(a.name) is not None]
        for argument in tensors:
            for wrong in bad_tensors(definition, argument, given[argument.name], argument == tensors[0]):
                yield pytest.param(definition.function, *wrong, id=f"{definition.function}-{wrong[0]}-{wrong[3]}")


@pytest.mark.parametrize(("function", "name", "error", "value", "pattern"), [*tensor_cases()])
def test_tensors(function: str, name: str, error: type[Exception], value: object, pattern: str) -> None:
    refuses(function, error, pattern, **{name: value})


def ranked() -> Iterator[Any]:
    """Functions whose first tensor has a minimum rank, with an input of too low a rank."""
    for definition in DEFINITIONS.values():
        first = next(a for a in definition.tensor_arguments)
        tensor = next(t for t in definition.variants[0].layer.inputs if t.name == first.bound)
        rank = sum(not dim[0].many for dim in tensor.dims) - first.unbatched
        if rank > 0 and not any(isinstance(a, Dimension) for a in definition.arguments):
            yield pytest.param(
                definition.function, torch.zeros((2,) * (rank - 1), dtype=torch.float64), id=definition.name
            )


@pytest.mark.parametrize(("function", "value"), [*ranked()])
def test_ranks(function: str, value: Tensor) -> None:
    refuses(function, ValueError, r"^input\.shape=\(.*\): must have \d( or more)? dimensions", input=value)


# Numbers, words, flags


def bad_scalars(argument: Argument) -> Iterator[Wrong]:
    """Invalid values of arguments that are no tensors."""
    name, shown = argument.name, rf"^{argument.name}="
    if isinstance(argument, PerAxis | Padding):
        count = len(argument.symbols if isinstance(argument, PerAxis) else argument.low)
        least = argument.minimum if isinstance(argument, PerAxis) else 0
        yield name, ValueError, least - 1, rf"{shown}{least - 1}: must be at least {least}"
        yield name, ValueError, (least,) * (count - 1) + (least - 1,), rf"{shown}\("
        yield name, ValueError, (least,) * (count + 1), rf"{shown}\(.*must be one integer"
        yield name, TypeError, 1.5, rf"{shown}1\.5"
        yield name, TypeError, [1.5] * count, rf"{shown}\[1\.5"
        yield name, TypeError, True, rf"{shown}True"
        word = (ValueError, "is unknown") if getattr(argument, "named", ()) else (TypeError, "must be an integer")
        yield name, word[0], "wide", rf"{shown}'wide': {word[1]}"
    elif isinstance(argument, Whole):
        yield name, TypeError, 2.0, rf"{shown}2\.0: must be an integer"
        yield name, TypeError, "2", rf"{shown}'2'"
        yield name, TypeError, True, rf"{shown}True"
        if argument.minimum is not None:
            yield name, ValueError, argument.minimum - 1, rf"{shown}{argument.minimum - 1}: must be at least"
        elif argument.optional:
            yield name, ValueError, argument.missing, rf"{shown}{argument.missing}: must not be {argument.missing}"
    elif isinstance(argument, Real):
        yield name, TypeError, "x", rf"{shown}'x': must be a real number"
        if not argument.epsilon:
            yield name, TypeError, None, rf"{shown}None"
        yield name, ValueError, math.nan, rf"{shown}nan"
        yield name, ValueError, math.inf, rf"{shown}inf"
        if argument.low is not None:
            yield name, ValueError, argument.low - 0.5, rf"{shown}{argument.low - 0.5}: must be finite and at least"
        if argument.high is not None:
            above = argument.high + 0.5 * argument.closed
            yield name, ValueError, above, rf"{shown}{above}: must be finite.* and (at most|less than) {argument.high}"
    elif isinstance(argument, Flag):
        yield name, TypeError, 1, rf"{shown}1: must be True or False"
        yield name, TypeError, "yes", rf"{shown}'yes'"
    elif isinstance(argument, Choice):
        yield name, ValueError, "wide", rf"{shown}'wide': is unknown; pass one of"
    elif isinstance(argument, Dimension):
        yield name, ValueError, 9, rf"{shown}9: must lie between"
        yield name, ValueError, -9, rf"{shown}-9: must lie between"
        yield name, TypeError, 1.5, rf"{shown}1\.5: must be an integer"
    elif isinstance(argument, TrailingShape):
        yield name, TypeError, "wide", rf"{shown}'wide': must be an integer"
        yield name, TypeError, (2.0,), rf"{shown}\(2\.0,\): must be an integer"
        yield name, TypeError, None, rf"{shown}None"
        yield name, ValueError, (), rf"{shown}\(\): must name at least one dimension"
        yield name, ValueError, (2,) * 9, rf"{shown}\(2, .*\): must be the last extents of input\.shape"
        yield name, ValueError, 1009, rf"{shown}1009: must be the last extents of input\.shape"
    elif isinstance(argument, ElementType):
        for value in (torch.int64, torch.complex64, "float32", 32):
            yield name, TypeError, value, rf"{shown}.*: must be float16, bfloat16, float32 or float64"
    elif isinstance(argument, Seed):
        yield name, ValueError, -1, rf"{shown}-1"
        yield name, ValueError, 2**63, rf"{shown}\d+: must be less than"
        yield name, TypeError, 1.0, rf"{shown}1\.0"


def scalar_cases() -> Iterator[Any]:
    for definition in DEFINITIONS.values():
        for argument in definition.arguments:
            for wrong in bad_scalars(argument):
                name = f"{definition.function}-{wrong[0]}-{wrong[2]}"
                yield pytest.param(definition.function, *wrong, id=name)


@pytest.mark.parametrize(("function", "name", "error", "value", "pattern"), [*scalar_cases()])
def test_scalars(function: str, name: str, error: type[Exception], value: object, pattern: str) -> None:
    refuses(function, error, pattern, **{name: value})


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_every_kind_of_argument_is_tried(definition: Definition) -> None:
    others = [a for a in definition.arguments if not isinstance(a, TensorArgument)]
    assert all(list(bad_scalars(argument)) for argument in others)


# Arguments that contradict each other


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


TOGETHER: list[tuple[str, dict[str, Any], str]] = [
    (
        "conv2d",
        {"weight": ones(6, 3, 2, 2)},
        r"^input\.shape=\(2, 4, 7, 5\): .* = groups \* weight\.shape\[1\] = 2 \* 3, not 4",
    ),
    ("conv2d", {"groups": 4}, r"^input\.shape=\(2, 4, 7, 5\): .* = 4 \* 2, not 4"),
    ("conv2d", {"groups": 4, "weight": ones(6, 1, 2, 2), "bias": None}, r"^groups=4: must divide the 6"),
    ("conv2d", {"bias": ones(5)}, r"^bias\.shape=\(5,\): must be \(6,\)"),
    ("conv2d", {"weight": ones(6, 2, 8, 2)}, r"^input\.shape=\(2, 4, 7, 5\): .*; H=7, R=8"),
    ("conv2d", {"input": ones(4, 7, 5), "weight": ones(6, 2, 8, 2)}, r"^input\.shape=\(4, 7, 5\): .*; H=7, R=8"),
    ("conv2d", {"dilation": 5}, r"^input\.shape=.* height.*dilation_h=5"),
    ("conv2d", {"padding": "same", "stride": 2}, r"^padding='same': needs stride 1, but stride=\(2, 2\)"),
    ("conv1d", {"padding": ((1, -1),)}, r"^padding=\(\(1, -1\),\): every entry must be at least 0"),
    ("conv1d", {"padding": ((1, 2, 3),)}, r"^padding=\(\(1, 2, 3\),\): every pair must be \(low, high\)"),
    ("max_pool2d", {"kernel_size": 2, "padding": 2}, r"^padding=2: must be at most half of kernel_size"),
    ("max_pool2d", {"kernel_size": 9}, r"^input\.shape=\(2, 3, 8, 5\): .*R=9"),
    ("avg_pool2d", {"kernel_size": (2, 9)}, r"^input\.shape=\(2, 3, 8, 5\): .*S=9"),
    ("linear", {"weight": ones(4, 6)}, r"^weight\.shape=\(4, 6\): must have inputs = input\.shape\[-1\] = 5, not 6"),
    ("linear", {"bias": ones(3)}, r"^bias\.shape=\(3,\): must be \(4,\)"),
    ("batch_norm", {"running_var": ones(5)}, r"^running_var\.shape=\(5,\): must be \(3,\)"),
    ("batch_norm", {"weight": ones(2)}, r"^weight\.shape=\(2,\): must be \(3,\)"),
    ("batch_norm", {"input": ones(1, 3), "training": True}, r"^input\.shape=\(1, 3\): must be more than one value"),
    ("center_crop", {"size": 6}, r"^size=6: must be at most the image's width"),
    ("resize", {"input": ones(2, 3, 0, 5)}, r"^input\.shape=\(2, 3, 0, 5\): must be an image of positive height; H=0"),
    ("image_input", {"input": ones(3, 7, 0)}, r"^input\.shape=\(3, 7, 0\): must be an image of positive width; W=0"),
    ("normalize", {"mean": ones(4)}, r"^mean\.shape=\(4,\): must be \(3,\)"),
    ("cross_entropy", {"target": torch.zeros(2, 4, dtype=torch.int64)}, r"^target\.shape=\(2, 4\): must be \(2, 3\)"),
    ("cross_entropy", {"target": ones(2, 4, 3)}, r"^target\.shape=\(2, 4, 3\): must be \(2, 5, 3\)"),
    (
        "cross_entropy",
        {"target": ones(2, 3)},
        r"^target\.shape=\(2, 3\): .* pass labels as integers",
    ),
    ("cross_entropy", {"target": torch.full((2, 3), 5)}, r"^target=5: every label must lie between 0 and 4 or be -100"),
    ("cross_entropy", {"target": torch.full((2, 3), -1)}, r"^target=-1: every label"),
]


@pytest.mark.parametrize(("function", "wrong", "pattern"), TOGETHER, ids=lambda value: str(value)[:40])
def test_arguments_that_do_not_go_together(function: str, wrong: dict[str, Any], pattern: str) -> None:
    refuses(function, ValueError, pattern, **wrong)


def test_a_shape_is_shown_as_it_was_given() -> None:
    """Of labels that are missing for a batch, and of those in a real type: no dimension is put in front of them."""
    scores = ones(4, 5)
    refuses("cross_entropy", ValueError, r"^target\.shape=\(\): must be \(4,\)", input=scores, target=torch.tensor(3))
    refuses("cross_entropy", ValueError, r"^target\.shape=\(4,\): must be \(4, 5\)", input=scores, target=ones(4))


def test_a_type_is_named_that_a_target_may_have() -> None:
    wrong = torch.zeros(2, 3, dtype=torch.bool)
    refuses("cross_entropy", TypeError, r"^target\.dtype=torch\.bool: must be an integer type, or", target=wrong)


@pytest.mark.parametrize("wrong", [{"running_var": None, "training": True}, {"running_mean": None}], ids=str)
def test_running_estimates_come_together(wrong: dict[str, Any]) -> None:
    name = next(iter(wrong))
    refuses("batch_norm", TypeError, rf"^{name}=None: must be a tensor where", **{"training": False} | wrong)


FORMS: list[tuple[str, list[dict[str, Any]]]] = [
    ("conv2d", [{"stride": 2}, {"stride": (2, 2)}, {"stride": [2]}, {"stride": torch.Size((2, 2))}]),
    ("conv2d", [{"padding": "same"}, {"padding": ((1, 1), (0, 1))}, {"padding": [[1, 1], [0, 1]]}]),
    ("conv2d", [{}, {"padding": "valid"}, {"padding": (0,)}, {"padding": ((0, 0), 0), "dilation": 1}]),
    ("conv1d", [{"padding": 2, "stride": 1}, {"padding": ((2, 2),), "stride": (1,)}]),
    ("max_pool2d", [{"kernel_size": 2}, {"kernel_size": (2, 2), "stride": None}, {"kernel_size": [2], "stride": 2}]),
    ("local_response_norm", [{"alpha": 1}, {"alpha": 1.0}]),
]


@pytest.mark.parametrize(("function", "spellings"), FORMS, ids=lambda value: str(value)[:40])
def test_spellings_of_one_call(function: str, spellings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers, sequences and words give the operator the same numbers."""
    seen: list[dict[str, Any]] = []

    def record(operator: runtime.Operator, *tensors: Tensor, skipped: tuple[str, ...] = (), **symbols: Any) -> None:
        seen.append(symbols)
        raise InterruptedError

    monkeypatch.setattr(runtime.Operator, "__call__", record)
    plain = {name: value for name, value in arguments(function).items() if isinstance(value, Tensor)}
    required = {"groups": 2} if function == "conv2d" else {"size": 3} if function == "local_response_norm" else {}
    for spelling in spellings:
        with pytest.raises(InterruptedError):
            getattr(functional, function)(**plain | required | spelling)
    assert all(symbols == seen[0] for symbols in seen)


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(AssertionError, match="an operator was called"):
        functional.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), stride=numpy.int64(2), groups=numpy.int32(1))
