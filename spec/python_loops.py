"""The Python source of an equation: nested loops over its indices, and calls of an arithmetic.

One expression of a formula is one expression of Python, in the formula's order. Only conditions are moved: one that
reads no tensor stands in the outermost loop that has its indices.

Input: an arithmetic, extents and parameters, arrays. Output: source, and the objects that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from math import prod
from types import CodeType
from typing import Any

from sympy import Basic, Expr, Integer
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from svertka.spec.affine import Affine
from svertka.spec.arithmetic import Arithmetic, uniform
from svertka.spec.layer import Equation, text_of
from svertka.spec.notation import (
    Divides,
    FloorDiv,
    Index,
    InRange,
    Read,
    Reduction,
    Select,
    Uniform,
    maximum,
    minimum,
)
from svertka.spec.rewrite import selections
from svertka.spec.running_error import Bounded, RunningError

__all__ = ["PythonLoops", "missing"]


class PythonLoops:
    """Compiler of equations, integer expressions and conditions.

    Args:
        arithmetic: how to compute.
        sizes: extents and parameters by name; None for functions that are given them with the indices (``asked``).

    Attributes:
        shapes: of the tensors that may be read, by name.
        defaults: names of the tensors that are left out.
        objects: what the source names, besides the loop indices.
    """

    def __init__(self, arithmetic: Arithmetic, sizes: Mapping[str, Any] | None) -> None:
        self.arithmetic, self.sizes = arithmetic, sizes
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.defaults: set[str] = set()
        self.objects: dict[str, Any] = {
            "Integer": Integer,
            "product": product,
            "uniform": uniform,
            "take": getattr(arithmetic, "exact", arithmetic.number),  # a random number is used unchanged
            "number": arithmetic.number,
            "add": arithmetic.add,
            "multiply": arithmetic.multiply,
            "power": arithmetic.power,
            "power_of_any": getattr(arithmetic, "power_of_any", arithmetic.power),
            "function": arithmetic.function,
            "compare": arithmetic.compare,
            "minimum": partial(_smaller, arithmetic),
            # On a tie it is the second, as in the gradient's convention.
            "maximum": lambda left, right: _first_largest([(0, right), (1, left)], arithmetic)[1],
            "sum_of": arithmetic.total,
            "product_of": arithmetic.product,
            "max_of": lambda members: _first_largest(members, arithmetic)[1],
            "argmax_of": lambda members: _first_largest(members, arithmetic)[0] if members else 0,
        }
        self._locals: dict[str, str] = {}
        self._tensors: dict[str, str] = {}
        self._constants = 0

    # Tensors -------------------------------------------------------------------------------------------------------

    def know(self, name: str, shape: tuple[int, ...], values: Sequence[Any]) -> None:
        """Let equations read a tensor of these elements."""
        self.shapes[name] = shape
        self.objects[self._tensor(name)] = values

    def leave_out(self, name: str, default: Any) -> None:
        """Let equations read a tensor that is left out: it is ``default`` everywhere."""
        self.defaults.add(name)
        self.objects[self._tensor(name)] = default

    def _tensor(self, name: str) -> str:
        return self._tensors.setdefault(name, f"t{len(self._tensors)}")

    # Source --------------------------------------------------------------------------------------------------------

    def elements(self, equation: Equation) -> list[Any]:
        """The elements of an equation's target, in row-major order; the equation is a map, or one reduction."""
        axes = equation.target.axes
        self._locals = {index.name: f"i{place}" for place, index in enumerate(axes)}
        names = "".join(f"{self._locals[index.name]}, " for index in axes)
        ranges = ", ".join(f"range({self.size(index.extent)})" for index in axes)
        lines = ["def elements():", "    found = []", f"    for {names or '_ '}in product({ranges}):"]
        if isinstance(equation.value, Reduction):
            lines += [" " * 8 + line for line in self._reduction(equation.value)]
            value = f"{equation.value.operation}_of(members)"
        else:
            value = (self.index if equation.target.kind == "integer" else self.real)(equation.value)
        lines += [f"        found.append({value})", "    return found"]
        exec(_compiled("\n".join(lines), "exec"), self.objects)
        found: list[Any] = self.objects["elements"]()
        return found

    def asked(self, node: Basic) -> Callable[[Mapping[str, int]], Any]:
        """A function of the indices, and of extents and parameters if they are not known: an integer, or a truth."""
        self._locals = {index.name: f"here[{index.name!r}]" for index in node.atoms(Index)}
        text = self.index(node) if isinstance(node, Expr) else self.condition(node)
        function: Callable[[Mapping[str, int]], Any] = eval(_compiled(f"lambda here: {text}", "eval"), self.objects)
        return function

    def size(self, expression: Expr) -> int:
        """Value of an integer expression over extents and parameters."""
        return int(eval(self.index(expression), self.objects))

    def _reduction(self, node: Reduction) -> list[str]:
        """Lines that collect the members: those of which the guard holds, in order."""
        extents = [self.size(index.extent) for index in node.indices]
        self._locals |= {index.name: f"s{place}" for place, index in enumerate(node.indices)}
        member = self.real(node.body)
        if node.operation in ("max", "argmax"):
            strides = [prod(extents[place + 1 :]) for place in range(len(extents))]
            position = Affine(0, {index.name: step for index, step in zip(node.indices, strides, strict=True)})
            member = f"({position.source(self._locals)}, {member})"
        lines, indent = ["members = []"], ""
        conditions = self._by_loop(node)
        for place, extent in enumerate([None, *extents]):
            if extent is not None:
                lines.append(f"{indent}for s{place - 1} in range({extent}):")
                indent += "    "
            for condition in conditions[place]:
                lines.append(f"{indent}if {condition}:")
                indent += "    "
        return [*lines, f"{indent}members.append({member})"]

    def _by_loop(self, node: Reduction) -> list[list[str]]:
        """The parts of the guard by the number of loops that they stand in; what reads a tensor stands in all."""
        parts = sorted(node.guard.args, key=text_of) if isinstance(node.guard, And) else [node.guard]
        found: list[list[str]] = [[] for _ in range(len(node.indices) + 1)]
        for part in parts:
            inside = [place + 1 for place, index in enumerate(node.indices) if index in part.atoms(Index)]
            depth = len(node.indices) if part.atoms(Read) else max(inside, default=0)
            if part is not BooleanTrue():
                found[depth].append(self.condition(part))
        return found

    # Integers ------------------------------------------------------------------------------------------------------

    def index(self, node: Expr) -> str:
        """Source of an integer expression."""
        if isinstance(node, Read):
            return self._read(node)
        affine = self._affine(node) if self.sizes is not None else None
        if affine is not None:
            return affine.source(self._locals)
        if node.is_Symbol:
            return self._locals[node.name] if isinstance(node, Index) else f"int(here[{node.name!r}])"
        if node.is_Integer:
            return f"({node})"
        if isinstance(node, Select):
            return self._selected(node, self.index)
        parts = [self.index(part) for part in node.args]
        if node.is_Add or node.is_Mul:
            return f"({(' + ' if node.is_Add else ' * ').join(parts)})"
        if isinstance(node, FloorDiv):
            return f"({parts[0]} // {parts[1]})"
        if isinstance(node, maximum | minimum):
            return f"{'max' if isinstance(node, maximum) else 'min'}({parts[0]}, {parts[1]})"
        if node.is_Pow:
            return f"int({parts[0]} ** {parts[1]})"
        raise TypeError(
            f"index expression {node}: {type(node).__name__} is not supported; use +, *, FloorDiv, Select and reads"
        )

    def _affine(self, node: Expr) -> Affine | None:
        """The expression as a constant and slopes of the loop indices at these sizes; None if it is not affine."""
        if isinstance(node, Index):
            return Affine(0, {node.name: 1})
        if node.is_Integer or node.is_Symbol:
            return Affine(int(node) if node.is_Integer else int(self._parameter(node.name)), {})
        if not (node.is_Add or node.is_Mul):
            return None
        parts = [part for part in map(self._affine, node.args) if part is not None]
        if len(parts) < len(node.args):
            return None
        if node.is_Add:
            return Affine.sum((1, part) for part in parts)
        varying = [part for part in parts if part.slopes]
        if len(varying) > 1:
            return None
        factor = prod(part.constant for part in parts if not part.slopes)
        return Affine.sum([(factor, varying[0] if varying else Affine(1, {}))])

    def _parameter(self, name: str) -> Any:
        if self.sizes is None or name not in self.sizes:
            raise ValueError(missing(name, self.sizes or {}))
        return self.sizes[name]

    def _read(self, node: Read) -> str:
        if node.tensor in self.defaults:
            return self._tensor(node.tensor)
        shape = self.shapes[node.tensor]
        strides = [prod(shape[place + 1 :]) for place in range(len(shape))]
        affine = [part for part in map(self._affine, node.indices) if part is not None]
        if len(affine) == len(node.indices):
            return f"{self._tensor(node.tensor)}[{Affine.sum(zip(strides, affine, strict=True)).source(self._locals)}]"
        parts = [f"{self.index(part)} * {stride}" for part, stride in zip(node.indices, strides, strict=True)]
        return f"{self._tensor(node.tensor)}[{' + '.join(parts)}]"

    # Reals ---------------------------------------------------------------------------------------------------------

    def real(self, node: Expr) -> str:
        """Source of a real expression."""
        if isinstance(node, Read) and node.args[1].name == "real":
            return self._read(node)
        if isinstance(node, Uniform):
            return f"take(uniform({self.index(node.args[0])}, {self.index(node.args[1])}))"
        if node.is_Number or node.is_NumberSymbol or (node.is_Symbol and not isinstance(node, Index)):
            if node.is_Symbol and self.sizes is None:
                return f"number(here[{node.name!r}])"
            return self._constant(self._parameter(node.name) if node.is_Symbol else node)
        if node.is_integer and isinstance(node, Index | Read | FloorDiv):
            return f"number(Integer({self.index(node)}))"
        if isinstance(node, Select):
            return self._selected(node, self.real)
        if node.is_Mul:
            return self._product(node)
        return self._operation(node, [self.real(part) for part in node.args])

    def _constant(self, value: Any) -> str:
        """The name of a number, by its place among all: equal formulas at equal sizes have equal source."""
        self._constants += 1
        self.objects[f"n{self._constants}"] = self.arithmetic.number(value)
        return f"n{self._constants}"

    def _product(self, node: Expr) -> str:
        """A product; if a selecting factor is 0, the other factors are not computed."""
        selecting, others = selections(node)
        result = f"multiply({', '.join(map(self.real, others))})" if others else self._constant(Integer(1))
        taken = [f"{'' if f.args[1] == 1 else 'not '}{self.condition(f.args[0])}" for f in selecting]
        return f"({result} if {' and '.join(taken)} else {self._constant(Integer(0))})" if taken else result

    def _operation(self, node: Expr, parts: list[str]) -> str:
        name, arguments = type(node).__name__, ", ".join(parts)
        if node.is_Add:
            return f"add({arguments})"
        if node.is_Pow:
            return f"{'power' if node.exp.is_Number else 'power_of_any'}({arguments})"
        if name in ("maximum", "minimum"):
            return f"{name}({arguments})"
        if len(parts) == 1:
            return f"function({name!r}, {arguments})"
        raise TypeError(f"expression {node}: {name} is not supported in a formula")

    def _selected(self, node: Select, of: Callable[[Expr], str]) -> str:
        """One of two expressions; the other is not computed."""
        if_true, if_false = map(of, node.args[1:])
        return f"({if_true} if {self.condition(node.args[0])} else {if_false})"

    # Conditions ----------------------------------------------------------------------------------------------------

    def condition(self, node: Basic) -> str:
        """Source of a condition."""
        if isinstance(node, BooleanTrue | BooleanFalse):
            return str(bool(node))
        if isinstance(node, InRange):
            return f"(0 <= {self.index(node.args[0])} < {self.index(node.args[1])})"
        if isinstance(node, Divides):
            return f"({self.index(node.args[1])} % {self.index(node.args[0])} == 0)"
        if isinstance(node, And | Or | Not):
            parts = [self.condition(part) for part in sorted(node.args, key=text_of)]
            joined = (" and " if isinstance(node, And) else " or ").join(parts)
            return f"(not {parts[0]})" if isinstance(node, Not) else f"({joined})"
        relation = getattr(node, "rel_op", None)
        if relation is None:
            raise TypeError(f"condition {node}: {type(node).__name__} is not supported; compare, or use inside(...)")
        if all(side.is_integer for side in node.args):
            left, right = map(self.index, node.args)
            return f"({left} {relation} {right})"
        left, right = map(self.real, node.args)
        return f"compare({relation!r}, {left}, {right})"


def missing(name: str, sizes: Mapping[str, Any]) -> str:
    """The message for a name that has no value."""
    return f"parameter or extent {name!r} is missing; give it in sizes (given: {sorted(sizes)})"


@lru_cache(maxsize=4096)
def _compiled(text: str, mode: str) -> CodeType:
    return compile(text, "<equation>", mode)


def _is_nan(value: Any) -> bool:
    number = value.value if isinstance(value, Bounded) else value
    return bool(number != number)


def _first_largest(members: list[tuple[int, Any]], arithmetic: Arithmetic) -> tuple[int, Any]:
    """Position and value of the first maximal element, or of the last NaN; over nothing the value is -inf."""
    if not members:
        return 0, arithmetic.number(float("-inf"))
    best = members[0]
    for member in members[1:]:
        if _is_nan(member[1]) or arithmetic.compare(">", member[1], best[1]):
            best = member
    if isinstance(arithmetic, RunningError):
        return best[0], Bounded(best[1].value, max(value.error for _, value in members))
    return best


def _smaller(arithmetic: Arithmetic, left: Any, right: Any) -> Any:
    if _is_nan(left) or _is_nan(right):
        return left if _is_nan(left) else right
    taken = left if arithmetic.compare("<", left, right) else right
    return Bounded(taken.value, max(left.error, right.error)) if isinstance(arithmetic, RunningError) else taken
