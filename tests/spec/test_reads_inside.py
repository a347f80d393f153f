"""Reads outside of tensors: which terms a reduction leaves out, and that what a choice does not take does not count."""

from __future__ import annotations

import pytest
import torch
from sympy import Not, Or, true

from svertka.codegen import layer_module
from svertka.spec import Equation, FloorDiv, Layer, Select, Sum, Tensor, adjoint, axes, normal_form
from svertka.spec.notation import InRange
from svertka.spec.reads_inside import guarded, term_conditions

n, d = axes("n d")
e = d.twin("e")
x, w, y = Tensor("input", n, d), Tensor("weight", d), Tensor("output", n)
half = FloorDiv(d.extent, 2)
behind, before = x[n, e + half], x[n, e - half]
is_behind, is_before = InRange(e + half, d.extent), InRange(e - half, d.extent)
turned = Select(e < half, -behind, before)


def test_a_read_leaves_out_the_terms_where_it_lies_outside() -> None:
    assert term_conditions("sum", behind * w[e]) == [is_behind]
    assert term_conditions("sum", w[e]) == []


def test_of_a_choice_the_branch_counts_that_is_chosen() -> None:
    found = term_conditions("sum", turned * w[e])
    assert found == [Or(Not(e < half), is_behind), Or(e < half, is_before)]
    assert term_conditions("sum", Select(e < half, behind, behind * 2)) == [is_behind]


def test_a_choice_that_asks_for_the_range_leaves_nothing_out() -> None:
    assert term_conditions("sum", w[e] + Select(is_behind, behind, 0)) == []


@pytest.mark.parametrize(("operation", "absent"), [("sum", 0), ("max", -float("inf"))])
def test_a_term_as_good_as_absent_is_left_out(operation: str, absent: float) -> None:
    """The condition is then one of the range alone, and stays simple."""
    assert term_conditions(operation, Select(e < half, behind, absent)) == [is_behind]


def test_a_maximum_of_0_is_not_absent() -> None:
    assert term_conditions("max", Select(e < half, behind, 0)) == [Or(Not(e < half), is_behind)]


def test_reads_are_guarded_where_nothing_else_guards_them() -> None:
    assert guarded(behind) == Select(is_behind, behind, 0)
    assert guarded(Select(is_behind, behind, before), {is_before}) == Select(is_behind, behind, before)
    assert guarded(turned, {is_behind}) == Select(e < half, -behind, Select(is_before, before, 0))


def test_normal_form_is_stable() -> None:
    layer = Layer("turned", (x, w), (Equation(y, Sum(turned * w[e], e)),), ("output",))
    once = normal_form(layer)
    assert once.equations[0].value.guard != true
    assert normal_form(once) == once


@pytest.mark.parametrize("count", [4, 7])
def test_a_sum_over_half_a_turn_and_its_gradients_are_torchs(count: int) -> None:
    """Both branches read outside, each where the other is taken; the last of an odd number reads inside, too."""
    layer = Layer("turned", (x, w), (Equation(y, Sum(turned * w[e], e)),), ("output",))
    kind = layer_module(layer)
    values = torch.randn(3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    factors = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    places = torch.arange(count)
    mine = torch.where(places < count // 2, -values[:, (places + count // 2) % count], values[:, places - count // 2])
    expected = (mine * factors).sum(1)
    found = kind()(values, factors)
    torch.testing.assert_close(found, expected, rtol=2**-48, atol=2**-50)
    ours, theirs = (torch.autograd.grad(one.square().sum(), (values, factors)) for one in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=2**-46, atol=2**-48)


def test_the_gradient_of_a_factor_of_a_choice_is_not_lost() -> None:
    """Rotary embedding: the factor's gradient sums over what is chosen, of which either branch reads outside."""
    rotated = Tensor("rotated", n, d)
    value = Select(d < half, -x[n, d + half], x[n, d - half]) * w[d]
    layer = Layer("rotated", (x, w), (Equation(rotated, value),), ("rotated",))
    [gradient] = normal_form(adjoint(layer, wrt=["weight"])).equations
    assert gradient.value.guard == true
