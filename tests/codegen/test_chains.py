"""Chains: which contractions are computed by the reductions that read them, that these are right, and faults."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import Expr, exp, sqrt
from torch import Tensor as Values

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.emit.render import kernel_sources
from svertka.codegen.ir.chains import inner_products
from svertka.codegen.ir.kernel import Kernel
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.passes.pipeline import through
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, Layer, Max, Sum, Tensor, axis, define
from svertka.spec.definition import Definition

from ..examples.conftest import packaged
from .planted import judged

b = axis("b", "heads", many=True, batch=True)
q, k, e, f = axis("q", "queries"), axis("k", "keys"), axis("e", "elements of a key"), axis("f", "elements of a value")
j = k.twin("j")
query, key, value = Tensor("query", b, q, e), Tensor("key", b, k, e), Tensor("value", b, k, f)
score, weight, output = Tensor("score", b, q, k), Tensor("weight", b, q, k), Tensor("output", b, q, f)
bias = Tensor("bias", q, k)
points, centers = Tensor("points", q, e), Tensor("centers", k, e)
values, result, near = Tensor("values", k, f), Tensor("output", q, f), Tensor("near", q, k)
PRODUCTS = Sum(query[b, q, e] * key[b, k, e], e) / sqrt(e.extent)
NEAR = Sum(points[q, e] * centers[k, e], e)


def attention(name: str, over: Any = None, scores: Expr = PRODUCTS, inputs: tuple[Tensor, ...] = ()) -> Definition:
    """The mean of the values by the softmax of scores, over all keys or those of a condition."""
    where = {} if over is None else {"where": over}
    at_j = {name: condition.xreplace({k: j}) for name, condition in where.items()}
    equations = (
        Equation(score, scores),
        Equation(weight, exp(score[b, q, k]) / Sum(exp(score[b, q, j]), j, **at_j)),
        Equation(output, Sum(weight[b, q, k] * value[b, k, f], k, **where)),
    )
    return define(Layer(name, (query, key, value, *inputs), equations, ("output",)))


def of_points(name: str, elements: Expr, average: Expr) -> Definition:
    inputs = (points, centers, values)
    return define(Layer(name, inputs, (Equation(near, elements), Equation(result, average)), ("output",)))


def total(weights: Expr) -> Expr:
    """The sum of what weights are."""
    return Sum(weights * values[k, f], k)


DEFINITIONS = {
    definition.name: definition
    for definition in (
        attention("plain"),
        attention("causal", k <= q),
        attention("biased", None, PRODUCTS + bias[q, k], (bias,)),
        of_points("unnormalized", NEAR, total(exp(near[q, k])) / Sum(exp(near[q, k]), k)),
        of_points("squares", NEAR**2, total(near[q, k]) / (1 + Sum(near[q, k], k))),
        of_points("polynomial", NEAR**2, total(near[q, k]) + Sum(near[q, k], k)),
        of_points("distances", 2 * NEAR - Sum(centers[k, e] ** 2, e), total(exp(near[q, k])) / Sum(exp(near[q, k]), k)),
        of_points("largest", NEAR, total(near[q, k]) - Max(near[q, k], k)),
    )
}
STORING = {"biased", "largest"}
"""Their gradients need all products: one is as large, and the place of a maximum is found by no chain."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One package of all definitions."""
    with packaged(tmp_path_factory.mktemp("chains") / "all", list(DEFINITIONS.values())) as made:
        yield made


@pytest.fixture
def functions(package: ModuleType) -> Any:
    """The package's functions, by the kernels in Triton's interpreter."""
    assert importlib.import_module(f"{package.__name__}.runtime").INTERPRETED
    return package.functional


# Recognition ---------------------------------------------------------------------------------------------------------


def launched(definition: Definition, program: int) -> list[Kernel]:
    return [launch.kernel for launch in build(definition).programs[0][program].launches]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_forward_is_one_kernel(name: str) -> None:
    """With what it keeps for the gradient, too; sums over one factor alone have a kernel of their own."""
    for program in (0,) if name in STORING else (0, 1):
        kernels = launched(DEFINITIONS[name], program)
        assert [kernel.pattern for kernel in kernels if kernel.chain] == [LoopPattern.CHAIN]
        assert len(kernels) == (2 if name == "distances" else 1)
        assert [one.name for kernel in kernels if kernel.chain for one in kernel.chain.inner]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_nothing_is_stored_for_every_pair_of_rows_and_columns(name: str) -> None:
    for program in build(DEFINITIONS[name]).programs[0][: 1 if name in STORING else 3]:
        for launch in program.launches:
            for allocation in launch.allocations:
                extents = {axis.extent for axis in allocation.tensor.axes}
                assert not {q.extent, k.extent} <= extents, (name, allocation.name)


def test_a_product_that_only_rows_or_only_products_read_is_stored() -> None:
    """No reduction of rows stands between two products, or the result itself is wanted."""
    rows = Tensor("rows", q)
    inputs = (points, centers, values)
    alone = Layer("alone", inputs, (Equation(near, NEAR), Equation(rows, Sum(exp(near[q, k]), k))), ("rows",))
    twice = Layer("twice", inputs, (Equation(near, NEAR), Equation(result, total(near[q, k]))), ("output",))
    both = DEFINITIONS["unnormalized"].variants[0].layer
    shown = Layer("shown", inputs, both.equations, ("output", "near"))
    for layer in (alone, twice, shown):
        assert not inner_products(through(layer, "single terms"))
    assert list(inner_products(through(both, "single terms"))) == ["near"]


def test_the_factor_of_a_row_leaves_the_sum_where_the_sum_has_terms() -> None:
    """Without a term a sum is 0, and not 0 times the factor."""
    for name in ("plain", "causal"):
        (kernel,) = launched(DEFINITIONS[name], 0)
        assert "Select(K > 0, output_sum[b, q, f]/weight_sum_shifted[b, q], 0)" in "\n".join(kernel.equations)
    later = attention("later", k > q)  # the last query has no key
    assert len(launched(later, 0)) == 2


def test_blocks_that_a_guard_leaves_out_are_not_visited() -> None:
    (kernel,) = launched(DEFINITIONS["causal"], 0)
    assert kernel.bounds is not None
    assert kernel.bounds.last
    assert not kernel.bounds.first
    backward = {kernel.name: kernel.bounds for kernel in launched(DEFINITIONS["causal"], 2)}
    for name in ("causal_grad_key", "causal_grad_value"):
        bounds = backward[name]
        assert bounds is not None
        assert bounds.first


def test_every_kernel_is_as_specified_and_a_wrong_one_is_not() -> None:
    for definition in DEFINITIONS.values():
        assert not [text for kernel in build(definition).kernels for text in violations(kernel)]
    (kernel,) = launched(DEFINITIONS["plain"], 0)
    chain = kernel.chain
    assert chain is not None
    (tile,) = chain.inner
    wrong = [
        dataclasses.replace(kernel, chain=None),
        dataclasses.replace(kernel, pattern=LoopPattern.ROW),
        dataclasses.replace(kernel, groups=kernel.groups[:2]),
        dataclasses.replace(kernel, accumulator="absent"),
        dataclasses.replace(kernel, chain=dataclasses.replace(chain, other=None)),
        dataclasses.replace(kernel, chain=dataclasses.replace(chain, inner=())),
        dataclasses.replace(kernel, columns=kernel.groups[2]),
        dataclasses.replace(
            kernel, chain=dataclasses.replace(chain, inner=(dataclasses.replace(tile, left=tile.right),))
        ),
        dataclasses.replace(
            kernel, chain=dataclasses.replace(chain, inner=(dataclasses.replace(tile, right_axes=kernel.columns),))
        ),
    ]
    for one in wrong:
        assert list(violations(one))


# Proof ---------------------------------------------------------------------------------------------------------------


@pytest.mark.thinned(4)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_level_holds(name: str) -> None:
    definition = DEFINITIONS[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures
    exact = {"exact"} if name in ("polynomial", "largest") else set()
    assert {o.level for o in verdict.outcomes if o.holds} == LEVELS.keys() - {"exact"} | exact


FAULTS = (
    ("source", "weight_sum_shifted * faded + ", "weight_sum_shifted + "),
    ("source", "output_sum * faded", "output_sum"),
    ("source", "tl.exp(weight_sum_shift - largest)", "tl.exp(largest - weight_sum_shift)"),
    ("source", "tl.exp(element - largest)", "tl.exp(element - weight_sum_shift)"),
    ("source", "weight_sum_shift = raised", "weight_sum_shift = largest * 2"),
    ("rounding", 'score_sum * tl.rsqrt(tl.cast(E, ACC)), float("-inf")', "score_sum * tl.rsqrt(tl.cast(E, ACC)), 0.0"),
    ("source", "grad_value = tl.zeros([BLOCK_M, BLOCK_N], ACC)", "grad_value = tl.full([BLOCK_M, BLOCK_N], 1.0, ACC)"),
    ("source", "inner_end = tl.minimum(inner_end, ", "inner_end = tl.minimum(inner_end, -1 + "),
    ("source", "inner_first = tl.maximum(inner_first, ", "inner_first = tl.maximum(inner_first, BLOCK_K + "),
    ("source", "for depth_step in tl.range(0, ", "for depth_step in tl.range(1, "),
    ("source", "live_m & (tile_n == 0)", "live_m & (tile_n == 1)"),
    ("source", "live_m & (tile_n == 0)", "live_m"),
    ("source", "tile // (tiles_m * tiles_n)", "tile // tiles_m"),
    ("source", "left_score_sum, right_operand, score_sum", "left_score_sum, right_operand, 0 * score_sum"),
)


@pytest.mark.thinned(6)
@pytest.mark.parametrize(("level", "text", "fault"), FAULTS)
def test_a_fault_is_found(level: str, text: str, fault: str) -> None:
    """Sums that are not rescaled, or the wrong way; blocks that are left out; tiles that begin with something."""
    assert judged(DEFINITIONS["causal"], text, fault, (level,)).failures


# Numbers -------------------------------------------------------------------------------------------------------------

SHAPES = ((2, 70, 131, 19, 37), (1, 300, 77, 5, 70), (3, 1, 200, 150, 3), (1, 5, 3, 1, 300), (2, 33, 1, 7, 2))
"""Heads, queries, keys, elements of a key and of a value: several blocks and tiles with ends, and single ones."""


def drawn(shape: tuple[int, ...], scale: float = 1.0, seed: int = 1) -> tuple[Values, Values, Values]:
    heads, queries, keys, depth, width = shape
    generator = torch.Generator().manual_seed(seed)
    sizes = ((heads, queries, depth), (heads, keys, depth), (heads, keys, width))
    first, second, third = (torch.randn(size, dtype=torch.float64, generator=generator) * scale for size in sizes)
    return first, second, third


def by_torch(name: str, tensors: tuple[Values, ...]) -> Values:
    return torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=name == "causal")


def difference(found: Values, expected: Values) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["plain", "causal"])
def test_values_and_gradients_are_those_of_torch(
    functions: Any, name: str, shape: tuple[int, ...], scale: float
) -> None:
    """In float64; a softmax of scores up to 1000 multiplies their rounding errors by as much."""
    own, other = ([one.clone().requires_grad_() for one in drawn(shape, scale)] for _ in range(2))
    found, expected = getattr(functions, name)(*own), by_torch(name, tuple(other))
    seed = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found.backward(seed)
    expected.backward(seed)
    most = 64 * torch.finfo(torch.float64).eps * max(scale**2, 1) * math.sqrt(shape[3])
    assert difference(found, expected) < most
    for one, two in zip(own, other, strict=True):
        assert one.grad is not None
        assert two.grad is not None
        largest = max(float(two.grad.abs().max()), float(seed.abs().max()))
        assert float((one.grad - two.grad).abs().max()) < most * largest * scale


def test_blocks_beyond_the_guard_are_not_read(functions: Any) -> None:
    """A key that no query of a tile may see enters no product, not even with a weight of 0."""
    first, second, third = drawn((1, 10, 300, 7, 5))
    third[:, 150:] = math.nan
    second[:, 150:] = math.nan
    assert functions.causal(first, second, third).isfinite().all()


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 100, 199])
def test_what_is_not_finite_changes_what_it_does_in_torch(functions: Any, special: float, place: int) -> None:
    """An infinite score, wherever its key stands, and a query that is not a number."""
    first, second, third = drawn((1, 5, 200, 3, 4))
    second[0, place, 0] = special
    first[0, 3, 1] = math.nan
    expected = torch.softmax(first @ second.mT / math.sqrt(3), -1) @ third
    found = functions.plain(first, second, third)
    assert found.isnan().equal(expected.isnan())
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found.isfinite().any() or math.isnan(special)


@pytest.mark.parametrize("place", [0, 100, 199])
def test_the_maximum_of_a_row_with_a_nan_is_nan(functions: Any, place: int) -> None:
    """Wherever it stands; a reduction of Triton's leaves it out."""
    first, second, third = (one[0] for one in drawn((1, 5, 200, 3, 4)))
    second[place, 0] = math.nan
    first[3, 0] = first[1, 1] = 0.0
    third[place] = 0.0
    found = functions.largest(first, second, third)
    assert found.isnan().all()
    second[place, 0] = -1e3
    torch.testing.assert_close(
        functions.largest(first, second, third), first @ second.mT @ third - (first @ second.mT).amax(1, keepdim=True)
    )


def test_hidden_keys(functions: Any) -> None:
    """Scores of -inf at first, at last, everywhere in blocks, and in a whole row, whose mean is 0 / 0."""
    first, second, third = drawn((2, 6, 200, 5, 3))
    added = torch.zeros(6, 200, dtype=torch.float64)
    for places in ((0, slice(150)), (1, slice(20, None)), (2, slice(None, None, 2)), (3,), (4, slice(64, 128))):
        added[places] = -math.inf
    scores = first @ second.mT / math.sqrt(5) + added
    found = functions.biased(first, second, third, added)
    assert found[:, 3].isnan().all()
    torch.testing.assert_close(found, torch.softmax(scores, -1) @ third, equal_nan=True)


@pytest.mark.parametrize("sizes", [(2, 3, 0, 4, 5), (2, 0, 3, 4, 5), (0, 3, 2, 4, 5), (2, 3, 4, 5, 0)])
def test_of_nothing(functions: Any, sizes: tuple[int, ...]) -> None:
    """Without keys the result is a sum over nothing, which is 0."""
    own, other = ([one.clone().requires_grad_() for one in drawn(sizes)] for _ in range(2))
    found, expected = functions.plain(*own), by_torch("plain", tuple(other))
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    for one, two in zip(own, other, strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_half_precision_multiplies_its_own_type() -> None:
    """The tiles of scores are products of stored tensors; weights and values enter in the accumulator's type."""
    text = "\n".join(source for kernel in build(DEFINITIONS["plain"]).kernels for source in kernel_sources(kernel))
    assert ".to(DOT_score_sum)" in text
    assert "left_operand = tl.broadcast_to(tl.where(live_m & live_inner, grown, 0.0), [BLOCK_M, BLOCK_K])" in text
