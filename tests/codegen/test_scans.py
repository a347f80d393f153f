"""Scans: which sums are computed in one pass, that they are right forward and backward, and that faults are found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import Ne
from torch import Tensor as Values

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.emit.torch_printer import formula_functions
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ir.scans import as_scan, quadratic
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, Layer, Max, Select, Sum, Tensor, adjoint, axes, axis, define, integer
from svertka.spec.definition import Definition

from ..examples.conftest import packaged
from .planted import judged

b, c, i = axes("b c i")
n = axis("n", many=True)
j, k = i.twin("j"), i.twin("k")
flat, deep = Tensor("input", n, i), Tensor("input", b, i, c)
of_flat, of_deep = flat.like("output"), deep.like("output")
weight, mask = Tensor("weight", i), Tensor("mask", b, i, kind="integer")
matrix = Tensor("input", b, i)


def defined(name: str, inputs: tuple[Tensor, ...], output: Tensor, value: Any) -> Definition:
    return define(Layer(name, inputs, (Equation(output, value),), ("output",)))


DEFINITIONS = {
    definition.name: definition
    for definition in (
        defined("cumsum", (flat,), of_flat, Sum(flat[n, j], j, where=j <= i)),
        defined("exclusive_suffix", (flat,), of_flat, Sum(flat[n, j], j, where=j > i)),
        defined("two_behind", (flat,), of_flat, Sum(flat[n, j], j, where=i + 2 <= j)),
        defined("weighted", (deep, weight), of_deep, Sum(deep[b, j, c] * weight[j], j, where=j < i)),
        defined(
            "masked",
            (matrix, mask),
            matrix.like("output"),
            Sum(Select(Ne(mask[b, j], 0), matrix[b, j], 0), j, where=j <= i),
        ),
        defined("of_channels", (deep,), Tensor("output", b, i), Sum(deep[b, j, c], j, c, where=j >= i)),
    )
}
Of = Callable[..., Values]
CALLS: dict[str, tuple[tuple[tuple[int, ...], ...], Of]] = {
    "cumsum": (((3, 2, 7),), lambda x: x.cumsum(-1)),
    "exclusive_suffix": (((3, 7),), lambda x: shifted(suffix(x), 1)),
    "two_behind": (((3, 7),), lambda x: shifted(suffix(x), 2)),
    "weighted": (((3, 7, 2), (7,)), lambda x, w: shifted((x * w[:, None]).cumsum(1).mT, -1).mT),
    "of_channels": (((3, 7, 2),), lambda x: suffix(x.sum(-1))),
}
MASK = torch.tensor([[1, 0, 2, 1, 0], [0, 0, 1, 1, 1], [1, 1, 0, 0, -1]])
LONG = 2 * 4096 + 37  # elements of a row that takes three tiles, of which the last has a tail
FACTORS = 2  # multiplications on the way of a term, of values and of the gradient
ROUNDING = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def suffix(values: Values) -> Values:
    """The sum from each element of a row to its end."""
    return values.flip(-1).cumsum(-1).flip(-1)


def shifted(values: Values, distance: int) -> Values:
    """Each element of a row from some places behind, or before; 0 where there is none."""
    return torch.nn.functional.pad(values, (-distance, distance))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One package of all definitions."""
    with packaged(tmp_path_factory.mktemp("scans") / "all", list(DEFINITIONS.values())) as made:
        yield made


# Recognition ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "distance", "reverse"),
    [
        (j <= i, 0, False),
        (i >= j, 0, False),
        (j < i, -1, False),
        (i - j > 1, -2, False),
        (j <= i - 3, -3, False),
        (j >= i, 0, True),
        (j > i, 1, True),
        (2 + i < j, 3, True),
        (2 * i <= i + j, 0, True),
    ],
)
def test_a_condition_between_twins_makes_a_scan(side: Any, distance: int, reverse: bool) -> None:
    scan = as_scan(Equation(matrix.like("output"), Sum(matrix[b, j], j, where=side)))
    assert scan is not None
    assert (scan.index, scan.reverse) == (i, reverse)
    assert scan.element.body == matrix[b, i + distance]
    assert (scan.element.guard == True) == (distance == 0)  # noqa: E712 - a condition of SymPy
    assert not quadratic(Equation(matrix.like("output"), Sum(matrix[b, j], j, where=side)))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Sum(matrix[b, j], j, where=j <= i + 1), "ends there or before"),
        (Sum(matrix[b, j], j, where=i - 1 <= j), "ends there or before"),
        (Sum(matrix[b, j], j, where=(j <= i) & (j > i - 3)), "one condition on i"),
        (Sum(matrix[b, j], j, where=j <= i - integer("by")), "one condition on i"),
        (Sum(matrix[b, j], j, where=2 * j <= i), "one condition on i"),
        (Sum(matrix[b, j] ** i, j, where=j <= i), "terms depend on i"),
        (Max(matrix[b, j], j, where=j <= i), "only sums and products"),
        (Sum(matrix[b, j], j, where=Ne(j, i)), ""),
        (Sum(matrix[b, j], j, where=j <= 3), ""),
        (matrix[b, i], ""),
    ],
)
def test_what_is_no_scan_and_why(value: Any, why: str) -> None:
    equation = Equation(matrix.like("output"), value)
    assert as_scan(equation) is None
    assert (why in quadratic(equation)) if why else not quadratic(equation)


def test_an_axis_of_another_extent_is_no_twin() -> None:
    equation = Equation(Tensor("output", b, i), Sum(Tensor("input", b, c)[b, c], c, where=c <= i))
    assert as_scan(equation) is None


@pytest.mark.parametrize("name", DEFINITIONS)
def test_no_kernel_has_quadratic_work(name: str) -> None:
    """A kernel's loops are over its own rows and columns; no two of its indices are twins, in no direction."""
    module = build(DEFINITIONS[name])
    patterns = {kernel.pattern for kernel in module.kernels}
    assert LoopPattern.SCAN in patterns
    for kernel in module.kernels:
        assert not list(violations(kernel))
        extents = [extent.extent for axes in (kernel.rows, kernel.columns) for extent in axes.order]
        assert len(extents) == len(set(extents)), kernel.name
    for function in formula_functions(DEFINITIONS[name], DEFINITIONS[name].variants[0]):
        assert "cumsum" in function


def test_a_scan_of_a_scan_shares_its_kernel() -> None:
    once, twice = Tensor("once", b, i), Tensor("output", b, i)
    equations = (
        Equation(once, Sum(matrix[b, j], j, where=j <= i)),
        Equation(twice, Sum(once[b, j] * matrix[b, j], j, where=j <= i)),
    )
    forward, _, backward = build(define(Layer("of_scans", (matrix,), equations, ("output",)))).programs[0]
    assert [launch.kernel.pattern for launch in forward.launches] == [LoopPattern.SCAN]
    assert all(launch.kernel.reverse for launch in backward.launches if launch.kernel.name.endswith("grad_input"))


def test_a_scan_of_what_lies_before_has_a_kernel_of_its_own() -> None:
    """Its terms are read at another place than the one that is just computed."""
    once, twice = Tensor("once", b, i), Tensor("output", b, i)
    equations = (
        Equation(once, Sum(matrix[b, j], j, where=j <= i)),
        Equation(twice, Sum(once[b, j], j, where=j < i)),
    )
    forward = build(define(Layer("apart", (matrix,), equations, ("output",)))).programs[0][0]
    assert [launch.kernel.pattern for launch in forward.launches] == [LoopPattern.SCAN] * 2


def test_the_gradient_is_a_scan_in_the_other_direction() -> None:
    [equation] = adjoint(DEFINITIONS["cumsum"].variants[0].layer).equations
    scan = as_scan(equation)
    assert scan is not None
    assert scan.reverse


# Proof ---------------------------------------------------------------------------------------------------------------


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_level_holds(name: str) -> None:
    definition = DEFINITIONS[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures
    assert {outcome.level for outcome in verdict.outcomes if outcome.holds} == LEVELS.keys()


FAULTS = (
    ("cumsum", "cumsum(element, 1, reverse=True)", "cumsum(element, 1)"),
    ("cumsum", "cumsum(element, 1)", "cumsum(element, 1, reverse=True)"),
    ("cumsum", "cumsum(element, 1)", "sum(element, 1, keep_dims=True)"),
    ("cumsum", "output = carry_output + ", "output = "),
    ("cumsum", "grad_input = carry_grad_input + ", "grad_input = "),
    ("cumsum", "carry_output += tl.sum(element, 1, keep_dims=True)", "carry_output = output"),
    ("cumsum", "carry_output += tl.sum", "carry_output = tl.sum"),
    ("cumsum", "carry_grad_input += tl.sum(element", "carry_grad_input += 2 * tl.sum(element"),
    ("cumsum", "- 1) * COLUMNS - chunk", "- 1) * COLUMNS"),
    ("cumsum", "0 if SINGLE else (tl.cdiv(tl.cast(I, INDEX), COLUMNS) - 1) * COLUMNS - chunk", "chunk"),
    ("cumsum", "tl.cdiv(tl.cast(I, INDEX), COLUMNS) - 1", "tl.cdiv(tl.cast(I, INDEX), COLUMNS)"),
    ("cumsum", "COLUMNS if SINGLE else tl.cast(I, INDEX), COLUMNS", "COLUMNS, COLUMNS"),
    ("exclusive_suffix", "(1 + i) * input_stride_i", "i * input_stride_i"),
    ("exclusive_suffix", "inside = 1 + i < I", "inside = i < I"),
    ("exclusive_suffix", "(i - 1) * grad_output_stride_i", "i * grad_output_stride_i"),
    ("masked", "mask_value != 0", "mask_value == 0"),
    ("weighted", "carry_grad_weight_scan += ", "carry_grad_weight_scan -= "),
)


@pytest.mark.thinned(6)
@pytest.mark.parametrize(("name", "text", "fault"), FAULTS)
def test_a_fault_is_found(name: str, text: str, fault: str) -> None:
    """Wrong direction, an element too many or too few, a carry that is lost, tiles in another order."""
    assert judged(DEFINITIONS[name], text, fault, most=1).failures


# Numbers -------------------------------------------------------------------------------------------------------------


def drawn(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Values:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def agree(found: Values, exact: Values, sizes: Values, roundings: int) -> None:
    """Check a result against one of float64.

    Args:
        found: the result; its type is that of the arithmetic.
        exact: the same, of the same numbers in float64.
        sizes: the sum of the magnitudes of each result's terms.
        roundings: at most so many lie on a term's way, in the result and in float64.
    """
    units = roundings * (ROUNDING[found.dtype] + ROUNDING[torch.float64])
    assert found.shape == exact.shape
    assert ((found.double() - exact).abs() <= units / (1 - units) * sizes).all()


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", CALLS)
def test_results_and_gradients_are_those_of_torch(name: str, dtype: torch.dtype, functions: Any) -> None:
    """The sizes of the terms of a result are the terms of the result of the inputs' sizes; so for a gradient."""
    shapes, oracle = CALLS[name]
    values = [drawn(shape, seed, dtype).requires_grad_() for seed, shape in enumerate(shapes)]
    plain = [value.detach().double().requires_grad_() for value in values]
    sizes = [value.detach().abs().requires_grad_() for value in plain]
    found, exact, size = getattr(functions, name)(*values), oracle(*plain), oracle(*sizes)
    roundings = max(value.numel() for value in values) + FACTORS
    agree(found, exact, size, roundings)
    seed = drawn(tuple(found.shape), 9, dtype)
    ours = torch.autograd.grad(found, values, seed)
    theirs = torch.autograd.grad(exact, plain, seed.double())
    bounds = torch.autograd.grad(size, sizes, seed.double().abs())
    for one, other, bound in zip(ours, theirs, bounds, strict=True):
        agree(one, other, bound, roundings)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("reverse", [False, True])
def test_long_rows_carry_from_tile_to_tile(reverse: bool, dtype: torch.dtype, functions: Any) -> None:
    x = drawn((2, LONG), 5, dtype).requires_grad_()
    y = functions.exclusive_suffix(x) if reverse else functions.cumsum(x)

    def exact(values: Values, direction: bool) -> Values:
        inclusive = suffix(values) if direction else values.cumsum(-1)
        return shifted(inclusive, 1 if direction else -1) if reverse else inclusive

    given = x.detach().double()
    agree(y, exact(given, reverse), exact(given.abs(), reverse), LONG)
    seed = drawn((2, LONG), 6, dtype)
    [gradient] = torch.autograd.grad(y, x, seed)
    seeds = seed.double()
    agree(gradient, exact(seeds, not reverse), exact(seeds.abs(), not reverse), LONG)


def test_whole_numbers_are_exact(functions: Any) -> None:
    x = torch.arange(-50, 55, dtype=torch.float32).reshape(3, 35) % 13 - 6
    assert functions.cumsum(x).equal(x.cumsum(-1))
    assert functions.exclusive_suffix(x).equal(suffix(x) - x)
    assert functions.two_behind(x).equal(shifted(suffix(x), 2))
    part = x[:, :5]
    assert functions.masked(part, MASK).equal(torch.where(MASK != 0, part, 0).cumsum(-1))


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_in_no_sum_before_it(special: float, functions: Any) -> None:
    """Padding of a tile and what a mask leaves out stay out, also where they would give inf - inf or 0 * inf."""
    x = torch.tensor([[1.0, 2.0, special, 3.0, -special], [0.5, special, special, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    torch.testing.assert_close(functions.cumsum(x), x.cumsum(-1), rtol=0, atol=0, equal_nan=True)
    behind = shifted(suffix(x), 1)
    torch.testing.assert_close(functions.exclusive_suffix(x), behind, rtol=0, atol=0, equal_nan=True)
    kept = torch.where(MASK != 0, x, 0).cumsum(-1)
    torch.testing.assert_close(functions.masked(x, MASK), kept, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (3, 1)])
def test_rows_that_are_empty_or_of_one_element(shape: tuple[int, int], functions: Any) -> None:
    x = torch.ones(shape, requires_grad=True)
    y = functions.cumsum(x)
    assert y.equal(x.cumsum(-1))
    assert torch.autograd.grad(y.sum(), x)[0].equal(torch.ones(shape))
    assert functions.exclusive_suffix(x).equal(torch.zeros(shape))
