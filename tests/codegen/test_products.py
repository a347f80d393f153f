"""Products: running ones, over rows and windows, their gradients where factors are 0, and linear recurrences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import Ne
from torch import Tensor as Values

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.emit.torch_printer import formula_functions
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ir.scans import as_scan
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.passes.pipeline import through
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, FloorDiv, Layer, Prod, Select, Sum, Tensor, adjoint, axes, axis, define, integer
from svertka.spec.definition import Definition

from ..examples.conftest import packaged
from .planted import judged
from .test_scans import MASK, ROUNDING, drawn, shifted

b, c, i, q, s = axes("b c i q s")
n = axis("n", many=True)
j, k = i.twin("j"), i.twin("k")
flat, deep, matrix = Tensor("input", n, i), Tensor("input", b, i, c), Tensor("input", b, i)
decay, mask = Tensor("decay", b, i), Tensor("mask", b, i, kind="integer")
stride = integer("stride", positive=True)


def defined(name: str, inputs: tuple[Tensor, ...], output: Tensor, value: Any, **how: Any) -> Definition:
    return define(Layer(name, inputs, (Equation(output, value),), ("output",)), **how)


DEFINITIONS = {
    definition.name: definition
    for definition in (
        defined("cumprod", (flat,), flat.like("output"), Prod(flat[n, j], j, where=j <= i)),
        defined("exclusive", (deep,), deep.like("output"), Prod(deep[b, j, c], j, where=j > i)),
        defined(
            "masked",
            (matrix, mask),
            matrix.like("output"),
            Prod(Select(Ne(mask[b, j], 0), matrix[b, j], 1), j, where=j <= i),
        ),
        defined("of_rows", (deep,), Tensor("output", b, c), Prod(deep[b, i, c], i)),
        defined(
            "of_windows",
            (matrix,),
            Tensor("output", b, q),
            Prod(matrix[b, stride * q + s - 1], s),
            extents={"Q": FloorDiv(i.extent + 2 - s.extent, stride) + 1},
            arguments={"S": "kernel_size"},
        ),
        defined(
            "recurrence",
            (matrix, decay),
            matrix.like("output"),
            Sum(matrix[b, j] * Prod(decay[b, k], k, where=(j < k) & (k <= i)), j, where=j <= i),
        ),
    )
}
LINEAR = ("cumprod", "exclusive", "masked", "of_rows", "recurrence")  # forward and backward
LONG = 2 * 4096 + 37  # elements of a row that takes three tiles, of which the last has a tail


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One package of all definitions."""
    with packaged(tmp_path_factory.mktemp("products") / "all", list(DEFINITIONS.values())) as made:
        yield made


# Work ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_no_kernel_has_quadratic_work(name: str) -> None:
    """No two of a kernel's indices are twins, and nothing of two such indices is stored between kernels."""
    module = build(DEFINITIONS[name])
    for kernel in module.kernels:
        assert not list(violations(kernel))
        extents = [extent.extent for axes in (kernel.rows, kernel.columns) for extent in axes.order]
        assert len(extents) == len(set(extents)), kernel.name
        assert all(len(tensor.axes) <= 3 for tensor in kernel.tensors)
    for function in formula_functions(DEFINITIONS[name], DEFINITIONS[name].variants[0]):
        assert "cumprod" in function or "_step" in function or name == "of_rows"


def test_a_recurrence_is_one_scan() -> None:
    forward = build(DEFINITIONS["recurrence"]).programs[0][0]
    assert [launch.kernel.pattern for launch in forward.launches] == [LoopPattern.SCAN]


@pytest.mark.parametrize(
    ("between", "side", "step", "reverse"),
    [
        ((j < k) & (k <= i), j <= i, 0, False),
        ((j <= k) & (k < i), j <= i, -1, False),
        ((j < k) & (k < i), j < i, -1, False),
        ((j <= k) & (k <= i), j <= i, None, False),
        ((j < k) & (k < i), j <= i, None, False),
        ((i < k) & (k <= j), j >= i, 1, True),
        ((i <= k) & (k < j), j >= i, 0, True),
        ((i < k) & (k < j), j > i, 1, True),
        ((i < k) & (k <= j), j > i, None, True),
        ((i < k) & (k <= j), j <= i, None, False),
        (j < k, j <= i, None, False),
    ],
)
def test_a_recurrence_has_one_factor_more_at_each_place(
    between: Any, side: Any, step: int | None, reverse: bool
) -> None:
    """Where it has not, the sum of the terms and of the products between is no recurrence of one step."""
    value = Sum(matrix[b, j] * Prod(decay[b, k], k, where=between), j, where=side)
    scan = as_scan(Equation(matrix.like("output"), value))
    assert (scan is None) == (step is None)
    if scan is not None:
        assert scan.step is not None
        assert (scan.reverse, scan.step.body) == (reverse, decay[b, i + step])


def test_the_gradient_of_a_running_product_is_a_recurrence() -> None:
    layer = through(adjoint(DEFINITIONS["cumprod"].variants[0].layer), "recurrences")
    scans = [as_scan(equation) for equation in layer.equations]
    found = [(scan.reverse, scan.step is not None) for scan in scans if scan is not None]
    assert found == [(False, False), (True, True)]


def test_the_gradient_of_a_recurrence_is_of_three_recurrences() -> None:
    """Those of what is added, of what was before, and of what is behind; the last two are multiplied."""
    layer = through(adjoint(DEFINITIONS["recurrence"].variants[0].layer), "recurrences")
    scans = [as_scan(equation) for equation in layer.equations]
    assert [scan.reverse for scan in scans if scan is not None and scan.step is not None] == [True, True, False]
    assert len(scans) == 4


# Proof ---------------------------------------------------------------------------------------------------------------


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_level_holds(name: str) -> None:
    definition = DEFINITIONS[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures
    assert {outcome.level for outcome in verdict.outcomes if outcome.holds} == LEVELS.keys()


FAULTS = (
    ("cumprod", "cumprod(element, 1)", "cumprod(element, 1, reverse=True)"),
    ("cumprod", "cumprod(element, 1)", "cumsum(element, 1)"),
    ("cumprod", "== COLUMNS - 1, output", "== 0, output"),
    ("cumprod", "== 0, grad_input_sum", "== COLUMNS - 1, grad_input_sum"),
    ("cumprod", "output = carry_output * ", "output = "),
    ("of_rows", "tl.where(live_column, input_value, 1.0)", "tl.where(live_column, input_value, 0.0)"),
    ("cumprod", "recurrence, reverse=True", "recurrence"),
    ("cumprod", "next_factor * value + next_value", "factor * value + next_value"),
    ("cumprod", "next_factor * value + next_value", "next_factor * next_value + value"),
    ("cumprod", "return factor * next_factor", "return factor"),
    ("cumprod", "chunk == 0, 0.0, step * carry", "chunk != 0, 0.0, step * carry"),
    ("cumprod", "step * carry_grad_input_sum", "carry_grad_input_sum"),
    ("cumprod", "(1 + i) * input_stride_i", "i * input_stride_i"),
    ("cumprod", "grad_input_product_value * grad_input_sum", "grad_input_sum"),
    ("masked", "mask_value != 0", "mask_value == 0"),
    ("of_rows", "== COLUMNS - 1, tl.cumprod", "== 0, tl.cumprod"),
    ("of_windows", "1.0)", "0.0)"),
)


@pytest.mark.thinned(6)
@pytest.mark.parametrize(("name", "text", "fault"), FAULTS)
def test_a_fault_is_found(name: str, text: str, fault: str) -> None:
    """Wrong direction, wrong carry, a factor too many or too few."""
    assert judged(DEFINITIONS[name], text, fault, file=f"{name}.py", most=1).failures


# Numbers -------------------------------------------------------------------------------------------------------------


def gradients(function: Any, x: Values, seed: Values) -> tuple[Values, Values]:
    """A result and the gradient of its argument."""
    leaf = x.detach().clone().requires_grad_()
    y = function(leaf)
    return y.detach(), torch.autograd.grad(y, leaf, seed)[0]


ZEROS = [
    [2.0, -3.0, 0.0, 5.0, -1.0],
    [0.0, 3.0, 4.0, 0.0, 2.0],
    [0.0, 0.0, 0.0, 0.0, 0.0],
    [1.0, 2.0, 3.0, 4.0, 0.0],
]


@pytest.mark.parametrize("dtype", ROUNDING)
def test_the_gradient_is_exact_where_factors_are_zero(dtype: torch.dtype, functions: Any) -> None:
    """Whole numbers, of which no product rounds: torch's gradient to the last bit, for one zero or several."""
    x, seed = torch.tensor(ZEROS, dtype=dtype), torch.arange(1.0, 21.0, dtype=dtype).reshape(4, 5)
    ours, theirs = gradients(functions.cumprod, x, seed), gradients(lambda v: v.cumprod(-1), x, seed)
    assert ours[0].equal(theirs[0])
    assert ours[1].equal(theirs[1])
    behind, of_torch = x.flip(-1), lambda v: shifted(v.flip(1).cumprod(1).flip(1).mT, 1).mT + last(v)
    ours = gradients(functions.exclusive, behind[:, :, None], seed[:, :, None])
    theirs = gradients(of_torch, behind[:, :, None], seed[:, :, None])
    assert ours[0].equal(theirs[0])
    assert ours[1].equal(theirs[1])
    ours = gradients(functions.of_rows, x[:, :, None], seed[:, :1])
    theirs = gradients(lambda v: v.prod(1), x[:, :, None], seed[:, :1])
    assert ours[0].equal(theirs[0])
    assert ours[1].equal(theirs[1])


def last(values: Values) -> Values:
    """1 at the last place of the middle axis, which is the empty product, else 0."""
    return torch.zeros_like(values).index_fill(1, torch.tensor([values.shape[1] - 1]), 1.0)


def test_a_mask_leaves_factors_out(functions: Any) -> None:
    x = torch.tensor(ZEROS[:3])
    x[0, 1] = math.nan
    assert functions.masked(x, MASK).equal(torch.where(MASK != 0, x, 1.0).cumprod(-1))


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_in_no_product_before_it(special: float, functions: Any) -> None:
    x = torch.tensor([[1.0, 2.0, special, 3.0, -2.0], [0.5, 0.0, special, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0, special]])
    torch.testing.assert_close(functions.cumprod(x), x.cumprod(-1), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_long_rows_carry_from_tile_to_tile(dtype: torch.dtype, functions: Any) -> None:
    """Factors near 1: each result has at most one rounding a factor, each gradient two a factor and one a term."""
    x = (1 + drawn((2, LONG), 3).clamp(-3, 3) / LONG).to(dtype)
    seed = drawn((2, LONG), 4).to(dtype)
    found, gradient = gradients(functions.cumprod, x, seed)
    exact, slope = gradients(lambda v: v.cumprod(-1), x.double(), seed.double())
    _, sizes = gradients(lambda v: v.cumprod(-1), x.double(), seed.double().abs())
    unit = ROUNDING[dtype] + ROUNDING[torch.float64]
    assert ((found.double() - exact).abs() <= grown(LONG, unit) * exact.abs()).all()
    assert ((gradient.double() - slope).abs() <= grown(4 * LONG, unit) * sizes).all()


def grown(roundings: int, unit: float) -> float:
    """The largest relative error of so many roundings."""
    return roundings * unit / (1 - roundings * unit)


def test_a_recurrence_is_that_of_a_loop(functions: Any) -> None:
    """Whole numbers of which nothing rounds; a decay of 0 forgets all that was before."""
    x = torch.arange(24.0).reshape(2, 12) % 7 - 3
    factors = torch.arange(24.0).reshape(2, 12) % 4 - 1
    state, expected = torch.zeros(2), []
    for place in range(12):
        state = factors[:, place] * state + x[:, place]
        expected.append(state)
    assert functions.recurrence(x, factors).equal(torch.stack(expected, 1))


def test_windows_leave_padding_out(functions: Any) -> None:
    x = torch.arange(1.0, 11.0).reshape(2, 5)
    padded = torch.nn.functional.pad(x, (1, 1), value=1.0).unfold(1, 3, 2).prod(-1)
    assert functions.of_windows(x, kernel_size=3, stride=2).equal(padded)
