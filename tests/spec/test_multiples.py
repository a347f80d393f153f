"""Sums over multiples: the same terms over quotients, by trying all values of the indices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from sympy import Eq, Expr, Integer, Symbol, true
from sympy.logic.boolalg import Boolean

from svertka.spec import FloorDiv, Index, adjoint, integer
from svertka.spec.layer import Layer, walk
from svertka.spec.layers import DEFINITIONS
from svertka.spec.multiples import Terms
from svertka.spec.notation import Divides, InRange
from svertka.spec.rewrite import substitute

EXTENT, QUOTIENTS = 7, 3


def found(terms: Terms) -> list[Expr]:
    """The values of all terms whose conditions hold, sorted."""
    values = []
    for place in product(*(range(int(index.extent)) for index in terms.indices)):
        known = dict(zip(terms.indices, map(Integer, place), strict=True))
        if all(substitute(condition, known) == true for condition in terms.conditions):
            values.append(substitute(terms.value, known))
    return sorted(values, key=int)


def sum_of(name: str, divisor: int, rest: int, more: Sequence[Boolean] = ()) -> Terms:
    """Terms in which an index, the multiple and the quotient are told apart."""
    i = Index(name, Integer(EXTENT))
    quotient = FloorDiv(i + rest, Integer(divisor))
    conditions = (Divides(Integer(divisor), i + rest), InRange(quotient, Integer(QUOTIENTS)), *more)
    return Terms(i + 10 * quotient, conditions, (i,), {i: i})


@pytest.mark.parametrize("divisor", [2, 3, 4])
@pytest.mark.parametrize("rest", range(-5, 6))
def test_the_same_terms_over_the_quotients(divisor: int, rest: int) -> None:
    terms = sum_of("i", divisor, rest)
    axis = Index("q", Integer(QUOTIENTS))
    other = terms.by_quotients([axis], [])
    assert [index.extent for index in other.indices] == [QUOTIENTS]
    assert found(other) == found(terms)


def test_each_of_two_indices_that_have_only_multiples() -> None:
    first, second = sum_of("i", 2, 1), sum_of("j", 3, -1)
    terms = Terms(
        first.value + 1000 * second.value,
        (*first.conditions, *second.conditions),
        (*first.indices, *second.indices),
        first.named | second.named,
    )
    other = terms.by_quotients([Index("q", Integer(QUOTIENTS))], [Index("q", Integer(EXTENT))])
    assert [index.name for index in other.indices] == ["q1", "q2"]  # a name that is taken is not used
    assert len(found(other)) > 1
    assert found(other) == found(terms)


def test_a_sum_stays_without_an_axis_for_the_quotient_or_a_range_for_it() -> None:
    terms = sum_of("i", 2, 1)
    assert terms.by_quotients([Index("q", Integer(QUOTIENTS + 1))], []) == terms
    (divides, _) = terms.conditions
    unbounded = Terms(terms.value, (divides,), terms.indices, terms.named)
    assert unbounded.by_quotients([Index("q", Integer(QUOTIENTS))], []) == unbounded


@pytest.mark.parametrize("step", [Symbol("step", integer=True), integer("step", positive=True)])
def test_a_divisor_must_be_positive(step: Expr) -> None:
    i, axis = Index("i", Integer(EXTENT)), Index("q", Integer(QUOTIENTS))
    terms = Terms(i, (Divides(step, i), InRange(FloorDiv(i, step), Integer(QUOTIENTS))), (i,), {i: i})
    assert (terms.by_quotients([axis], []) == terms) is not step.is_positive


def test_an_index_that_occurs_with_a_factor_stays() -> None:
    i, axis = Index("i", Integer(EXTENT)), Index("q", Integer(QUOTIENTS))
    conditions = (Divides(Integer(2), 3 * i), InRange(FloorDiv(3 * i, Integer(2)), Integer(QUOTIENTS)), Eq(i, 2))
    terms = Terms(i, conditions, (i,), {i: i})
    assert terms.by_quotients([axis], []) == terms


@pytest.mark.parametrize("rank", [1, 2])
def test_the_gradient_of_a_transposed_convolution_asks_for_no_multiples(rank: int) -> None:
    """It is the convolution, whose sums have all their terms; its own gradient divides, as the formula itself."""
    layer = DEFINITIONS[f"transposed_convolution_{rank}d"].variants[0].layer

    def divides(one: Layer) -> bool:
        return any(isinstance(node, Divides) for equation in one.equations for node in walk(equation.value))

    assert divides(layer)
    assert not divides(adjoint(layer))
    assert divides(adjoint(adjoint(layer)))
