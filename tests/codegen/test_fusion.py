"""Which equations share a kernel, and which tensors the forward saves for the backward."""

from __future__ import annotations

import pytest
from sympy import exp

from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.lowering.build import KernelModule, Program
from svertka.codegen.lowering.built import built
from svertka.codegen.lowering.fusion import partition
from svertka.codegen.passes.inline import inline_maps
from svertka.spec import Equation, Layer, Sum, Tensor, axes, maximum, normal_form
from svertka.spec.layers import DEFINITIONS

from .harness import definition_of, module_of

a, b, c, d = axes("a b c d")
x, y, z = Tensor("x", a, b), Tensor("y", b, c), Tensor("z", c)


def groups(layer: Layer) -> list[tuple[LoopPattern, list[str], list[str]]]:
    """Loop pattern, reductions and results of every kernel."""
    found = partition(inline_maps(normal_form(layer)))
    return [(p.pattern, [e.target.name for e in p.reductions], [r.name for r in p.results]) for p in found]


def programs(layer: str) -> tuple[Program, Program, Program]:
    definition, variant = definition_of(layer)
    module: KernelModule = module_of(definition.name)
    return module.programs[definition.variants.index(variant)]


@pytest.mark.parametrize(
    ("layer", "forward", "backward"),
    [
        ("softmax", 1, 1),
        ("log_softmax", 1, 1),
        ("relu", 1, 1),
        ("batch_normalization_training", 3, 3),  # rows in two steps, then the map
        ("batch_normalization_inference", 1, 3),
        ("convolution_2d", 1, 4),
        ("linear", 1, 3),
        ("cross_entropy_labels_none", 1, 1),
    ],
)
def test_number_of_kernels(layer: str, forward: int, backward: int) -> None:
    first, _, third = programs(layer)
    assert (len(first.launches), len(third.launches)) == (forward, backward)


def test_an_epilogue_joins_its_product() -> None:
    out = Tensor("out", a, c)
    layer = Layer("e", (x, y, z), (Equation(out, maximum(Sum(x[a, b] * y[b, c], b) + z[c], 0)),), ("out",))
    ((pattern, reductions, results),) = groups(layer)
    assert pattern == LoopPattern.CONTRACTION
    assert len(reductions) == 1
    assert results == ["out"]


def test_a_map_over_a_bounded_row_joins_its_sum() -> None:
    j = b.twin("j")
    layer = Layer("m", (x,), (Equation(Tensor("out", a, b), exp(x[a, b]) / Sum(exp(x[a, j]), j)),), ("out",))
    assert len(groups(layer)) == 1


def test_a_map_over_an_unbounded_row_gets_its_own_kernel() -> None:
    """A row of examples has no bound and need not fit, so the map reads it once more in parallel."""
    from svertka.spec import axis

    n = axis("n", batch=True)
    big, i = Tensor("big", n, b), n.twin("i")
    layer = Layer("u", (big,), (Equation(Tensor("out", n, b), big[n, b] - Sum(big[i, b], i)),), ("out",))
    assert [pattern for pattern, _, _ in groups(layer)] == [LoopPattern.ROW, LoopPattern.POINTWISE]


def test_reductions_of_one_row_share_a_loop() -> None:
    equations = (
        Equation(Tensor("total", a), Sum(x[a, b], b)),
        Equation(Tensor("squares", a), Sum(x[a, b] ** 2, b)),
    )
    ((_, reductions, results),) = groups(Layer("two", (x,), equations, ("total", "squares")))
    assert reductions == ["total", "squares"]
    assert set(results) == {"total", "squares"}


def test_other_rows_are_other_kernels() -> None:
    equations = (
        Equation(Tensor("rows", a), Sum(x[a, b], b)),
        Equation(Tensor("columns", b), Sum(x[a, b], a)),
    )
    assert len(groups(Layer("two", (x,), equations, ("rows", "columns")))) == 2


def test_what_another_kernel_reads_is_stored() -> None:
    columns = Tensor("columns", b)
    equations = (
        Equation(columns, Sum(x[a, b], a)),
        Equation(Tensor("out", a), Sum(x[a, b] * columns[b], b)),
    )
    first, second = groups(Layer("chain", (x,), equations, ("out",)))
    assert first[2] == ["columns"]
    assert second[2] == ["out"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("batch_normalization_training", True),  # sums over all examples: computed once, saved
        ("max_pooling_2d", True),  # the position of the maximum
        ("softmax", True),  # a row's maximum and sum: two numbers instead of two passes
        ("relu", False),
        ("convolution_2d", False),
    ],
)
def test_saved_tensors(name: str, kept: bool) -> None:
    definition, _ = definition_of(name)
    assert bool(module_of(definition.name).saved[name]) == kept


def test_a_gradient_nobody_wants_costs_no_kernel() -> None:
    _, _, backward = programs("convolution_2d")
    assert [launch.serves for launch in backward.launches] == [(0,), (1,), (2,), (2,)]


def test_equal_kernels_are_one() -> None:
    """No two kernels of a module differ only in their name."""
    from dataclasses import replace

    for name in DEFINITIONS:
        kernels = [replace(kernel, name="") for kernel in built(DEFINITIONS[name]).kernels]
        assert all(kernels.count(kernel) == 1 for kernel in kernels), name
