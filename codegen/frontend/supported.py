"""The constructs that a formula may have, checked before anything is derived from it.

The published subset is documented in ``spec/NOTATION.md``. A similar function of SymPy or Python is refused with the
name that the notation has for it.

Input: a ``Layer``. Output: nothing, or a ``TypeError`` or ``ValueError`` that names the fault and the remedy.
"""

from __future__ import annotations

from sympy import Abs as Absolute
from sympy import Add, Basic, Mul, NumberSymbol, Pow, Symbol, Tuple, cos, erf, exp, log, sign, sin, tanh
from sympy.core.numbers import Number
from sympy.core.relational import Relational
from sympy.core.symbol import Str
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from svertka.spec.layer import Layer, symbols_of, walk
from svertka.spec.notation import (
    Divides,
    FloorDiv,
    InRange,
    Read,
    Reduction,
    Select,
    Uniform,
    maximum,
    minimum,
)

__all__ = ["FUNCTIONS", "check_supported"]

FUNCTIONS = (exp, log, tanh, erf, sin, cos, Absolute, sign, maximum, minimum, Select, FloorDiv, Uniform)
_NODES = (
    *FUNCTIONS,
    *(Add, Mul, Pow, Number, NumberSymbol, Symbol, Read, Reduction, Str, Tuple),
    *(And, Or, Not, BooleanTrue, BooleanFalse, Relational, Divides, InRange),
)
_NO_PLACES = (*(kind for kind in FUNCTIONS if kind not in (Select, FloorDiv)), Reduction)
_REMEDIES = {
    "Max": "use maximum(a, b) of svertka.spec",
    "Min": "use minimum(a, b) of svertka.spec",
    "Piecewise": "use Select(condition, a, b) of svertka.spec",
    "Heaviside": "use Select(condition, a, b) of svertka.spec",
    "ITE": "use Select(condition, a, b) of svertka.spec",
    "Sum": "use Sum(body, index) of svertka.spec",
    "Product": "use Prod(body, index) of svertka.spec",
    "floor": "use FloorDiv(a, b) of svertka.spec, on whole numbers",
    "ceiling": "use -FloorDiv(-a, b) of svertka.spec, on whole numbers",
    "Mod": "use a - b * FloorDiv(a, b) of svertka.spec, on whole numbers",
    "Indexed": "make tensors with Tensor(...) of svertka.spec",
    "Derivative": "write the derivative out, or derive a gradient with adjoint(...)",
    "ImaginaryUnit": "formulas are over real numbers",
}
_OTHERWISE = "use numbers, + - * / **, pi, E, and {functions}"


def check_supported(layer: Layer) -> None:
    """Refuse constructs that kernels do not support.

    Raises:
        TypeError: a node is not in the published subset, a parameter is no real number, or an index is one.
        ValueError: a number is infinite or NaN, or an output is not computed by the layer.
    """
    _check_outputs(layer)
    for equation in layer.equations:
        where = f"layer {layer.name}, equation of {equation.target.name}"
        for node in walk(equation.value):
            if not isinstance(node, _NODES):
                raise TypeError(f"{where}: {type(node).__name__} in {node} is not supported; {_remedy(node)}")
            if isinstance(node, Number) and not node.is_finite:
                raise ValueError(f"{where}: {node} is no finite number; write one that is")
            if isinstance(node, Read):
                _check_places(where, node)
        for symbol in symbols_of(equation.value):
            if not symbol.is_real:
                raise TypeError(
                    f"{where}: parameter {symbol.name!r} is not known to be a real number; make it with "
                    f'number("{symbol.name}"), integer("{symbol.name}") or boolean("{symbol.name}")'
                )


def _check_outputs(layer: Layer) -> None:
    """Check that outputs are results of equations, each once.

    Raises:
        ValueError: they are not.
    """
    made = {equation.target.name for equation in layer.equations}
    where = f"layer {layer.name}"
    if not layer.outputs:
        raise ValueError(f"{where}: it has no output; name at least one")
    for name in layer.outputs:
        if name not in made:
            raise ValueError(
                f"{where}: output {name!r} is an input; leave it out, or give it an equation and another name"
            )
        if layer.outputs.count(name) > 1:
            raise ValueError(f"{where}: output {name!r} is given twice; drop one")


def _remedy(node: Basic) -> str:
    names = sorted((kind.__name__ for kind in FUNCTIONS), key=str.lower)
    return _REMEDIES.get(type(node).__name__, _OTHERWISE.format(functions=", ".join(names)))


def _check_places(where: str, read: Read) -> None:
    """Check that indices are whole numbers: axes, integer parameters and elements of integer tensors."""
    for place in read.indices:
        for node in walk(place):
            if isinstance(node, Read) and node.args[1].name != "integer":
                raise TypeError(
                    f'{where}: {read} is read at a real number, {node}; make that tensor with kind="integer"'
                )
            if isinstance(node, _NO_PLACES):
                raise TypeError(
                    f"{where}: {read} is read at {place}, and {type(node).__name__} is not supported there; use whole "
                    "numbers, + - *, FloorDiv(a, b), Select(condition, a, b) and integer tensors"
                )
            if isinstance(node, Symbol) and not node.is_integer:
                raise TypeError(
                    f"{where}: {read} is read at {place}, and {node.name!r} need not be whole; make it with "
                    f'integer("{node.name}")'
                )
        if not place.is_integer:
            raise TypeError(f"{where}: {read} is read at {place}, which need not be whole; divide with FloorDiv(a, b)")
