"""Dropout, slide 19: in training an element is dropped with probability p; the others are divided by 1 - p.

With p = 1 everything is dropped, because the random field is less than 1 everywhere.
"""

from __future__ import annotations

from sympy import Ge, Lt

from svertka.spec.definition import Definition, Flag, ModuleFace, Real, Seed, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Select, Tensor, Uniform, axis, integer, number

__all__ = ["DEFINITIONS"]

i = axis("i", "elements", many=True)
x, y = Tensor("input", i), Tensor("output", i)
p = number("p")
seed = integer("seed")

kept = Select(Lt(p, 1), 1 - p, 1)  # with p = 1 this avoids a division by 0
FORMULA = Layer("dropout", (x,), (Equation(y, x[i] * Select(Ge(Uniform(seed, i), p), 1 / kept, 0)),), ("output",))

DEFINITIONS = (
    Definition(
        name="dropout",
        title="Inverted dropout; the random field is Philox4x32-10, so that the backward draws the same mask again.",
        source="slide 19",
        variants=(Variant(FORMULA),),
        function="dropout",
        arguments=(
            TensorArgument(name="input"),
            Real(name="p", default=0.5, symbol="p", low=0.0, high=1.0, closed=True, varies=True),
            Flag(name="training", default=True),
            Flag(name="inplace", default=False, in_place=True),
            Seed(name="seed"),
        ),
        identity_when={"training": False, "p": 0.0},
        modules=(ModuleFace("Dropout", base="torch.nn.Dropout", call={"seed": "None"}),),
    ),
)
