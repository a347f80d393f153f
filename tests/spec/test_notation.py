"""Mistakes in a formula are found when the layer is made, and the message states the remedy."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from sympy import Integer, Symbol

import svertka.spec
from svertka.spec import (
    FORMATS,
    Array,
    Equation,
    Index,
    Layer,
    Rational,
    RunningError,
    Select,
    Sum,
    Tensor,
    adjoint,
    axes,
    axis,
    evaluate,
    integer,
    maximum,
    minimum,
    normal_form,
    number,
)
from svertka.spec.tangent import tangent

i, j, k = axes("i j k")
F32 = RunningError(FORMATS["float32"])
x, y = Tensor("x", i, j), Tensor("y", i)
ROWS = Layer("rows", (x,), (Equation(y, Sum(x[i, j], j)),), ("y",))


def layer(*equations: Equation, inputs: tuple[Tensor, ...] = (x,), outputs: tuple[str, ...] = ("y",)) -> Layer:
    return Layer("wrong", inputs, equations, outputs)


MISTAKES = {
    "unknown tensor": (lambda: layer(Equation(y, Tensor("z", i)[i])), "reads 'z', which is neither an input"),
    "read before it is defined": (
        lambda: layer(Equation(y, Tensor("z", i)[i]), Equation(Tensor("z", i), Integer(1))),
        "reads 'z', which is neither an input nor defined before it",
    ),
    "free index": (lambda: layer(Equation(y, x[i, j])), "index j is neither an axis of y nor summed"),
    "tensor defined twice": (lambda: layer(Equation(y, x[i, 0]), Equation(y, x[i, 1])), "defined twice"),
    "input defined again": (lambda: layer(Equation(Tensor("x", i), Integer(0))), "defined twice"),
    "inputs of one name": (lambda: layer(inputs=(x, Tensor("x", k))), "two inputs share a name"),
    "axes repeat": (lambda: Tensor("x", i, i), "axes .* repeat; .* use axis.twin"),
    "keyword": (lambda: Tensor("lambda", i), "'lambda': .* not a keyword"),
    "keyword as axis": (lambda: axis("is"), "'is': .* not a keyword"),
    "no identifier": (lambda: integer("2x"), "'2x': .* must be a Python identifier"),
    "underscore": (lambda: number("_eps"), "'_eps': .* must not start with an underscore"),
    "capital axis": (lambda: axis("P"), "'P': an axis is named in lower case.*use 'p'"),
    "wrong rank": (lambda: x[i], r"'x': read with 1 indices .* has 2 axes"),
    "wrong rank of another tensor": (
        lambda: layer(Equation(y, Tensor("x", i)[i])),
        "another number of indices than the tensor has axes",
    ),
    "sum over nothing": (lambda: Sum(x[i, j]), "no index to reduce over"),
    "sum over a target's axis": (
        lambda: layer(Equation(y, Sum(x[i, 0], i))),
        "reduces over an axis of its own target; use axis.twin",
    ),
    "two axes of one name": (
        lambda: layer(Equation(y, Sum(x[i, 0] * x[0, Index("i", Symbol("J"))], Index("i", Symbol("J"))))),
        "two axes named 'i' differ in extent",
    ),
    "missing output": (lambda: layer(Equation(y, x[i, 0]), outputs=("z",)), "output 'z' has no equation"),
    "two kinds of one symbol": (
        lambda: layer(Equation(y, integer("a") * x[i, 0] + number("a"))),
        "two symbols named 'a' differ in their assumptions",
    ),
    "gradient of no input": (lambda: adjoint(ROWS, ["z"]), "'z' is no real input; it has x"),
    "gradient of no output": (lambda: adjoint(ROWS, ["x"], ["z"]), "'z' is no real output; it has y"),
    "tangent of no input": (lambda: tangent(ROWS, ["y"]), "'y' is no real input; it has x"),
    "values missing": (lambda: Array((2, 2), [1, 2, 3]), r"shape \(2, 2\): 3 values given, 4 needed"),
    "tensor missing": (lambda: evaluate(ROWS, {}, {"I": 1, "J": 1}, Rational()), "tensor 'x' is missing"),
    "extent missing": (
        lambda: evaluate(Layer("l", (), (Equation(y, Integer(1)),), ("y",)), {}, {"J": 1}, Rational()),
        r"'I' is missing; give it in sizes \(given: \['J'\]\)",
    ),
    "extents disagree": (
        lambda: evaluate(
            Layer("l", (x, Tensor("w", j)), (Equation(y, x[i, 0]),), ("y",)),
            {"x": Array((1, 2), [1, 2]), "w": Array((3,), [1, 2, 3])},
            {},
            Rational(),
        ),
        "'w': axis j has 3 elements, another input says 2",
    ),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sum_needs_an_axis() -> None:
    with pytest.raises(TypeError, match=r"sum: n is not an axis; make it with axis"):
        Sum(x[i, 0], integer("n"))


def test_sympy_may_not_differentiate_a_reduction() -> None:
    with pytest.raises(TypeError, match=r"differentiated by svertka\.spec\.adjoint"):
        Sum(x[i, j] * Symbol("a"), j).diff(Symbol("a"))


def test_an_unsupported_function_is_named() -> None:
    from sympy import gamma

    wrong = Layer("l", (x,), (Equation(y, gamma(x[i, 0])),), ("y",))
    with pytest.raises(ValueError, match="function gamma: not rational"):
        evaluate(wrong, {"x": Array((1, 1), [1])}, {}, Rational())


def test_a_read_outside_is_zero_and_in_a_sum_absent() -> None:
    shifted = Layer("l", (x,), (Equation(y, x[i - 1, 0]),), ("y",))
    array = {"x": Array((3, 1), [5, 6, 7])}
    assert evaluate(shifted, array, {}, Rational())["y"].values == [0, 5, 6]
    r = axis("r")
    summed = Layer("l", (x,), (Equation(y, Sum(1 + x[i + r, 0], r)),), ("y",))
    assert evaluate(summed, array, {"R": 2}, Rational())["y"].values == [13, 15, 8]


def test_indices_and_layers_survive_pickling() -> None:
    index = axis("h", "height", batch=True)
    copy = pickle.loads(pickle.dumps(index))
    assert copy == index
    assert (copy.extent, copy.batch, copy.meaning) == (index.extent, True, "height")
    assert pickle.loads(pickle.dumps(ROWS)) == ROWS


def test_parameters_are_what_is_neither_index_nor_extent() -> None:
    a = number("a")
    scaled = Layer("l", (x,), (Equation(y, a * Sum(x[i, j], j) / j.extent),), ("y",))
    assert scaled.parameters == (a,)


def test_a_normal_form_is_its_own() -> None:
    once = normal_form(Layer("l", (x,), (Equation(y, x[i, 0] / Sum(x[i, j] ** 2, j)),), ("y",)))
    assert normal_form(once) == once
    assert [e.target.name for e in once.equations] == ["y_sum", "y"]


def test_only_drops_what_is_not_needed() -> None:
    z = Tensor("z", i)
    both = Layer("l", (x, z), (Equation(y, x[i, 0]), Equation(Tensor("u", i), z[i] + y[i])), ("y", "u"))
    assert both.only(["y"]).inputs == (x,)
    given = both.given(["y"])
    assert [t.name for t in given.inputs] == ["z", "y"]


def test_what_is_chosen_among_whole_numbers_is_whole() -> None:
    """It is then compared without rounding, for any size: float32 does not represent 2**24 + 1."""
    size, share = integer("size"), number("share")
    for choose in (maximum, minimum, lambda a, b: Select(a > b, a, b)):
        assert (2 * choose(size * i, j) + 1).is_integer
        assert choose(size, share).is_integer is None
        assert choose(x[i, j], j).is_integer is None
    big, sign = 2**24, Tensor("sign", i)
    above = Equation(sign, Select(maximum(size * i, 0) > big * i, 1, 0))
    rounded = evaluate(
        Layer("above", (y,), (above,), ("sign",)), {"y": Array((2,), [0.0, 0.0])}, {"size": big + 1}, F32
    )
    assert [value.value for value in rounded["sign"].values] == [0, 1]


def test_a_formula_file_keeps_the_numbers_of_sympy() -> None:
    """``from svertka.spec import *`` after SymPy's own names does not hide its numbers."""
    assert not {"Float", "Integer", "Rational", "Symbol"} & {*svertka.spec.__all__}
