"""Formulas that no layer has, through every stage: derived, printed, imported, run, compared."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Expr, Rational, exp, log, sqrt, tanh

from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.verify.cases import Case
from svertka.spec import ArgMax, Equation, FloorDiv, Layer, Max, Select, Sum, Tensor, axes, integer, maximum, minimum
from svertka.spec.definition import Definition

from .harness import misses, of_case, outcome
from .scratch import defined, failures, scratch
from .tiles import SMALL_TILES, tiles

a, b, c = axes("a b c")
n, h, w, p, q, r, s = axes("n h w p q r s")
j = b.twin("j")
x, y = Tensor("x", a, b), Tensor("y", b, c)
out = Tensor("out", a, b)


def _layer(name: str, value: Expr, target: Tensor, *inputs: Tensor) -> Layer:
    return Layer(name, inputs or (x,), (Equation(target, value),), (target.name,))


def _depthwise() -> Definition:
    stride = integer("stride", positive=True)
    image, kernel = Tensor("image", n, c, h, w), Tensor("kernel", c, r, s)
    made = Tensor("made", n, c, p, q)
    value = Sum(image[n, c, stride * p + r, stride * q + s] * kernel[c, r, s], r, s)
    layer = Layer("depthwise", (image, kernel), (Equation(made, value),), ("made",))
    fits = {o.extent.name: FloorDiv(e.extent - k.extent, stride) + 1 for o, e, k in ((p, h, r), (q, w, s))}
    return defined(layer, fits)


FORMULAS = {
    "everything": (_layer("everything", Sum(x[a, b] ** 2, a, b), Tensor("out")), LoopPattern.ROW),
    "total_of_rows": (_layer("total_of_rows", Sum(x[a, b], b), Tensor("out", a)), LoopPattern.ROW),
    "total_of_columns": (_layer("total_of_columns", Sum(x[a, b], a), Tensor("out", b)), LoopPattern.ROW),
    "largest": (_layer("largest", Max(x[a, b], b), Tensor("out", a)), LoopPattern.ROW),
    "outer": (
        _layer("outer", x[a, b] * y[b, c], Tensor("out", a, b, c), x, y),
        LoopPattern.POINTWISE,
    ),
    "diagonal": (
        _layer("diagonal", Sum(x[a, b] * Tensor("z", a, b)[a, b], b), Tensor("out", a), x, Tensor("z", a, b)),
        LoopPattern.ROW,
    ),
    "weighted_product": (
        _layer(
            "weighted_product", Sum(x[a, b] * y[b, c] * Tensor("z", b)[b], b), Tensor("out", a, c), x, y, Tensor("z", b)
        ),
        LoopPattern.CONTRACTION,
    ),
    "affine": (
        _layer(
            "affine",
            maximum(Sum(x[a, b] * y[b, c], b) + Tensor("z", c)[c], 0),
            Tensor("out", a, c),
            x,
            y,
            Tensor("z", c),
        ),
        LoopPattern.CONTRACTION,
    ),
    "functions": (
        _layer("functions", tanh(x[a, b]) * exp(-(x[a, b] ** 2)) + abs(x[a, b]) / 3, out),
        LoopPattern.POINTWISE,
    ),
    "powers": (
        _layer(
            "powers",
            sqrt(x[a, b] ** 2 + 1) + (x[a, b] ** 2 + 1) ** Rational(-3, 2) + (x[a, b] ** 2 + 1) ** Rational(1, 3),
            out,
        ),
        LoopPattern.POINTWISE,
    ),
    "clipped": (_layer("clipped", minimum(maximum(x[a, b], -Rational(1, 2)), 1) / 3, out), LoopPattern.POINTWISE),
    "indices": (_layer("indices", x[a, b] * (2 * a - b) + Select(a < b, 1, x[a, b]), out), LoopPattern.POINTWISE),
    "centred": (_layer("centred", x[a, b] - Sum(x[a, j], j) / b.extent, out), LoopPattern.ROW),
    "spread": (_layer("spread", log(Sum(exp(x[a, b]), b)) ** 2, Tensor("out", a)), LoopPattern.ROW),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str, device: str) -> None:
    layer, pattern = FORMULAS[name]
    with scratch(defined(layer)) as made:
        forward = made.module.programs[0][0]
        assert pattern in {launch.kernel.pattern for launch in forward.launches}
        assert not failures(made, device)
        with tiles(SMALL_TILES, made.package):
            assert not failures(made, device, "float64")


def test_depthwise_convolution_is_a_window(device: str) -> None:
    """Both factors have the channel index, so there is no matrix product."""
    with scratch(_depthwise()) as made:
        patterns = [launch.kernel.pattern for launch in made.module.programs[0][0].launches]
        assert patterns == [LoopPattern.WINDOW]
        assert not failures(made, device)
        assert not failures(made, device, "integer")


def _argmax() -> Definition:
    position = Tensor("place", a, kind="integer")
    equations = (Equation(position, ArgMax(x[a, b], b)), Equation(Tensor("out", a), Max(x[a, b], b)))
    return defined(Layer("first", (x,), equations, ("place", "out")))


@pytest.mark.parametrize("small", [False, True])
def test_argmax_over_rows(device: str, small: bool) -> None:
    """The first of equal elements; NaN is larger than all, and the last NaN is taken; in one chunk and in several."""
    values = torch.tensor([[1.0, 5, 5, 2, 5], [0, 0, 0, 0, 0], [-7, -3, math.nan, 9, math.nan], [4, 3, 2, 1, 4]])
    rows = torch.cat([values, values.flip(1), torch.full((1, 5), -math.inf)]).repeat(1, 9)
    with scratch(_argmax()) as made:
        patterns = {launch.kernel.pattern for launch in made.module.programs[0][0].launches}
        assert patterns == {LoopPattern.ROW}
        assert not failures(made, device)
        if small:
            with tiles(SMALL_TILES, made.package):
                place, largest = made.kernels.first_forward(rows.to(device))
        else:
            place, largest = made.kernels.first_forward(rows.to(device))
    assert place.tolist() == [1, 0, 44, 0, 0, 0, 42, 0, 0]
    assert torch.equal(largest.cpu().nan_to_num(nan=1e9), rows.amax(1).nan_to_num(nan=1e9))


@pytest.mark.parametrize("small", [False, True])
def test_gradient_of_a_row_maximum_with_nan(device: str, small: bool) -> None:
    """The last NaN of a row gets the whole gradient."""
    layer, _ = FORMULAS["largest"]
    rows = torch.tensor([[1.0, math.nan, 3, math.nan], [2, 2, 1, 0]]).repeat(1, 20)
    with scratch(defined(layer)) as made:
        program = made.kernels.largest_backward
        saved = made.kernels.largest_forward(rows.to(device), save=True)[1:]
        seed = torch.tensor([5.0, 7.0], device=device)
        chosen = SMALL_TILES if small else {}
        with tiles(chosen, made.package):
            (gradient,) = program(seed, rows.to(device), *saved, wanted=(True,))
    expected = torch.zeros_like(rows)
    expected[0, 79], expected[1, 0] = 5.0, 7.0
    assert torch.equal(gradient.cpu(), expected)


def test_a_sum_over_nothing_is_zero(device: str) -> None:
    layer, _ = FORMULAS["everything"]
    with scratch(defined(layer)) as made:
        (total,) = made.kernels.everything_forward(torch.empty(0, 3, device=device))
    assert total.item() == 0.0
    assert total.shape == ()


def test_harness_sees_a_wrong_formula(device: str) -> None:
    """The comparison fails if kernel and formula differ."""
    layer, _ = FORMULAS["total_of_rows"]
    other = _layer("total_of_rows", Sum(x[a, b], b) * Rational(1001, 1000), Tensor("out", a))
    with scratch(defined(layer)) as made, scratch(defined(other)) as altered:
        case = Case("planted", {"A": 3, "B": 5}, frozenset())
        given = of_case(made.module, made.module.definition.variants[0], case, "float32")
        found = outcome(given, altered.kernels, torch.float32, device)
        assert len(misses(found, given.expected(), torch.float32)) == 3  # twice forward, once backward
