"""Softmax, slide 18: p(C_k given x) = exp(a_k) / sum over j of exp(a_j), and its logarithm.

Nothing is subtracted from the exponents here. That subtracting the maximum does not change the result is a theorem
(``svertka.spec.errata.softmax_is_shift_invariant``); codegen applies it.
"""

from __future__ import annotations

from sympy import exp, log

from svertka.spec.definition import Definition, Dimension, ElementType, ModuleFace, Older, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Sum, Tensor, axis

__all__ = ["DEFINITIONS"]

a = axis("a", "elements before dim", many=True)
k = axis("k", "classes")
b = axis("b", "elements behind dim", many=True)
j = k.twin("j")
x, y = Tensor("input", a, k, b), Tensor("output", a, k, b)

total = Sum(exp(x[a, j, b]), j)
SOFTMAX = Layer("softmax", (x,), (Equation(y, exp(x[a, k, b]) / total),), ("output",))
LOG_SOFTMAX = Layer("log_softmax", (x,), (Equation(y, x[a, k, b] - log(total)),), ("output",))


def _definition(layer: Layer, title: str, module: str) -> Definition:
    return Definition(
        name=layer.name,
        title=title,
        source="slide 18",
        variants=(Variant(layer),),
        function=layer.name,
        arguments=(
            TensorArgument(name="input"),
            Dimension(name="dim", default=None, axis="k", tensors=("input", "output")),
            ElementType(name="dtype", tensor="input"),
        ),
        older=(
            Older(
                name="_stacklevel",
                default=3,
                annotation="int",
                meaning="how many calls above the one that warns of a missing dim.",
                behind="dim",
            ),
        ),
        first=("if dim is None:", f'    dim = implicit_dimension("{layer.name}", input, _stacklevel)'),
        modules=(ModuleFace(module, base=f"torch.nn.{module}", call={"dtype": "None", "_stacklevel": "5"}),),
    )


DEFINITIONS = (
    _definition(SOFTMAX, "Softmax: scores become probabilities.", "Softmax"),
    _definition(LOG_SOFTMAX, "Logarithm of softmax.", "LogSoftmax"),
)
