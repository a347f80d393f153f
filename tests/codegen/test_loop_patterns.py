"""An equation's indices alone decide its loop pattern."""

from __future__ import annotations

import pytest
from sympy import exp

from svertka.codegen.ir.loop_patterns import LoopPattern, as_contraction, constant_extents, loop_pattern
from svertka.codegen.passes.inline import inline_maps
from svertka.spec import Equation, Layer, Max, Sum, Tensor, adjoint, axes, inside, integer, normal_form
from svertka.spec.layers import DEFINITIONS

a, b, c, d, k, r = axes("a b c d k r")
x, y, z = Tensor("x", a, b), Tensor("y", b, c), Tensor("z", a, c)
cube, wide = Tensor("cube", d, a, b), Tensor("wide", d, b, c)
stride = integer("stride", positive=True)
line, kernel = Tensor("line", a), Tensor("kernel", r)

EQUATIONS = {
    "map": (Tensor("o", a, b), exp(x[a, b]), LoopPattern.POINTWISE),
    "row": (Tensor("o", a), Sum(x[a, b], b), LoopPattern.ROW),
    "maximum": (Tensor("o", a), Max(x[a, b] * y[b, 0], b), LoopPattern.ROW),
    "everything": (Tensor("o"), Sum(x[a, b], a, b), LoopPattern.ROW),
    "product": (Tensor("o", a, c), Sum(x[a, b] * y[b, c], b), LoopPattern.CONTRACTION),
    "batched product": (Tensor("o", d, a, c), Sum(cube[d, a, b] * wide[d, b, c], b), LoopPattern.CONTRACTION),
    "vector product": (Tensor("o", a), Sum(x[a, b] * kernel[b], b), LoopPattern.ROW),
    "square": (Tensor("o", a), Sum(x[a, b] ** 2, b), LoopPattern.ROW),
    "sliding": (Tensor("o", k), Sum(line[stride * k + r] * kernel[r], r), LoopPattern.WINDOW),
    "guarded": (Tensor("o", k), Sum(kernel[r], r, where=inside(k - r, a.extent)), LoopPattern.WINDOW),
    "guard on one side": (
        Tensor("o", a, c),
        Sum(x[a, b] * y[b, c], b, where=inside(a - b, d.extent)),
        LoopPattern.CONTRACTION,
    ),
    "computed weights": (Tensor("o", a, c), Sum(x[a, b] * exp(b * c), b), LoopPattern.CONTRACTION),
    "computed weights under a guard": (
        Tensor("o", a, c),
        Sum(x[a, b] * exp(b * c), b, where=inside(c - b, d.extent)),
        LoopPattern.WINDOW,
    ),
    "sum of two products with a common factor": (
        Tensor("o", d, a, c),
        Sum(cube[d, a, b] * wide[d, b, c] - cube[d, a, b] ** 2 * y[a, 0] * wide[d, b, c], b),
        LoopPattern.CONTRACTION,
    ),
    "sum of two products with none": (
        Tensor("o", a, c),
        Sum(x[a, b] * y[b, c] + x[a, b] ** 2 * y[c, b], b),
        LoopPattern.ROW,
    ),
    "guard between sides": (
        Tensor("o", a, c),
        Sum(x[a, b] * y[b, c], b, where=inside(a - c, d.extent)),  # the condition couples m and n
        LoopPattern.ROW,
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_family(name: str) -> None:
    target, value, expected = EQUATIONS[name]
    assert loop_pattern(Equation(target, value)) == expected


def test_indices_of_a_product() -> None:
    split = as_contraction(Equation(Tensor("o", d, a, c), Sum(cube[d, a, b] * wide[d, b, c], b)))
    assert split is not None
    assert (split.batch, split.m, split.n) == ((d,), (a,), (c,))
    assert (str(split.left), str(split.right)) == ("cube[d, a, b]", "wide[d, b, c]")


def test_the_left_side_owns_the_first_axis_of_the_result() -> None:
    turned = as_contraction(Equation(Tensor("o", c, a), Sum(x[a, b] * y[b, c], b)))
    assert turned is not None
    assert (turned.m, turned.n) == ((c,), (a,))


def test_fewest_batch_indices_win() -> None:
    """A factor that depends only on the batch is placed so that no more indices become common."""
    scale = Tensor("scale", a)
    split = as_contraction(Equation(Tensor("o", a, c), Sum(scale[a] * x[a, b] * y[b, c], b)))
    assert split is not None
    assert split.batch == ()


def test_windows_are_compile_time_constants() -> None:
    layer = Layer("w", (line, kernel), (Equation(Tensor("o", k), Sum(line[stride * k + r] * kernel[r], r)),), ("o",))
    assert constant_extents(normal_form(layer)) == ("R",)


def test_of_two_extents_that_slide_along_each_other_that_of_the_examples_is_no_window() -> None:
    """The gradient of a transposed convolution sums over the window, and over what the window slides along."""
    gradient = normal_form(adjoint(DEFINITIONS["transposed_convolution_2d"].variants[0].layer))
    assert constant_extents(gradient) == ("R", "S")


def contractions(name: str) -> int:
    """Number of kernels of a definition's first variant, forward and backward, that are matrix products."""
    layer = DEFINITIONS[name].variants[0].layer
    whole = (normal_form(layer), normal_form(adjoint(layer)))
    return sum(loop_pattern(e) == LoopPattern.CONTRACTION for one in whole for e in inline_maps(one).equations)


@pytest.mark.parametrize(
    "name", ["convolution_1d", "convolution_2d", "convolution_3d", "transposed_convolution_2d", "linear"]
)
def test_layers_of_products_are_three_of_one_family(name: str) -> None:
    """Forward, gradient of the input, gradient of the weights: one template gives six kernels."""
    assert contractions(name) == 3
