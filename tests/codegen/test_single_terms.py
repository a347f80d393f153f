"""Sums of one term: which are found, that one element is loaded for them, that they are right, and that faults show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import Eq, Gt, exp

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.emit.render import kernel_sources
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.lowering.conditions_of_use import conditions_of_use
from svertka.codegen.passes.single_terms import single_terms, without_single_terms
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.generated import functional
from svertka.spec import Equation, Layer, Max, Select, Sum, Tensor, axes, axis, define, number
from svertka.spec.definition import Definition, Real, TensorArgument, Variant
from svertka.spec.layers import DEFINITIONS as LIBRARY
from svertka.spec.notation import InRange

from ..examples.conftest import packaged
from .planted import judged

n = axis("n", batch=True)
m = n.twin("m")
v, d, c = axes("v d c")
j = c.twin("j")
label, real_label = Tensor("label", n, kind="integer"), Tensor("place", n)
table, scores, scale = Tensor("table", v, d), Tensor("input", n, c), Tensor("scale", c)
blend = number("blend")
at_label = Sum(Select(Eq(label[n], c), scores[n, c] * scale[c], 0), c)

EMBEDDING = define(
    Layer(
        "embedding",
        (label, table),
        (Equation(Tensor("output", n, d), Sum(table[v, d], v, where=Eq(label[n], v))),),
        ("output",),
    )
)
MIXED = Definition(
    name="mixed",
    title="The score of a label, with a share of all scores.",
    source="a test",
    variants=(
        Variant(
            Layer(
                "mixed",
                (scores, label, scale),
                (
                    Equation(
                        Tensor("output", n),
                        at_label + Select(Gt(blend, 0), blend * Sum(scores[n, c] ** 2, c), 0),
                    ),
                ),
                ("output",),
            )
        ),
    ),
    function="mixed",
    arguments=(
        TensorArgument(name="input"),
        TensorArgument(name="label"),
        TensorArgument(name="scale"),
        Real(name="blend", default=0.0, symbol="blend", low=0.0, varies=True),
    ),
)
DEFINITIONS = {"embedding": EMBEDDING, "mixed": MIXED}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with packaged(tmp_path_factory.mktemp("terms") / "all", list(DEFINITIONS.values())) as made:
        yield made


# Recognition ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Sum(scores[n, c], c, where=Eq(label[n], c)), label[n]),
        (Sum(scores[n, c], c, where=Eq(c, label[n] - 2)), label[n] - 2),
        (Sum(scores[n, c], c, where=Eq(label[n] - c, 3)), label[n] - 3),
        (Sum(Select(Eq(c + label[n], 5), scores[n, c], 0), c), 5 - label[n]),
        (Sum(scores[n, c] * Select(Eq(label[n], c), 1, 0), c), label[n]),
        (Sum(scores[n, c], c, where=Eq(c, 3)), 3),
    ],
)
def test_an_equation_for_the_index_leaves_one_term(value: Any, place: Any) -> None:
    [term], others = single_terms(value)
    assert others is None
    assert term == Select(InRange(place, c.extent), scores[n, place], 0)


@pytest.mark.parametrize(
    "value",
    [
        Sum(scores[n, c], c),
        Sum(scores[n, c], c, where=c < label[n]),
        Sum(scores[n, c], c, where=Eq(2 * c, label[n])),  # an odd label has no place
        Sum(scores[n, c], c, where=Eq(real_label[n], c)),  # a real number is no place
        Sum(scores[n, c], c, where=Eq(c * c, label[n])),
        Sum(Select(Eq(label[n], c), scores[n, c], 1), c),  # the other terms are 1
        Sum(Select(Eq(label[n], c), 0, scores[n, c]), c),
        Sum(scores[m, c], m, c, where=Eq(label[m], c)),  # one term for every m
        Max(scores[n, c], c, where=Eq(label[n], c)),  # minus infinity where there is none
    ],
)
def test_other_reductions_stay(value: Any) -> None:
    assert single_terms(value) == ([], None)
    layer = Layer("other", (scores, label, real_label), (Equation(Tensor("output", n), value),), ("output",))
    assert without_single_terms(layer) == layer


def test_other_conditions_stand_at_the_place() -> None:
    [term], _ = single_terms(Sum(scores[n, c], c, where=Eq(label[n], c) & (c > 2)))
    assert term == Select(InRange(label[n], c.extent) & (label[n] > 2), scores[n, label[n]], 0)


def test_addends_of_a_sum_are_told_apart() -> None:
    body = Select(Eq(label[n], c), scores[n, c], 0) + blend * scale[c]
    out = Tensor("output", n)
    layer = without_single_terms(Layer("apart", (scores, label, scale), (Equation(out, Sum(body, c)),), ("output",)))
    rest, result = layer.equations
    assert rest.value == Sum(scale[c], c)
    assert result.value == blend * rest.target[n] + Select(InRange(label[n], c.extent), scores[n, label[n]], 0)


def test_a_loop_without_readers_does_not_run() -> None:
    total = Tensor("total", n)[n]
    read, other = Select(Gt(blend, 0), blend * total, 0), Select(Gt(blend, 0) & Gt(label[n], 0), total, 1)
    assert conditions_of_use(total, [read, other], {"blend"}) == {Gt(blend, 0)}
    assert not conditions_of_use(total, [read, total + 1], {"blend"})
    assert not conditions_of_use(total, [Select(Gt(blend, 0), 0, total)], {"blend"})
    assert not conditions_of_use(total, [Select(Gt(total, 0), blend, 0)], {"blend"})
    assert not conditions_of_use(total, [Select(Gt(label[n], 0), total, 0)], {"blend"})  # not the same for all rows
    assert not conditions_of_use(total, [read], set())
    assert not conditions_of_use(total, [blend], {"blend"})
    assert conditions_of_use(total, [total * exp(blend) * Select(Gt(blend, 0), 1, 0)], {"blend"}) == {Gt(blend, 0)}


def test_one_element_is_loaded() -> None:
    """An embedding is one load for an element; the score of a label is a load for a row, outside all loops."""
    [kernel] = [launch.kernel for launch in build(EMBEDDING).programs[0][0].launches]
    assert kernel.maps  # it has no loop over the table: columns are those of the result
    row, columns = kernel.sections
    assert [getattr(let.value, "tensor", "") for let in (*row.lets, *columns.lets)] == ["label", "", "table"]
    assert [extent.index for extent in columns.loops] == ["d"]
    for definition in (*DEFINITIONS.values(), LIBRARY["cross_entropy"]):
        for one in build(definition).kernels:
            assert not list(violations(one))


def test_the_label_of_cross_entropy_is_in_no_loop_and_smoothing_in_one_of_its_own() -> None:
    kernels = {kernel.name: kernel for kernel in build(LIBRARY["cross_entropy"]).kernels}
    text = kernel_sources(kernels["cross_entropy_labels_mean_loss"])[0]
    assert text.count("tl.where(label_smoothing > 0.0, tl.cast(K, INDEX), 0)") == 1
    assert "target_value == j" not in text
    gradient = kernels["cross_entropy_labels_mean_grad_input"]
    loops = [section for section in gradient.sections if section.loops]
    assert [section.when is not None for section in loops] == [True, False]


# Proof ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_level_holds(name: str) -> None:
    definition = DEFINITIONS[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures
    assert {outcome.level for outcome in verdict.outcomes if outcome.holds} == LEVELS.keys()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("embedding", "label_value < V", "label_value <= V"),
        ("embedding", "label_value >= 0", "label_value >= 1"),
        ("embedding", "tl.cast(label_value, INDEX)", "tl.cast(label_value + 1, INDEX)"),
        ("mixed", "blend > 0.0, tl.cast(C, INDEX), 0", "blend > 1.0, tl.cast(C, INDEX), 0"),
        ("mixed", "blend > 0.0, tl.cast(C, INDEX), 0", "blend < 0.0, tl.cast(C, INDEX), 0"),
        ("mixed", "tl.cast(label_value, INDEX) * scale_stride_c", "tl.cast(label_value, INDEX) * input_stride_c"),
    ],
)
def test_a_fault_is_found(name: str, text: str, fault: str) -> None:
    assert judged(DEFINITIONS[name], text, fault, ("source", "exact"), most=1).failures


# Numbers -------------------------------------------------------------------------------------------------------------


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def test_an_embedding_is_torchs_and_0_outside(functions: Any) -> None:
    values = drawn(7, 3).requires_grad_()
    rows = torch.tensor([3, 0, 6, 3, 7, -1, -100, 2**40])
    found = functions.embedding(rows, values)
    inside = (rows >= 0) & (rows < 7)
    assert found[inside].equal(torch.nn.functional.embedding(rows[inside], values))
    assert found[~inside].equal(torch.zeros(4, 3, dtype=torch.float64))
    seed = drawn(8, 3)
    [gradient] = torch.autograd.grad(found, values, seed)
    [expected] = torch.autograd.grad(torch.nn.functional.embedding(rows[inside], values), values, seed[inside])
    torch.testing.assert_close(gradient, expected, rtol=2**-50, atol=0)


@pytest.mark.parametrize("blend", [0.0, 0.25])
def test_the_rest_counts_where_it_is_asked_for(blend: float, functions: Any) -> None:
    x, weights = drawn(5, 6).requires_grad_(), drawn(6)
    labels = torch.tensor([0, 5, 2, 6, -1])
    found = functions.mixed(x, labels, weights, blend)
    picked = [
        x[row, one] * weights[one] if 0 <= one < 6 else x.new_zeros(()) for row, one in enumerate(labels.tolist())
    ]
    expected = torch.stack(picked) + blend * (x**2).sum(1)
    torch.testing.assert_close(found, expected, rtol=2**-48, atol=0)
    for one, other in zip(*(torch.autograd.grad(y.sum(), x) for y in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=2**-48, atol=0)


@pytest.mark.parametrize("special", [math.nan, math.inf])
def test_other_elements_do_not_enter(special: float, functions: Any) -> None:
    x = torch.tensor([[1.0, special, 3.0], [special, 2.0, special]])
    found = functions.mixed(x, torch.tensor([2, 1]), torch.tensor([special, 2.0, 0.5]))
    assert found.tolist() == [1.5, 4.0]


def test_cross_entropy_with_labels_at_both_ends_and_masked_classes() -> None:
    """A class of probability 0 enters neither loss nor gradient unless smoothing gives it a blend."""
    x = torch.tensor([[0.5, -math.inf, 2.0, 1.0], [1.0, 3.0, -2.0, -math.inf]], requires_grad=True)
    labels = torch.tensor([0, 2])
    found, expected = functional.cross_entropy(x, labels), torch.nn.functional.cross_entropy(x, labels)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(y, x)[0] for y in (found, expected))
    torch.testing.assert_close(ours, theirs)
