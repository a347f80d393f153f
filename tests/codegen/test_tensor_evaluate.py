"""Evaluation over tensors agrees with the literal evaluation, value by value and bound by bound."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch

from svertka.codegen.verify import tensor_evaluate
from svertka.codegen.verify.cases import Case, cases, large_case
from svertka.codegen.verify.equivalence import draw_values, real
from svertka.codegen.verify.sampling import at, lanes_needed
from svertka.codegen.verify.symbolic.small import small_cases
from svertka.codegen.verify.tensor_evaluate import evaluate_tensors
from svertka.codegen.verify.tensor_numbers import Tensors, philox_uniform
from svertka.spec import (
    FORMATS,
    Array,
    Equation,
    Layer,
    RunningError,
    Tensor,
    adjoint,
    axis,
    evaluate,
    maximum,
    minimum,
    normal_form,
    number,
)
from svertka.spec.arithmetic import uniform
from svertka.spec.definition import Definition, Variant
from svertka.spec.evaluate import shape_of
from svertka.spec.layers import DEFINITIONS
from svertka.spec.running_error import Bounded

FORMULAS = [(d, v) for d in DEFINITIONS.values() for v in d.variants]
UNIT = 2.0**-53


def compare(layer: Layer, case: Case, tensors: dict[str, torch.Tensor]) -> int:
    """Evaluate both ways; values may differ by float64's own rounding, bounds equally little."""
    literal, whole = RunningError(FORMATS["float32"]), RunningError(FORMATS["float32"], Tensors())
    given = {t.name: tensors[t.name].reshape(shape_of(t, case.sizes)) for t in layer.inputs if t.name in tensors}
    arrays = {
        t.name: Array(
            tuple(given[t.name].shape),
            [v if t.kind == "integer" else literal.exact(v) for v in given[t.name].reshape(-1).tolist()],
        )
        for t in layer.inputs
        if t.name in given
    }
    expected = evaluate(layer, arrays, case.sizes, literal)
    found = evaluate_tensors(layer, given, case.sizes, whole)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert_same(found[name], array)
    return sum(len(array.values) for array in expected.values())


def assert_same(found: Any, expected: Array) -> None:
    if not isinstance(found, Bounded):
        assert found.tolist() == torch.tensor(expected.values).reshape(expected.shape).tolist()
        return
    assert tuple(found.value.shape) == expected.shape
    wider = 0
    for value, error, right in zip(
        found.value.reshape(-1).tolist(), found.error.reshape(-1).tolist(), expected.values, strict=True
    ):
        close = max(right.error * 1e-4, 64 * UNIT * abs(right.value))
        assert value == right.value or math.isnan(right.value) or abs(value - right.value) <= close
        same = error == right.error or abs(error - right.error) <= 1e-3 * right.error + 1e-300
        assert same or error > right.error
        wider += not same
    assert (
        wider <= 1 + len(expected.values) // 10
    )  # the literal evaluation does not know that a comparison is uncertain


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("definition", "variant"), FORMULAS, ids=[v.layer.name for _, v in FORMULAS])
def test_as_the_literal_evaluation(definition: Definition, variant: Variant) -> None:
    layer = variant.layer
    for case in small_cases(definition, variant):
        values = draw_values(definition, layer, case, real)
        names = [name for name in definition.differentiable(layer) if name in values.tensors]
        results = definition.real_results(layer)
        for equations in (layer, adjoint(layer, names, results)):
            assert compare(equations, case, values.all) > 0


def test_lanes_in_several_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = DEFINITIONS["convolution_1d"]
    case = next(iter(cases(definition, definition.variants[0])))
    layer = definition.variants[0].layer
    values = draw_values(definition, layer, case, real)
    run = partial(evaluate_tensors, layer, sizes=case.sizes, arithmetic=RunningError(FORMATS["float32"], Tensors()))
    given = {t.name: values.all[t.name].reshape(shape_of(t, case.sizes)) for t in layer.inputs}
    whole = run(tensors=given)["output"]
    monkeypatch.setattr(tensor_evaluate, "LANES", 50)
    parts = run(tensors=given)["output"]
    assert torch.equal(whole.value, parts.value)
    assert torch.equal(whole.error, parts.error)


@pytest.mark.parametrize(("definition", "variant"), FORMULAS, ids=[v.layer.name for _, v in FORMULAS])
def test_some_elements_alone_are_the_same(
    definition: Definition, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intermediates are evaluated only where they are read, forward and backward."""
    case, layer = small_cases(definition, variant)[0], variant.layer
    values = draw_values(definition, layer, case, real)
    names = [name for name in definition.differentiable(layer) if name in values.tensors]
    arithmetic = RunningError(FORMATS["float32"], Tensors())
    for equations in (layer, adjoint(layer, names, definition.real_results(layer))):
        given = {
            t.name: values.all[t.name].reshape(shape_of(t, case.sizes))
            for t in equations.inputs
            if t.name in values.all
        }
        with monkeypatch.context() as patch:
            whole = evaluate_tensors(equations, given, case.sizes, arithmetic)
            places = {name: torch.tensor([0, _size(found) - 1, _size(found) // 2, 0]) for name, found in whole.items()}
            patch.setattr(tensor_evaluate, "LANES", 3)
            some = evaluate_tensors(equations, given, case.sizes, arithmetic, places)
        for name, found in some.items():
            expected = at(whole[name], places[name])
            if isinstance(found, Bounded):
                assert torch.allclose(found.value, expected.value, rtol=1e-13, atol=1e-13, equal_nan=True)
                assert torch.allclose(found.error, expected.error, rtol=1e-6, atol=1e-300, equal_nan=True)
            else:
                assert torch.equal(found, expected)


def _size(found: Any) -> int:
    return int((found.value if isinstance(found, Bounded) else found).numel())


@pytest.mark.parametrize("name", ["convolution_2d", "softmax", "batch_normalization"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_some_elements_take_no_more_loops_than_they_reach(
    name: str, backward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few elements of a large result: the predicted number of loop elements, far below the total."""
    definition, samples = DEFINITIONS[name], 16
    variant = definition.variants[0]
    results = definition.real_results(variant.layer)
    sizes = {**large_case(definition, variant).sizes, "A": 64, "B": 16, "M": 64}
    layer = variant.layer.only(results)
    if backward:
        layer = adjoint(layer, definition.differentiable(layer)[:1], results)
    given = {t.name: torch.randn(shape_of(t, sizes), dtype=torch.float64) for t in layer.inputs}
    loops: list[int] = []

    class Counted(tensor_evaluate._Chunk):
        def __post_init__(self) -> None:
            super().__post_init__()
            loops.append(self.results * self.depth)

    monkeypatch.setattr(tensor_evaluate, "_Chunk", Counted)
    monkeypatch.setattr(tensor_evaluate, "LANES", 1 << 12)
    elements = {n: math.prod(shape_of(layer.tensors[n], sizes)) for n in layer.outputs}
    places = {n: torch.arange(samples) * 7 % count for n, count in elements.items()}
    evaluate_tensors(layer, given, sizes, RunningError(FORMATS["float32"], Tensors()), places)
    foretold = lanes_needed(layer, sizes, samples)
    small = (1 << 12) * len(normal_form(layer).equations)  # small equations are evaluated completely
    assert sum(loops) <= foretold + small
    assert 5 * foretold < lanes_needed(layer, sizes, max(elements.values()))


def test_a_comparison_that_rounding_may_turn_round_is_covered_both_ways() -> None:
    """Relu of a difference that is 0 up to rounding: its gradient may be 0 or 1."""
    i = axis("i", many=True)
    x, scale, y = Tensor("x", i), number("scale"), Tensor("y", i)
    layer = Layer("kink", (x,), (Equation(y, maximum(x[i] * scale - 1, 0)),), ("y",))
    back = adjoint(layer)
    given = {"x": torch.tensor([3.0, 5.0], dtype=torch.float64), "grad_y": torch.ones(2, dtype=torch.float64)}
    found = evaluate_tensors(back, given, {"I": 2, "scale": 1 / 3}, RunningError(FORMATS["float32"], Tensors()))
    near, far = found["grad_x"].error.tolist()
    assert near >= 1 / 3
    assert far < 1e-6


@pytest.mark.parametrize(("choose", "sign"), [(maximum, -1), (minimum, 1)])
def test_the_side_not_taken_may_be_off_by_more(choose: Any, sign: int) -> None:
    """Near a tie the exact branch is taken, but a rounded evaluation may take the other."""
    i = axis("i", many=True)
    x, scale, y = Tensor("x", i), number("scale"), Tensor("y", i)
    layer = Layer("beside", (x,), (Equation(y, choose(x[i], (x[i] * scale) / scale * (1 + sign * 2.0**-30))),), ("y",))
    literal = evaluate(
        layer, {"x": Array((1,), [Bounded(1.5, 0.0)])}, {"I": 1, "scale": 1 / 3}, RunningError(FORMATS["float32"])
    )
    given = {"x": torch.tensor([1.5], dtype=torch.float64)}
    whole = evaluate_tensors(layer, given, {"I": 1, "scale": 1 / 3}, RunningError(FORMATS["float32"], Tensors()))
    for value, error in (
        (literal["y"].values[0].value, literal["y"].values[0].error),
        (whole["y"].value, whole["y"].error),
    ):
        assert float(value) == 1.5
        assert float(error) >= 1.5 * 2.0**-24


def test_the_random_field() -> None:
    places = [0, 1, 2, 3, 4, 5, 1001, 2**33 + 7]
    for seed in (0, 5, 2**40 + 123):
        found = philox_uniform(seed, torch.tensor(places)).tolist()
        assert found == [uniform(seed, place) for place in places]
