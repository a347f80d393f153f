"""Sums of exponentials neither overflow nor change their value."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Expr, exp, log

from svertka.codegen.passes.inline import inline_maps
from svertka.codegen.passes.stabilize import stabilize
from svertka.spec import Array, Equation, Float, Layer, Reduction, Sum, Tensor, axes, evaluate, normal_form, sigmoid
from svertka.spec.layer import walk
from svertka.spec.notation import Read

from .scratch import defined, failures, scratch

a, b = axes("a b")
j = b.twin("j")
x, bias, moved = Tensor("x", a, b), Tensor("bias", b), Tensor("time_shift", b)
rows, grid = Tensor("out", a), Tensor("out", a, b)
total = Sum(exp(x[a, j]), j)

FORMULAS: dict[str, tuple[Tensor, Expr, tuple[Tensor, ...]]] = {
    "softmax": (grid, exp(x[a, b]) / total, (x,)),
    "log_softmax": (grid, x[a, b] - log(total), (x,)),
    "logsumexp": (rows, log(Sum(exp(x[a, b]), b)), (x,)),
    "shifted": (rows, log(Sum(exp(x[a, b] + bias[b]), b)), (x, bias)),
    "misnamed": (rows, log(Sum(exp(x[a, b] + moved[b]), b)), (x, moved)),
    "halved": (rows, log(Sum(exp(x[a, b] / 2), b)), (x,)),
    "plain": (rows, Sum(exp(x[a, b]), b), (x,)),
    "squared": (grid, exp(2 * x[a, b]) / total**2, (x,)),
}
LARGE = ("softmax", "log_softmax", "logsumexp")


def layer(name: str) -> Layer:
    target, value, inputs = FORMULAS[name]
    return Layer(name, inputs, (Equation(target, value),), ("out",))


def prepared(name: str) -> Layer:
    return inline_maps(normal_form(layer(name)))


@pytest.mark.parametrize("name", FORMULAS)
def test_every_exponent_of_a_sum_is_shifted(name: str) -> None:
    found = stabilize(prepared(name))
    sums = [e.value for e in found.equations if isinstance(e.value, Reduction) and e.value.operation == "sum"]
    maxima = {e.target.name for e in found.equations if isinstance(e.value, Reduction) and e.value.operation == "max"}
    assert sums
    for value in sums:
        exponents = [node.args[0] for node in walk(value.body) if isinstance(node, exp)]
        assert exponents
        for exponent in exponents:
            assert maxima & {node.tensor for node in walk(exponent) if isinstance(node, Read)}, value


@pytest.mark.parametrize("name", FORMULAS)
def test_the_function_stays(name: str) -> None:
    """In float64, where nothing overflows, both have the same value up to a few roundings of a power of e."""
    sizes = {"A": 2, "B": 3}
    arrays = {
        "x": Array((2, 3), [0.5, -1.25, 2.0, 3.0, 0.0, -0.75]),
        "bias": Array((3,), [1.0, -2.0, 0.25]),
        "time_shift": Array((3,), [2.0, -1.0, 0.5]),
    }
    given = {t.name: arrays[t.name] for t in layer(name).inputs}
    before, after = (
        evaluate(one, given, sizes, Float())["out"].values for one in (layer(name), stabilize(prepared(name)))
    )
    for left, right in zip(before, after, strict=True):
        assert abs(left - right) <= 32 * math.ulp(max(abs(left), 1.0))  # fewer than 32 operations, each half an ulp


@pytest.mark.parametrize("name", FORMULAS)
def test_kernels(name: str, device: str) -> None:
    with scratch(defined(layer(name))) as made:
        assert not failures(made, device)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("level", [-1000.0, 0.0, 1000.0])
def test_levels_do_not_matter(name: str, level: float, device: str) -> None:
    """Whole numbers added to a row shift the result or leave it, exactly to the bit."""
    values = torch.tensor([[0.0, 3.0, -2.0, 1.0], [5.0, 5.0, 5.0, 5.0]], device=device)
    seed_shape = (2,) if name == "logsumexp" else (2, 4)
    seed = torch.linspace(-1, 2, math.prod(seed_shape), device=device).reshape(seed_shape)
    with scratch(defined(layer(name))) as made:
        forward, backward = (getattr(made.kernels, f"{name}_{road}") for road in ("forward", "backward"))
        results = []
        for shift in (0.0, level):
            out, *kept = forward(values + shift, save=True)
            (gradient,) = backward(seed, values + shift, *kept, wanted=(True,))
            results.append((out, gradient))
    (near, gradient), (far, moved) = results
    assert torch.isfinite(far).all()
    if name == "logsumexp":  # level + log(sum), rounded at the level's magnitude
        assert ((far - level) - near).abs().max() <= torch.finfo(torch.float32).eps * (abs(level) + 8)
    else:
        assert torch.equal(far, near)
    assert torch.equal(moved, gradient)


def test_a_row_of_minus_infinity_but_one(device: str) -> None:
    """Masked classes have probability 0, not NaN."""
    values = torch.tensor([[-math.inf, 2.0, -math.inf], [-math.inf, 0.0, 0.0]], device=device)
    with scratch(defined(layer("softmax"))) as made:
        (out,) = made.kernels.softmax_forward(values)
    assert out.tolist() == [[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]


def test_what_does_not_come_out_of_its_sum_is_left_alone(device: str) -> None:
    """A sum of sigmoids with a trained slope: two exponents, neither positive, in separate terms."""
    slope = Tensor("slope")
    summed = Layer("summed", (x, slope), (Equation(rows, Sum(x[a, b] * sigmoid(slope[()] * x[a, b]), b)),), ("out",))
    assert not [e for e in stabilize(inline_maps(normal_form(summed))).equations if "_shift" in e.target.name]
    values = torch.tensor([[-300.0, 300.0, 0.0, 2.0]], device=device)
    with scratch(defined(summed)) as made:
        assert not failures(made, device)
        (out,) = made.kernels.summed_forward(values, torch.ones((), device=device))
        (steep, slow) = made.kernels.summed_backward(
            torch.ones(1, device=device), values, torch.ones((), device=device), wanted=(True, True)
        )
    assert torch.isfinite(out).all()
    assert torch.isfinite(steep).all()
    assert torch.isfinite(slow).all()
