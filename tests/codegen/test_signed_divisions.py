"""Quotients of numbers that may be negative round down in kernels, as in formulas; others cost nothing more."""

from __future__ import annotations

import pytest
import torch
from sympy import Expr

from svertka.codegen import layer_module
from svertka.codegen.lowering.signed_divisions import signed_divisions
from svertka.spec import ArgMax, Equation, FloorDiv, Layer, Select, Tensor, axes, integer
from svertka.spec.notation import Divides

n, c, k = axes("n c k")
x, y, label = Tensor("input", n, c), Tensor("output", n, c), Tensor("label", n, kind="integer")
place = Tensor("place", n, kind="integer")
shift, step = integer("shift"), integer("step", positive=True)
LAYER = Layer("any", (x, label), (Equation(place, ArgMax(x[n, c], c)), Equation(y, x[n, c])), ("output", "place"))


@pytest.mark.parametrize(
    ("number", "signed"),
    [
        (c, False),
        (c * step + c.extent - 1, False),
        (c.extent - 1 - c, False),
        (c.extent - c - 2, True),
        (c - shift, True),
        (shift, True),
        (step - 1, False),
        (step - 2, True),
        (label[n], True),
        (place[n], False),
        (FloorDiv(place[n], step) + c, False),
        (FloorDiv(c - step, step) + c, True),
        (Select(c > step, c, step) - step, False),
        (Select(c > step, c, step) - c, True),
    ],
)
def test_which_numbers_may_be_negative(number: Expr, signed: bool) -> None:
    division = FloorDiv(number, k.extent)
    assert (division in signed_divisions([division + 1], LAYER)) is signed


def test_what_must_be_a_multiple_is_divided_plainly() -> None:
    division = FloorDiv(c - shift, step)
    guarded = Select(Divides(step, c - shift), division, 0)
    assert signed_divisions([guarded], LAYER) == frozenset()
    assert signed_divisions([guarded, division], LAYER) == {division}


@pytest.mark.parametrize("distance", [0, 1, -1, 3, -4, 9])
def test_a_roll_is_torchs(distance: int) -> None:
    rolled = Layer(
        "roll", (x,), (Equation(y, x[n, c - shift - c.extent * FloorDiv(c - shift, c.extent)]),), ("output",)
    )
    values = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    found = layer_module(rolled)(distance)(values)
    assert found.equal(values.roll(distance, 1))
    seed = torch.arange(15.0, dtype=torch.float64).reshape(3, 5)
    assert torch.autograd.grad(found, values, seed)[0].equal(seed.roll(-distance, 1))


def test_a_quotient_of_a_label_rounds_down() -> None:
    scaled = Layer("scaled", (x, label), (Equation(y, x[n, c] * FloorDiv(label[n], 3)),), ("output",))
    values, labels = torch.ones(6, 2), torch.tensor([-7, -3, -1, 0, 2, 7])
    assert layer_module(scaled)()(values, labels)[:, 0].tolist() == [-3.0, -1.0, -1.0, 0.0, 0.0, 2.0]
