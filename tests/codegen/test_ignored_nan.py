"""Maxima that ignore NaN: where no result differs, where one would, and that validation sees the difference."""

from __future__ import annotations

from typing import Any

import pytest
from sympy import Ne, exp, log

from svertka.codegen.emit.render import kernel_sources
from svertka.codegen.lowering.build import build
from svertka.codegen.lowering.ignored_nan import ignored
from svertka.spec import Equation, Layer, Max, Select, Sum, Tensor, axes, define, maximum
from svertka.spec.layers import DEFINITIONS as LIBRARY

from .planted import judged

n, i = axes("n i")
scores, values, mask = Tensor("input", n, i), Tensor("values", n, i), Tensor("mask", n, kind="integer")
largest, total, output = Tensor("highest", n), Tensor("total", n), Tensor("output", n)
M, S = largest[n], total[n]
FIRST = (Equation(largest, Max(scores[n, i], i)), Equation(total, Sum(exp(scores[n, i] - M), i)))


def layer_of(*more: Equation, first: tuple[Equation, ...] = FIRST, outputs: tuple[str, ...] = ("output",)) -> Layer:
    return Layer("example", (scores, values, mask), (*first, *more), outputs)


def result(value: Any) -> Layer:
    return layer_of(Equation(output, value))


@pytest.mark.parametrize(
    "value",
    [
        log(S) + M,
        S * M**2,
        M / S,
        exp(M) / log(S),
        Select(Ne(mask[n], 0), log(S) + M, 0),
        Select(Ne(mask[n], 0), log(S) + M, 2 * S),
        Select(Ne(mask[n], 0), 1, 0) * (log(S) + M),
        maximum(log(S) + M, 0),
    ],
)
def test_a_maximum_ignores_nan_where_a_sum_is_nan_as_well(value: Any) -> None:
    assert ignored(result(value)) == {"highest"}


@pytest.mark.parametrize(
    "value",
    [
        M,
        2 * M + values[n, 0],
        Select(Ne(mask[n], 0), 1, 0) * S + M * Select(Ne(mask[n], 0), 0, 1),
        Select(S > 1, M, 0),
        maximum(M, S),
        log(total[n]) + largest[0],
        M + S**0,
    ],
)
def test_it_does_not_where_a_result_would_differ(value: Any) -> None:
    """It reads the maximum alone, behind a selection, or that of another row."""
    assert ignored(result(value)) == frozenset()


def test_the_maximum_is_no_result_itself() -> None:
    assert not ignored(layer_of(Equation(output, log(S) + M), outputs=("output", "highest")))
    assert ignored(layer_of(Equation(output, log(S) + M), outputs=("output", "highest")), stored=("highest",))


def test_a_selection_may_leave_nan_out_of_the_sum() -> None:
    chosen = Sum(exp(scores[n, i] - M) * Select(values[n, i] > 0, 1, 0), i)
    assert not ignored(layer_of(Equation(output, S + M), first=(FIRST[0], Equation(total, chosen))))
    weighed = Sum(exp(scores[n, i] - M) * values[n, i], i)
    assert ignored(layer_of(Equation(output, S + M), first=(FIRST[0], Equation(total, weighed))))


def test_what_a_backward_is_given_counts() -> None:
    """It reads a maximum and a sum that the forward stored; sums between may differ, results may not."""
    between = Equation(Tensor("between", n), Sum((scores[n, i] - M) * values[n, i], i))
    hidden = Equation(output, between.target[n] / S)
    shown = Equation(output, between.target[n])
    for last, expected in ((hidden, {"highest"}), (shown, set())):
        given = Layer("backward", (scores, values, largest, total), (between, last), ("output",))
        assert ignored(given, FIRST) == expected
        assert not ignored(given, FIRST[:1])


def test_rows_of_the_library_s_exponentials_take_the_plain_maximum() -> None:
    for name in ("softmax", "log_softmax", "cross_entropy"):
        text = "\n".join(source for kernel in build(LIBRARY[name]).kernels for source in kernel_sources(kernel))
        assert "tl.max(element" in text
        assert "missing" not in text


@pytest.mark.parametrize("place", ["element", "highest"])
def test_validation_sees_a_maximum_that_may_not(place: str) -> None:
    """A maximum that is a result, of a row that fits and of one that is walked."""
    shown = (FIRST[0], Equation(output, log(Sum(exp(scores[n, i] - M), i)) + M))
    definition = define(Layer("shown", (scores,), shown, ("output", "highest")))
    plain = f"tl.max({place}, 1, keep_dims=True)"
    verdict = judged(definition, f'tl.where(missing, float("nan"), {plain})', plain, ("rounding",))
    assert any("NaN at one place" in text for text in verdict.failures)
