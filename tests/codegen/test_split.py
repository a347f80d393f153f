"""Reduction of few long rows in two steps: equal results, what each kernel reads, and the number of programs."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from sympy import Expr, sqrt

from svertka.codegen.lowering.build import Program, build
from svertka.codegen.passes.centered_sums import without_vanishing
from svertka.codegen.passes.inline import inline_maps
from svertka.codegen.passes.pipeline import merged
from svertka.codegen.passes.split import split
from svertka.codegen.verify.bounds import bounded_values
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.recording import Launched, recorded
from svertka.codegen.verify.tensor_evaluate import evaluate_tensors
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec import (
    FORMATS,
    Array,
    Equation,
    Layer,
    Max,
    Rational,
    Reduction,
    RunningError,
    Select,
    Sum,
    Tensor,
    adjoint,
    axis,
    evaluate,
    inside,
    normal_form,
)
from svertka.spec.layer import reads

from .harness import definition_of, kernels_of, misses, module_of, outcome, problem
from .scratch import defined, failures, scratch

n, c, m = axis("n", batch=True), axis("c"), axis("m", many=True)
i, j = n.twin("i"), m.twin("j")
x, y, w = Tensor("x", n, c, m), Tensor("y", n, c, m), Tensor("w", c)
out = Tensor("out", c)
elements = n.extent * m.extent
mean = Sum(x[i, c, j], i, j) / elements
mean_of_both = Sum(x[i, c, j] - 3 * y[i, c, j] * w[c], i, j) / elements
mean_of_product = Sum(x[i, c, j] * y[i, c, j], i, j) / elements
mean_of_scaled = Sum((w[c] + 1) * (x[i, c, j] + y[i, c, j]), i, j) / elements
other = Sum(y[i, c, j], i, j) / elements

MERGED: dict[str, Expr] = {
    "squares": Sum((x[n, c, m] - mean) ** 2, n, m),
    "weighted squares": Sum(w[c] * (x[n, c, m] - mean) ** 2, n, m) + w[c],
    "squares and deviations": Sum((x[n, c, m] - mean) ** 2 - 5 * x[n, c, m] + 5 * mean, n, m),
    "doubled": Sum((2 * mean - 2 * x[n, c, m]) ** 2, n, m),
    "of a product": Sum((mean_of_product - x[n, c, m] * y[n, c, m]) ** 2, n, m),
    "of an expression": Sum((x[n, c, m] - 3 * y[n, c, m] * w[c] - mean_of_both) ** 2, n, m),
}
IN_TWO_STEPS: dict[str, Expr] = {
    "sum": Sum(x[n, c, m], n, m),
    "product": Sum(x[n, c, m] * y[n, c, m], n, m),
    "where": Sum(x[n, c, m], n, m, where=inside(2 * m - 3, m.extent)),
    "selected": Sum(Select(x[n, c, m] > 0, x[n, c, m], 0), n, m) - Sum(y[i, c, j], i, j),
    "squares about another mean": Sum((x[n, c, m] - other) ** 2, n, m),
    "squares about twice the mean": Sum((x[n, c, m] - 2 * mean) ** 2, n, m),
    "squares of some": Sum((x[n, c, m] - mean) ** 2, n, m, where=inside(m - 1, m.extent)),
    "squares of what was scaled": Sum((x[n, c, m] - mean_of_scaled) ** 2, n, m),
    "cubes": Sum((x[n, c, m] - mean) ** 3, n, m),
    "weighted along the row": Sum(y[n, c, m] * (x[n, c, m] - mean) ** 2, n, m),
}
SIZES = ((3, 2, 5), (1, 3, 4), (4, 2, 1), (2, 1, 3), (1, 2, 1), (0, 2, 3), (3, 2, 0))


def layer_of(value: Expr) -> Layer:
    inputs = tuple(t for t in (x, y, w) if t.name in {read.tensor for read in reads(value)})
    return Layer("few_rows", inputs, (Equation(out, value),), ("out",))


def prepared(layer: Layer) -> Layer:
    return inline_maps(normal_form(layer))


def random_arrays(layer: Layer, sizes: tuple[int, int, int]) -> tuple[dict[str, Array], dict[str, int]]:
    extents = dict(zip("NCM", sizes, strict=True))
    draw = random.Random(str(sizes))

    def array(tensor: Tensor) -> Array:
        shape = tuple(extents[str(index.extent)] for index in tensor.axes)
        return Array.filled(shape, lambda _: Fraction(draw.randint(-9, 9), draw.randint(1, 7)))

    return {tensor.name: array(tensor) for tensor in layer.inputs}, extents


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", [*MERGED, *IN_TWO_STEPS])
def test_the_function_stays(name: str, sizes: tuple[int, int, int]) -> None:
    layer = layer_of((MERGED | IN_TWO_STEPS)[name])
    arrays, extents = random_arrays(layer, sizes)
    before, after = (evaluate(one, arrays, extents, Rational())["out"] for one in (layer, split(prepared(layer))))
    assert after.values == before.values
    assert len(before.values) == sizes[1]


@pytest.mark.parametrize("sizes", [size for size in SIZES if 0 not in size])
def test_a_maximum_stays(sizes: tuple[int, int, int]) -> None:
    layer = layer_of(Max(x[n, c, m], n, m))
    found = split(prepared(layer))
    assert len(found.equations) == 2
    arrays, extents = random_arrays(layer, sizes)
    before, after = (evaluate(one, arrays, extents, Rational())["out"] for one in (layer, found))
    assert after == before


@pytest.mark.parametrize("name", [*MERGED, *IN_TWO_STEPS])
def test_no_row_runs_over_examples_and_more(name: str) -> None:
    found = split(prepared(layer_of((MERGED | IN_TWO_STEPS)[name])))
    sums = [e for e in found.equations if isinstance(e.value, Reduction)]
    assert len(sums) >= 2
    for equation in sums:
        assert len({index.batch for index in equation.value.indices}) == 1
    assert {axis.name for e in sums if not e.value.indices[0].batch for axis in e.target.axes} >= {"c"}


@pytest.mark.parametrize("name", [*MERGED, *IN_TWO_STEPS])
def test_squares_of_deviations_are_merged_and_nothing_else(name: str) -> None:
    """Only squares of deviations are merged, and their parts wait for no total."""
    layer = layer_of((MERGED | IN_TWO_STEPS)[name])
    assert (merged(layer) is not None) == (name in MERGED)
    found = split(prepared(layer))
    totals = {e.target.name for e in found.equations if isinstance(e.value, Reduction) and e.value.indices[0].batch}
    waiting = [
        e.target.name
        for e in found.equations
        if isinstance(e.value, Reduction)
        and not e.value.indices[0].batch
        and totals & {read.tensor for read in reads(e.value)}
    ]
    uses_a_mean = len(totals) > 1 and name != "selected"
    assert bool(waiting) == (uses_a_mean and name not in MERGED)


def test_rows_of_examples_stay_whole() -> None:
    """Reductions per example, or over examples only, have enough rows already or nothing to split."""
    for value, target in ((Sum(x[n, c, m], m), Tensor("out", n, c)), (Sum(x[n, c, m], n), Tensor("out", c, m))):
        layer = prepared(Layer("rows", (x,), (Equation(target, value),), ("out",)))
        assert split(layer) == layer


def test_equal_parts_are_one() -> None:
    """The bound indices of the two sums differ."""
    equations = (
        Equation(Tensor("first", c), Sum(x[n, c, m], n, m)),
        Equation(Tensor("second", c), Sum(x[i, c, j], i, j)),
    )
    found = split(Layer("two", (x,), equations, ("first", "second")))
    assert [e.target.name for e in found.equations] == ["first_part", "first", "second"]


def test_a_sum_of_deviations_vanishes() -> None:
    def sums(value: Expr) -> int:
        layer = without_vanishing(prepared(layer_of(value)))
        return sum(isinstance(e.value, Reduction) for e in layer.equations)

    assert sums(Sum(x[n, c, m] - mean, n, m) * w[c] + w[c]) == 0
    assert sums(Sum(4 * mean - 4 * x[n, c, m], n, m)) == 0
    assert sums(Sum(x[n, c, m] - other, n, m)) == 2
    assert sums(Sum(x[n, c, m] - 2 * mean, n, m)) == 2
    assert sums(Sum((x[n, c, m] - mean) * y[n, c, m], n, m)) == 2
    assert sums(Sum(x[n, c, m] - mean, n, m, where=inside(m - 1, m.extent))) == 2


@pytest.mark.parametrize("sizes", [size for size in SIZES if 0 not in size])
def test_gradients_without_vanishing_sums_are_the_same(sizes: tuple[int, int, int]) -> None:
    layer = adjoint(layer_of(MERGED["weighted squares"]), wrt=["x", "w"], outputs=["out"])
    shorter = without_vanishing(prepared(layer))
    assert len(shorter.equations) < len(prepared(layer).equations)
    arrays, extents = random_arrays(layer, sizes)
    before, after = (evaluate(one, arrays, extents, Rational()) for one in (layer, split(shorter)))
    assert after == before


# Programs -------------------------------------------------------------------------------------------------------------


def programs(layer: str) -> tuple[Program, Program, Program]:
    definition, variant = definition_of(layer)
    module = module_of(definition.name)
    return module.programs[definition.variants.index(variant)]


def read_by(program: Program) -> list[set[str]]:
    """The tensors that every launch reads."""
    return [{t.name for t in launch.kernel.tensors if not t.output} for launch in program.launches]


@pytest.mark.parametrize("layer", ["batch_normalization_training", "batch_normalization_without_estimates"])
def test_the_input_is_read_twice(layer: str) -> None:
    """Once for the statistics and once to apply them; in between only partial results are read."""
    forward, saving, backward = programs(layer)
    assert forward.launches == saving.launches
    assert ["input" in names for names in read_by(forward)] == [True, False, True]
    assert ["grad_output" in names for names in read_by(backward)] == [True, False, True]
    assert ["input" in names for names in read_by(backward)] == [True, False, True]


@pytest.mark.parametrize("last", [False, True])
def test_there_are_programs_for_every_example_and_row(last: bool) -> None:
    """5 examples of 3 channels; channels that are neighbours in memory are rows of one program."""
    definition, variant = definition_of("batch_normalization_training")
    sizes = {"N": 5, "C": 3, "M": 700, "eps": 0.5, "momentum": 0.25}
    case = Case("few rows", sizes, frozenset())
    module, kernels = module_of(definition.name), kernels_of(definition.name)
    _, saving, backward = recorded(module, variant, kernels, case, torch.float32, last)
    launches = [*saving.launches, *backward.launches]
    parts = [launch for launch in launches if launch.kernel.__name__.endswith("_part")]
    assert len(parts) == 2
    for launch in parts:
        assert _covered(launch) >= 5 * 3 > _covered(launch) - launch.constants["ROWS"]
        assert (launch.constants["ROWS"] > 3) == last
    totals = [launch for launch in launches if "SINGLE" in launch.constants and launch not in parts]
    assert [_covered(launch) >= 3 for launch in totals] == [True, True]
    assert all(launch.constants["ROWS"] > 1 for launch in totals)  # parts of neighbouring channels are neighbours


def _covered(launch: Launched) -> int:
    return launch.programs * int(launch.constants["ROWS"])


@pytest.mark.parametrize("name", ["convolution_1d", "convolution_2d", "convolution_3d", "batch_normalization"])
def test_channels_are_the_fastest_rows_of_a_part(name: str) -> None:
    parts = [kernel for kernel in module_of(name).kernels if kernel.name.endswith("_part")]
    assert parts
    for kernel in parts:
        assert kernel.rows.order[0].index == "n"
        assert kernel.rows.order[-1].index in ("c", "k")
        assert kernel.rows.order == kernel.rows.last


# Kernels and bounds ---------------------------------------------------------------------------------------------------


def test_an_altered_formula_is_split_too(device: str) -> None:
    """A spread about the mean of a product, which no layer has: merged, and equal to its formula, gradient included."""
    scaled = Tensor("scaled", n, c, m)
    center = Tensor("center", c)
    equations = (
        Equation(scaled, x[n, c, m] * y[n, c, m]),
        Equation(center, Sum(scaled[n, c, m], n, m) / elements),
        Equation(out, sqrt(w[c] ** 2 + 3 * Sum((center[c] - scaled[n, c, m]) ** 2, n, m))),
    )
    layer = Layer("spread", (x, y, w), equations, ("out",))
    definition = defined(layer)
    (forward, _, backward) = build(definition).programs[0]
    assert [{"x", "y"} <= names for names in read_by(forward)] == [True, False]
    assert [{"x", "y"} <= names for names in read_by(backward)] == [True, False]
    with scratch(definition) as made:
        assert failures(made, device, "float64") == []
        assert failures(made, device) == []


def test_the_larger_bound_counts_where_squares_are_merged() -> None:
    """One example is far from the others: the error of its own mean is larger than that of the mean of all."""
    layer = layer_of(MERGED["squares"])
    given = {"x": torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(5, 2, 6)}
    given["x"][3] += 1000.0
    sizes = {"N": 5, "C": 2, "M": 6}
    arithmetic = RunningError(FORMATS["float32"], Tensors())
    computed = merged(layer)
    assert computed is not None
    formula, kernels, bound = (
        evaluate(one, given, sizes, arithmetic)["out"]
        for evaluate, one in ((evaluate_tensors, layer), (evaluate_tensors, computed), (bounded_values, layer))
    )
    assert torch.equal(bound.value, formula.value)
    assert torch.equal(bound.error, torch.maximum(formula.error, kernels.error))
    assert bool((formula.error > 0).all())
    assert not torch.equal(formula.error, kernels.error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_example_far_from_the_others_stays_within_the_bound(device: str, dtype: torch.dtype) -> None:
    given = problem("batch_normalization_training-1", str(dtype).removeprefix("torch."))
    moved = given.tensors["input"].clone()
    moved[0] += 1024.0
    given = replace(given, tensors={**given.tensors, "input": moved.to(dtype).double()})
    assert len(moved) > 1
    found = outcome(given, kernels_of("batch_normalization"), dtype, device)
    assert misses(found, given.expected(), dtype) == []


def test_the_formula_s_bound_stays_where_sums_are_only_divided() -> None:
    layer = layer_of(IN_TWO_STEPS["product"])
    draw = torch.Generator().manual_seed(7)
    given = {name: torch.randn(4, 3, 5, generator=draw, dtype=torch.float64) for name in ("x", "y")}
    sizes = {"N": 4, "C": 3, "M": 5}
    arithmetic = RunningError(FORMATS["float32"], Tensors())
    bound, formula = (f(layer, given, sizes, arithmetic)["out"] for f in (bounded_values, evaluate_tensors))
    assert torch.equal(bound.error, formula.error)
