"""Rectified linear unit: f(x) = max(0, x), slide 11."""

from __future__ import annotations

from svertka.spec.definition import Definition, Flag, ModuleFace, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Tensor, axis, maximum

__all__ = ["DEFINITIONS"]

i = axis("i", "elements", many=True)
x, y = Tensor("input", i), Tensor("output", i)

FORMULA = Layer("relu", (x,), (Equation(y, maximum(x[i], 0)),), ("output",))

DEFINITIONS = (
    Definition(
        name="relu",
        title="Rectified linear unit: the larger of the element and 0.",
        source="slide 11",
        variants=(Variant(FORMULA),),
        function="relu",
        arguments=(TensorArgument(name="input", integers=True), Flag(name="inplace", default=False, in_place=True)),
        modules=(ModuleFace("ReLU", base="torch.nn.ReLU"),),
    ),
)
