"""Formulas: notation, index calculus, evaluation, and one file per layer."""

from svertka.spec.adjoint import adjoint, gradient_name, gradient_of
from svertka.spec.arithmetic import Float as Float  # not in __all__: a formula file has SymPy's of this name
from svertka.spec.arithmetic import Rational as Rational  # likewise
from svertka.spec.arithmetic import Symbolic
from svertka.spec.define import define
from svertka.spec.evaluate import Array, evaluate
from svertka.spec.layer import Equation, Layer
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import (
    ArgMax,
    FloorDiv,
    Index,
    Max,
    Prod,
    Read,
    Reduction,
    Select,
    Sum,
    Tensor,
    Uniform,
    axes,
    axis,
    boolean,
    inside,
    integer,
    maximum,
    minimum,
    number,
    sigmoid,
    softplus,
)
from svertka.spec.renamed import renamed
from svertka.spec.running_error import FORMATS, RunningError

__all__ = [
    "FORMATS",
    "ArgMax",
    "Array",
    "Equation",
    "FloorDiv",
    "Index",
    "Layer",
    "Max",
    "Prod",
    "Read",
    "Reduction",
    "RunningError",
    "Select",
    "Sum",
    "Symbolic",
    "Tensor",
    "Uniform",
    "adjoint",
    "axes",
    "axis",
    "boolean",
    "define",
    "evaluate",
    "gradient_name",
    "gradient_of",
    "inside",
    "integer",
    "maximum",
    "minimum",
    "normal_form",
    "number",
    "renamed",
    "sigmoid",
    "softplus",
]
