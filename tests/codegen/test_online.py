"""Online sums: which exponentials are summed in the walk that finds their maximum, that they are right, and faults."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import Ne, exp, log
from torch import Tensor as Values

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.emit.render import kernel_sources
from svertka.codegen.ir.kernel import Kernel
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ir.online import as_online
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.verify.bounds import bounded_values, rescaled
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.codegen.verify.validate import validate_package
from svertka.spec import FORMATS, ArgMax, Equation, Layer, Max, RunningError, Select, Sum, Tensor, axes, define, maximum
from svertka.spec.definition import Definition
from svertka.spec.layers import DEFINITIONS as LIBRARY

from ..examples.conftest import packaged
from .planted import judged

n, i, c = axes("n i c")
j = i.twin("j")
scores, values = Tensor("input", n, i), Tensor("values", n, i)
mask = Tensor("mask", n, i, kind="integer")
planes, weights = Tensor("input", n, i, c), Tensor("weights", c)
highest = Tensor("highest", n)
HIGHEST = Equation(highest, Max(scores[n, i], i))
PER_ROW, ALONG = Tensor("output", n), Tensor("output", n, i)


def defined(name: str, inputs: tuple[Tensor, ...], output: Tensor, value: Any) -> Definition:
    return define(Layer(name, inputs, (Equation(output, value),), ("output",)))


def kept(index: Any, value: Any) -> Any:
    return Select(Ne(mask[n, index], 0), value, 0)


DEFINITIONS = {
    definition.name: definition
    for definition in (
        defined("logsumexp", (scores,), PER_ROW, log(Sum(exp(scores[n, i]), i))),
        defined(
            "pooled",  # by the weights of a softmax: two sums with one maximum
            (scores, values),
            PER_ROW,
            Sum(exp(scores[n, i]) * values[n, i], i) / Sum(exp(scores[n, i]), i),
        ),
        defined(
            "masked_pooled",
            (scores, values, mask),
            PER_ROW,
            Sum(exp(scores[n, i]) * kept(i, values[n, i]), i) / Sum(exp(scores[n, i]), i),
        ),
        defined(
            "over_planes",  # exponents are computed, and a row has two indices
            (planes, weights),
            PER_ROW,
            log(Sum(exp(planes[n, i, c] + weights[c]), i, c)),
        ),
        defined(
            "without_first",
            (scores,),
            PER_ROW,
            log(Sum(exp(scores[n, i]), i, where=i >= 1)),
        ),
    )
}

LONG = 2 * 4096 + 37  # elements of a row that takes three tiles, of which the last has a tail


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One package of all definitions."""
    with packaged(tmp_path_factory.mktemp("online") / "all", list(DEFINITIONS.values())) as made:
        yield made


@pytest.fixture
def functions(package: ModuleType) -> Any:
    """The package's functions, by the kernels in Triton's interpreter."""
    assert importlib.import_module(f"{package.__name__}.runtime").INTERPRETED
    return package.functional


# Recognition ---------------------------------------------------------------------------------------------------------

M = highest[n]
SHIFTED = exp(scores[n, i] - M)


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (Sum(SHIFTED, i), 1),
        (Sum(SHIFTED * values[n, i], i), values[n, i]),
        (Sum(SHIFTED * values[n, i] ** 2 * exp(values[n, i]), i), values[n, i] ** 2 * exp(values[n, i])),
        (Sum(SHIFTED * values[n, i] + 2 * SHIFTED, i), values[n, i] + 2),
        (Sum(exp(scores[n, i] - maximum(M, -5)) * values[n, i], i), values[n, i]),
        (Sum(SHIFTED * Select(values[n, i] > 0, 1, 0), i), Select(values[n, i] > 0, 1, 0)),
    ],
)
def test_a_sum_of_exponentials_shifted_by_their_maximum_is_online(value: Any, weight: Any) -> None:
    found = as_online(Equation(PER_ROW, value), [HIGHEST])
    assert found is not None
    assert found.weight == weight
    assert found.weights.value.body == weight


@pytest.mark.parametrize(
    "value",
    [
        Sum(exp(scores[n, i]), i),
        Sum(exp(values[n, i] - M), i),
        Sum(exp(2 * scores[n, i] - M), i),
        Sum(exp(2 * scores[n, i] - 2 * M), i),
        Sum(exp(scores[n, i] - 2 * M), i),
        Sum(SHIFTED * M, i),
        Sum(SHIFTED * values[n, i] + values[n, i], i),
        Sum(SHIFTED + SHIFTED * M, i),
        Sum(SHIFTED, i, where=i >= 1),
        Max(SHIFTED, i),
        SHIFTED,
    ],
)
def test_what_is_not_online(value: Any) -> None:
    """Other exponents, another row, weights that need the maximum, terms that need none."""
    axes_of = (n, i) if value == SHIFTED else (n,)
    assert as_online(Equation(Tensor("output", *axes_of), value), [HIGHEST]) is None


def test_the_maximum_of_another_row_is_none() -> None:
    other = Equation(highest, Max(values[n, i], i))
    assert as_online(Equation(PER_ROW, Sum(SHIFTED, i)), [other]) is None
    assert as_online(Equation(PER_ROW, Sum(SHIFTED, i)), [other, HIGHEST]) is not None


def walks(kernel: Kernel) -> int:
    return sum(bool(section.loops) for section in kernel.sections)


def test_rows_are_walked_once_for_their_statistics() -> None:
    """Softmax: statistics and result; log-sum-exp and a weighted mean: statistics alone."""
    expected = {"softmax": 2, "log_softmax": 2, "cross_entropy": 2}
    for name, count in expected.items():
        kernels = [kernel for kernel in build(LIBRARY[name]).kernels if any(s.online for s in kernel.sections)]
        assert kernels
        assert {walks(kernel) for kernel in kernels} == {count}
    for name, definition in DEFINITIONS.items():
        forward = build(definition).programs[0][0]
        assert [walks(launch.kernel) for launch in forward.launches] == [1], name


def test_every_kernel_is_as_specified_and_a_wrong_one_is_not() -> None:
    for definition in DEFINITIONS.values():
        assert not [text for kernel in build(definition).kernels for text in violations(kernel)]
    kernel = build(DEFINITIONS["logsumexp"]).kernels[0]
    place = next(number for number, section in enumerate(kernel.sections) if section.online)
    largest, total = kernel.sections[place].accumulators
    wrong = [
        (dataclasses.replace(largest, guards=(total.value,)), total),
        (largest, dataclasses.replace(total, maximum="absent")),
        (largest, dataclasses.replace(total, shift=None)),
        (largest, dataclasses.replace(total, operation="product")),
        (dataclasses.replace(largest, operation="sum"), total),
    ]
    for accumulators in wrong:
        section = dataclasses.replace(kernel.sections[place], accumulators=accumulators)
        sections = (*kernel.sections[:place], section, *kernel.sections[place + 1 :])
        assert list(violations(dataclasses.replace(kernel, sections=sections)))


def test_a_maximum_with_its_place_is_found_before() -> None:
    """Of a maximum and its place one accumulator finds both: a sum of exponentials then has a walk of its own."""
    place = Tensor("place", n, kind="integer")

    layer = Layer(
        "placed",
        (scores,),
        (HIGHEST, Equation(place, ArgMax(scores[n, i], i)), Equation(PER_ROW, Sum(SHIFTED, i))),
        ("output", "place", "highest"),
    )
    [kernel] = [launch.kernel for launch in build(define(layer)).programs[0][0].launches]
    assert kernel.pattern == LoopPattern.ROW
    assert walks(kernel) == 2
    assert "raised" not in "".join(kernel_sources(kernel))


# Proof ---------------------------------------------------------------------------------------------------------------


@pytest.mark.thinned(2)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_level_holds(name: str) -> None:
    definition = DEFINITIONS[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures
    assert {o.level for o in verdict.outcomes if o.holds} == LEVELS.keys() - {"exact"}  # exponentials are rounded


def test_the_bound_counts_the_rescaling_of_every_online_sum() -> None:
    assert rescaled(DEFINITIONS["logsumexp"].variants[0].layer) == {"output_sum_shifted": 1}
    weights = rescaled(DEFINITIONS["pooled"].variants[0].layer)
    assert set(weights.values()) == {1, values[n, i]}
    assert not rescaled(LIBRARY["layer_normalization"].variants[0].layer)


FAULTS = (
    ("pooled", "source", "output_sum_shifted * faded + ", "output_sum_shifted + "),
    ("pooled", "source", "output_sum_2_shifted * faded + ", "output_sum_2_shifted + "),
    ("pooled", "source", "output_sum_shifted * faded + ", "output_sum_shifted * faded * faded + "),
    ("pooled", "source", "output_sum_shifted * faded + ", ""),
    ("pooled", "source", "values_value * grown, 0.0), LANES)", "values_value, 0.0), LANES)"),
    ("pooled", "source", 'raised == float("-inf"), 0.0, tl.exp(raised - output_sum_shift)', "raised < 9, 1.0, 1.0"),
    ("pooled", "source", "tl.exp(raised - output_sum_shift)", "tl.exp(output_sum_shift - raised)"),
    ("pooled", "source", 'input_value, float("-inf"))', "input_value, 9.0)"),
    ("pooled", "source", "tl.exp(largest - shift)", "tl.exp(shift - largest)"),
    ("pooled", "source", "return larger, ", "return found, "),
    ("pooled", "source", "tl.reshape(wide, element.shape)", "tl.reshape(wide, element.shape) * 2"),
    ("pooled", "source", "larger = tl.maximum(largest, found", "larger = tl.minimum(largest, found"),
    ("pooled", "rounding", "larger = tl.maximum(largest, found", "larger = tl.maximum(found, found"),
    ("logsumexp", "rounding", "tl.maximum(larger, lowest, propagate_nan=tl.PropagateNan.ALL)", "larger"),
    ("logsumexp", "rounding", 'raised == float("-inf"), 0.0, tl.exp(', "raised != raised, 0.0, tl.exp(0.0 * "),
)


@pytest.mark.thinned(5)
@pytest.mark.parametrize(("name", "level", "text", "fault"), FAULTS)
def test_a_fault_is_found(name: str, level: str, text: str, fault: str) -> None:
    """Sums that are not rescaled, twice, or the wrong way; lanes with maxima of others; padding that counts."""
    assert judged(DEFINITIONS[name], text, fault, (level,)).failures


# Numbers -------------------------------------------------------------------------------------------------------------

ROUGH = torch.randn(LONG, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ROWS = {
    "random": ROUGH,
    "largest first": torch.cat((torch.tensor([30.0]), ROUGH[1:])),
    "largest last": torch.cat((ROUGH[1:], torch.tensor([30.0]))),
    "rising": torch.linspace(-20, 20, LONG, dtype=torch.float64),
    "falling": torch.linspace(20, -20, LONG, dtype=torch.float64),
    "high": ROUGH + 3000,
    "low": ROUGH - 3000,
    "wide": 500 * ROUGH,
    "hidden at first": torch.cat((torch.full((2 * 4096,), -math.inf), ROUGH[:37])),
    "hidden at last": torch.cat((ROUGH[:37], torch.full((2 * 4096,), -math.inf))),
    "hidden every second": torch.where(torch.arange(LONG) % 2 == 0, -math.inf, ROUGH),
    "equal": torch.full((LONG,), 5.0),
}
EVERY = torch.stack([row.double() for row in ROWS.values()])


def agree(found: Values, definition: Definition, tensors: dict[str, Values]) -> None:
    """Check a result against the formula within the bound of its running error."""
    layer = definition.variants[0].layer
    held = {name: tensor.double().clamp_min(-1e30) for name, tensor in tensors.items()}  # the bound of -inf is inf
    target = FORMATS[str(found.dtype).removeprefix("torch.")]
    sizes = {"N": EVERY.shape[0], "I": LONG}
    expected = bounded_values(layer, held, sizes, RunningError(target, Tensors()))["output"]
    bound = RunningError(target, Tensors()).stored(expected).error
    assert bound.isfinite().all()
    assert ((found.double() - expected.value).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_rows_lie_within_the_bound(functions: Any, dtype: torch.dtype) -> None:
    """The largest element in every place; very different rows side by side; parts of rows, and lanes, that are -inf."""
    x, v = EVERY.to(dtype), torch.randn(EVERY.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    agree(functions.logsumexp(x), DEFINITIONS["logsumexp"], {"input": x})
    agree(functions.pooled(x, v), DEFINITIONS["pooled"], {"input": x, "values": v})
    agree(functions.without_first(x), DEFINITIONS["without_first"], {"input": x})


@pytest.mark.parametrize("place", [0, 5000, LONG - 1])
@pytest.mark.parametrize("special", [math.nan, math.inf])
def test_what_is_not_finite_is_as_in_a_row_that_fits(functions: Any, special: float, place: int) -> None:
    """It changes its own row, wherever it stands, as it does where the maximum is found first."""
    x = torch.stack([ROUGH, ROUGH, ROUGH]).float()
    x[1, place] = special
    short = torch.tensor([[0.5, 1.0, 2.0], [0.5, special, 2.0], [0.5, 1.0, 2.0]])
    for function in (functions.logsumexp, lambda y: functions.pooled(y, torch.ones_like(y))):
        found, fitting = function(x), function(short)
        assert found.isnan().equal(fitting.isnan())
        assert found[1].isnan()
        assert found[[0, 2]].isfinite().all()


def test_rows_of_nothing_but_minus_infinity(functions: Any) -> None:
    """Their log-sum-exp is -inf, and their mean 0 / 0; rows beside them are not concerned."""
    x = torch.stack([torch.full((LONG,), -math.inf), ROUGH.float(), torch.full((LONG,), -math.inf)])
    assert functions.logsumexp(x).isneginf().tolist() == [True, False, True]
    assert functions.pooled(x, torch.ones_like(x)).isnan().tolist() == [True, False, True]


def test_the_lowest_number_is_no_minus_infinity(functions: Any) -> None:
    """Masks write it, too: a row of it has the mean of its values."""
    for dtype in (torch.float32, torch.float64):
        x = torch.full((2, LONG), torch.finfo(dtype).min, dtype=dtype)
        v = torch.ones_like(x)
        torch.testing.assert_close(functions.pooled(x, v), torch.ones(2, dtype=dtype))
