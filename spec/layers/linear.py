"""Fully connected layer: every output is a weighted sum of all inputs, slide 17."""

from __future__ import annotations

from svertka.spec.definition import Definition, ModuleFace, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Sum, Tensor, axis

__all__ = ["DEFINITIONS"]

m = axis("m", "examples", many=True, batch=True)
i = axis("i", "inputs")
o = axis("o", "outputs")
x, y = Tensor("input", m, i), Tensor("output", m, o)
w, b = Tensor("weight", o, i), Tensor("bias", o, default=0)

FORMULA = Layer("linear", (x, w, b), (Equation(y, Sum(x[m, i] * w[o, i], i) + b[o]),), ("output",))

DEFINITIONS = (
    Definition(
        name="linear",
        title="Fully connected layer.",
        source="slide 17",
        variants=(Variant(FORMULA),),
        function="linear",
        arguments=(
            TensorArgument(name="input"),
            TensorArgument(name="weight", unbatched=True),
            TensorArgument(name="bias", default=None, unbatched=True),
        ),
        modules=(ModuleFace("Linear", base="torch.nn.Linear"),),
    ),
)
