"""Formulas as plain PyTorch in float64: what a package runs on CPU tensors of layers that have no NumPy reference.

Any ``Layer`` becomes a function: a formula, its adjoint, the adjoint of its adjoint. Expressions are functions of
indices. Every index is an int64 tensor along a dimension of its own, so an expression has only the dimensions of the
indices in it. ``evaluation`` in the package evaluates these functions, for some elements at a time.

Input: a ``Layer``. Output: the source of a function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sympy import Add, Basic, Expr, Mul, Pow, Symbol
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from svertka.codegen.emit.expressions_printer import number
from svertka.codegen.lowering.build import keywords_of
from svertka.codegen.lowering.small_arguments import of_small_argument
from svertka.codegen.passes.pipeline import through
from svertka.spec import adjoint, gradient_of, normal_form
from svertka.spec.definition import Definition, Variant
from svertka.spec.layer import Equation, Layer, reads, text_of, walk
from svertka.spec.notation import Divides, FloorDiv, Index, InRange, Read, Reduction, Select, Tensor, Uniform
from svertka.spec.rewrite import index_set, selections

__all__ = ["formula_functions", "function_source"]

_FUNCTIONS = {"exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "Abs", "sign"}
_CHOICES = {"maximum", "minimum"}


def formula_functions(definition: Definition, variant: Variant) -> list[str]:
    """A variant's formula and its gradient, as sources of functions."""
    layer = variant.layer
    names, results = definition.differentiable(layer), definition.real_results(layer)
    keywords = keywords_of(layer)
    forward = function_source(f"{layer.name}_forward", layer, layer.inputs, keywords)
    seeds = tuple(Tensor(gradient_of(layer, name), *layer.tensors[name].dims) for name in results)
    derived = adjoint(layer, names, results)
    backward = function_source(f"{layer.name}_backward", derived, (*seeds, *layer.inputs), keywords, chosen=True)
    return [forward, backward]


def function_source(
    name: str, layer: Layer, inputs: Sequence[Tensor], keywords: Sequence[str], chosen: bool = False
) -> str:
    """A function that computes a layer's outputs.

    Args:
        name: of the function.
        layer: what it computes.
        inputs: its arguments, in order; the layer's and perhaps more.
        keywords: extents and parameters that it takes.
        chosen: whether it takes ``wanted``, which says of each output whether it is computed or None.
    """
    named = [*(f"{name}: Any" for name in keywords), *["wanted: Sequence[bool]"] * chosen]
    parameters = ", ".join([*(f"{t.name}: Any" for t in inputs), *["*"] * bool(named), *named])
    lines = [
        f"def {name}({parameters}) -> tuple[Any, ...]:",
        f'    """Compute {", ".join(layer.outputs) or "nothing"}."""',
    ]
    lines += [f"    {line}" for line in _body(layer, inputs, keywords, chosen)]
    return "\n".join(lines)


def _body(layer: Layer, inputs: Sequence[Tensor], keywords: Sequence[str], chosen: bool) -> Iterator[str]:
    normal = _computed(layer)
    printer = _Printer({s.name for s in layer.parameters if not s.is_integer})
    yield from _extents(inputs, keywords)
    for tensor in inputs:
        shape = _shape(i.extent.name for i in tensor.axes)
        default = "None" if tensor.default is None else repr(float(tensor.default))
        yield f"{tensor.name} = evaluation.given({tensor.name}, {shape}, {default})"
    serves = _serving(normal)
    if chosen:
        yield from (f"{name}: Any = None" for name in normal.outputs)
    for equation in normal.equations:
        text = f"{equation.target.name} = {printer.equation(equation)}"
        needed = serves[equation.target.name]
        if chosen and len(needed) < len(normal.outputs):
            yield f"if {' or '.join(f'wanted[{place}]' for place in needed)}:"
            text = f"    {text}"
        yield text
    dims = {t.name: t.dims for t in normal.tensors.values()}
    results = []
    for place, name in enumerate(normal.outputs):
        shape = _shape(" * ".join(index.extent.name for index in dim) for dim in dims[name])
        result = f"{name}.reshape({shape})"
        results.append(f"{result} if wanted[{place}] else None" if chosen else result)
    yield f"return ({', '.join(results)},)" if results else "return ()"


def _computed(layer: Layer) -> Layer:
    """The layer as it is computed: with exponents shifted as in the kernels, if there are any to shift."""
    folded = through(layer, "drop vanishing sums")
    shifted = through(folded, "stabilize", first="stabilize")
    return normal_form(layer) if shifted == folded else shifted


def _extents(inputs: Sequence[Tensor], keywords: Sequence[str]) -> Iterator[str]:
    """Assignments of the extents that the shapes of tensors show."""
    shown: set[str] = {*keywords}
    for tensor in inputs:
        for place, dim in enumerate(tensor.dims):
            name = dim[0].extent.name
            if tensor.default is None and len(dim) == 1 and name not in shown:
                shown.add(name)
                yield f"{name} = {tensor.name}.shape[{place}]"


def _serving(layer: Layer) -> dict[str, list[int]]:
    """For each tensor, the outputs that need it."""
    needs: dict[str, set[int]] = {name: {place} for place, name in enumerate(layer.outputs)}
    for equation in reversed(layer.equations):
        for read in reads(equation.value):
            needs.setdefault(read.tensor, set()).update(needs.get(equation.target.name, set()))
    return {name: sorted(places) for name, places in needs.items()}


def _shape(extents: Iterator[str]) -> str:
    parts = list(extents)
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"


class _Printer:
    """Prints the expressions of one layer; every subexpression is in parentheses or a call.

    Args:
        numbers: names of real parameters.
    """

    def __init__(self, numbers: set[str]) -> None:
        self.numbers = numbers

    def equation(self, equation: Equation) -> str:
        """A call of ``evaluation`` for all elements of a target."""
        axes, value = equation.target.axes, equation.value
        shape = _shape(i.extent.name for i in axes)
        if not isinstance(value, Reduction):
            body = self.integer(value) if equation.target.kind == "integer" else self.real(value)
            return f"evaluation.mapped({shape}, {equation.target.kind!r}, {_function(axes, body)})"
        indices = (*axes, *value.indices)
        summed = _shape(i.extent.name for i in value.indices)
        body, held = _guarded(value)
        guard = "None" if held == True else _function(indices, self.condition(held))  # noqa: E712
        factors = self._factors(body) if value.operation == "sum" else [self.real(body)]
        bodies = ", ".join(_function(indices, factor) for factor in factors)
        return f"evaluation.reduced({value.operation!r}, {shape}, {summed}, {guard}, {bodies})"

    def _factors(self, body: Expr) -> list[str]:
        """The factors of the body if it is a product of tensors, whose sum is a matrix product; else the body alone."""
        factors = sorted(Mul.make_args(body), key=text_of)
        varying = [f for f in factors if index_set(f)]
        if len(varying) < 2:
            return [self.real(body)]
        return [self.real(f) for f in (*varying[:-1], Mul(varying[-1], *(f for f in factors if not index_set(f))))]

    def real(self, node: Basic) -> str:
        """A float64 tensor."""
        node = of_small_argument(node)
        if isinstance(node, Read):
            element = self._read(node)
            return f"evaluation.real({element})" if node.args[1].name == "integer" else element
        if not any(isinstance(part, Read | Symbol | Uniform) for part in walk(node)):
            return f"evaluation.real({_number(node)})"
        if isinstance(node, Symbol | FloorDiv):
            return f"evaluation.real({node.name if isinstance(node, Symbol) else self.integer(node)})"
        if isinstance(node, Uniform):
            return f"evaluation.uniform({self.integer(node.args[0])}, {self.integer(node.args[1])})"
        if isinstance(node, Select):
            return f"torch.where({self.condition(node.args[0])}, {self.real(node.args[1])}, {self.real(node.args[2])})"
        if isinstance(node, Add):
            return self._sum(node)
        if isinstance(node, Mul):
            return self._product(node)
        if isinstance(node, Pow):
            return f"torch.pow({self.real(node.base)}, {self._operand(node.exp)})"
        name = type(node).__name__
        if name not in _FUNCTIONS | _CHOICES:
            raise TypeError(f"expression {node}: {name} is not supported in a formula")
        called = {"Abs": "torch.abs", "sign": "evaluation.sign"}.get(name, f"torch.{name}")
        return f"{called}({', '.join(self.real(part) for part in node.args)})"

    def _product(self, node: Mul) -> str:
        """A product; a factor that is 0 or 1 by a condition becomes a selection, which avoids 0 times infinity."""
        selecting, others = selections(node)
        text = self._joined(" * ", [self._operand(part) for part in _sorted(others)]) if others else "1.0"
        for factor in _sorted(selecting):
            sides = f"{text}, 0.0" if factor.args[1] == 1 else f"0.0, {text}"
            text = f"torch.where({self.condition(factor.args[0])}, {sides})"
        return text

    def _read(self, node: Read) -> str:
        return f"evaluation.at({', '.join([node.tensor, *(self.integer(index) for index in node.indices)])})"

    def _sum(self, node: Add) -> str:
        """Terms with their signs."""
        negative = {term: bool(term.could_extract_minus_sign()) for term in node.args}
        first, *rest = sorted(node.args, key=lambda term: (negative[term], text_of(term)))
        text = self._operand(first)
        for term in rest:
            text += f" - {self._operand(-term)}" if negative[term] else f" + {self._operand(term)}"
        return f"({text})"

    def _operand(self, node: Basic) -> str:
        """An operand of an operation with a tensor, where a number need not be a tensor."""
        return (
            f"({_number(node)})"
            if node.is_Number and node < 0
            else _number(node)
            if node.is_Number
            else self.real(node)
        )

    def _joined(self, sign: str, parts: Sequence[str]) -> str:
        return f"({sign.join(parts)})"

    def integer(self, node: Basic) -> str:
        """An int64 tensor or a Python integer."""
        if isinstance(node, Read):
            return self._read(node)
        if isinstance(node, Symbol):
            return str(node.name)
        if node.is_Integer:
            return f"({node})" if int(node) < 0 else str(node)
        if isinstance(node, Add | Mul):
            sign = " + " if isinstance(node, Add) else " * "
            return self._joined(sign, [self.integer(part) for part in _sorted(node.args)])
        if isinstance(node, FloorDiv):
            return self._joined(" // ", [self.integer(part) for part in node.args])
        if isinstance(node, Pow):
            return self._joined(" ** ", [self.integer(part) for part in node.args])
        if isinstance(node, Select):
            chosen = ", ".join(self.integer(part) for part in node.args[1:])
            return f"evaluation.chosen({self.condition(node.args[0])}, {chosen})"
        if type(node).__name__ in _CHOICES:
            return f"evaluation.{type(node).__name__}({', '.join(self.integer(part) for part in node.args)})"
        raise TypeError(f"index expression {node}: {type(node).__name__} is not supported")

    def condition(self, node: Basic) -> str:
        """A tensor of truth values."""
        if isinstance(node, BooleanTrue | BooleanFalse):
            return f"torch.tensor({bool(node)})"
        if isinstance(node, InRange):
            return f"evaluation.inside({self.integer(node.args[0])}, {self.integer(node.args[1])})"
        if isinstance(node, Divides):
            return f"evaluation.true({self.integer(node.args[1])} % {self.integer(node.args[0])} == 0)"
        if isinstance(node, Not):
            return f"(~{self.condition(node.args[0])})"
        if isinstance(node, And | Or):
            sign = " & " if isinstance(node, And) else " | "
            return self._joined(sign, [self.condition(part) for part in sorted(node.args, key=text_of)])
        whole = all(part.is_integer for part in node.args)
        sides = [self.integer(part) if whole else self.real(part) for part in node.args]
        return f"evaluation.true({sides[0]} {node.rel_op} {sides[1]})"


def _guarded(value: Reduction) -> tuple[Expr, Basic]:
    """Body and guard of a reduction; factors that select terms of a sum are made part of the guard."""
    if value.operation != "sum":
        return value.body, value.guard
    selecting, others = selections(value.body)
    held = [factor.args[0] if factor.args[1] == 1 else Not(factor.args[0]) for factor in selecting]
    return Mul(*others), And(value.guard, *held)


def _function(indices: Sequence[Index], body: str) -> str:
    names = ", ".join(index.name for index in indices)
    return f"lambda{' ' if names else ''}{names}: {body}"


def _sorted(parts: Sequence[Basic]) -> list[Basic]:
    return sorted(parts, key=text_of)


def _number(node: Expr) -> str:
    return number(float(node)).source
