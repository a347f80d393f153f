"""Evaluate a layer literally, equation by equation, in any arithmetic.

Each equation becomes nested Python loops over its indices, without optimization. This defines the meaning of a formula;
gradients, references and kernels are compared with it.

Input: a ``Layer``, its tensors as ``Array``s, extents and parameters by name, an ``Arithmetic``. Output: ``Array``s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from sympy import Basic, Expr, Integer
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from svertka.spec.affine import Affine
from svertka.spec.arithmetic import Arithmetic, Float, uniform
from svertka.spec.layer import Equation, Layer, text_of
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import (
    Divides,
    FloorDiv,
    Index,
    InRange,
    Read,
    Reduction,
    Select,
    Tensor,
    Uniform,
    maximum,
    minimum,
)
from svertka.spec.rewrite import selections
from svertka.spec.running_error import Bounded, RunningError

__all__ = ["Array", "Places", "evaluate", "extents_of", "holds", "values_of", "whole"]


@dataclass(frozen=True)
class Array:
    """Values over axes, in row-major order.

    Attributes:
        shape: extents of the formula's axes.
        values: elements; the last axis varies fastest.
    """

    shape: tuple[int, ...]
    values: list[Any]

    def __post_init__(self) -> None:
        if prod(self.shape) != len(self.values):
            raise ValueError(f"array of shape {self.shape}: {len(self.values)} values given, {prod(self.shape)} needed")

    def __getitem__(self, indices: Sequence[int]) -> Any:
        return self.values[_offset(indices, self.shape)]

    def map(self, function: Callable[[Any], Any]) -> Array:
        """The array of ``function`` of each element."""
        return Array(self.shape, [function(value) for value in self.values])

    @classmethod
    def filled(cls, shape: Iterable[int], make: Callable[[tuple[int, ...]], Any]) -> Array:
        """The array whose element at ``indices`` is ``make(indices)``."""
        extents = tuple(shape)
        return cls(extents, [make(indices) for indices in product(*map(range, extents))])


def _offset(indices: Sequence[int], shape: Sequence[int]) -> int:
    offset = 0
    for index, extent in zip(indices, shape, strict=True):
        offset = offset * extent + index
    return offset


def extents_of(layer: Layer, arrays: Mapping[str, Array]) -> dict[str, int]:
    """Extents that follow from the shapes of a layer's inputs.

    Raises:
        ValueError: two inputs disagree about an extent.
    """
    sizes: dict[str, int] = {}
    for tensor in layer.inputs:
        if tensor.name not in arrays:
            continue
        for index, extent in zip(tensor.axes, arrays[tensor.name].shape, strict=True):
            name = str(index.extent)
            if sizes.setdefault(name, extent) != extent:
                raise ValueError(
                    f"tensor {tensor.name!r}: axis {index.name} has {extent} elements, another input says "
                    f"{sizes[name]}; make them agree"
                )
    return sizes


def evaluate(
    layer: Layer, arrays: Mapping[str, Array], sizes: Mapping[str, Any], arithmetic: Arithmetic
) -> dict[str, Array]:
    """Evaluate all outputs of a layer.

    Args:
        layer: the layer.
        arrays: its input tensors by name, values of the arithmetic (integers for integer tensors); a tensor with a
            default may be left out.
        sizes: extents that no input's shape gives (``P``, ``Q``, ...) and parameters, by name.
        arithmetic: how to compute.

    Raises:
        ValueError: an extent, a parameter or a tensor without default is missing.
    """
    scope = _Scope(arithmetic, {**extents_of(layer, arrays), **sizes})
    for tensor in layer.inputs:
        if tensor.name in arrays:
            scope.arrays[tensor.name] = arrays[tensor.name]
        elif tensor.default is not None:
            scope.defaults[tensor.name] = arithmetic.number(tensor.default)
        else:
            raise ValueError(f"layer {layer.name}: tensor {tensor.name!r} is missing; give it in arrays")
    for equation in normal_form(layer).equations:
        scope.arrays[equation.target.name] = scope.run(equation)
    return {name: scope.arrays[name] for name in layer.outputs}


def whole(expression: Expr, sizes: Mapping[str, Any]) -> int:
    """Value of an integer expression over extents and parameters."""
    return _Scope(Float(), sizes).index(expression)()


def holds(condition: Basic, sizes: Mapping[str, Any]) -> bool:
    """Whether a condition over extents and parameters is true."""
    return _Scope(Float(), sizes).condition(condition)()


def values_of(expression: Expr, sizes: Mapping[str, Any]) -> set[int]:
    """All values that an integer expression takes over the ranges of its indices."""
    asked, indices = Places(sizes), sorted(expression.atoms(Index), key=text_of)
    names = [index.name for index in indices]
    every = product(*(range(whole(index.extent, sizes)) for index in indices))
    return {asked.position(expression, dict(zip(names, place, strict=True))) for place in every}


class Places:
    """Conditions and positions that read no tensor, asked at many places: each is compiled once.

    Args:
        sizes: extents and parameters by name.
    """

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        self._scope = _Scope(Float(), sizes)
        self._compiled: dict[Basic, Callable[[], Any]] = {}

    def holds(self, condition: Basic, here: Mapping[str, int]) -> bool:
        """Whether a condition is true where indices have these values."""
        return bool(self._asked(condition, here, self._scope.condition))

    def position(self, expression: Expr, here: Mapping[str, int]) -> int:
        """Value of an integer expression where indices have these values."""
        return int(self._asked(expression, here, self._scope.index))

    def _asked(self, node: Basic, here: Mapping[str, int], compiler: Callable[[Any], Callable[[], Any]]) -> Any:
        if node not in self._compiled:
            self._compiled[node] = compiler(node)
        self._scope.here.update(here)
        return self._compiled[node]()


class _Scope:
    """Values known so far, and the compiler of expressions to closures over the loop indices."""

    def __init__(self, arithmetic: Arithmetic, sizes: Mapping[str, Any]) -> None:
        self.arithmetic = arithmetic
        self.sizes = sizes
        self.arrays: dict[str, Array] = {}
        self.defaults: dict[str, Any] = {}
        self.here: dict[str, int] = {}

    def run(self, equation: Equation) -> Array:
        target = equation.target
        value = self._value(equation.value, target.kind)
        names = [index.name for index in target.axes]

        def element(indices: tuple[int, ...]) -> Any:
            self.here.update(zip(names, indices, strict=True))
            return value()

        return Array.filled((self._size(i.extent) for i in target.axes), element)

    def _value(self, value: Expr, kind: str) -> Callable[[], Any]:
        if isinstance(value, Reduction):
            return self._reduction(value)
        return self.index(value) if kind == "integer" else self.real(value)

    def _size(self, expression: Expr) -> int:
        return int(self.index(expression)())

    def _reduction(self, node: Reduction) -> Callable[[], Any]:
        names = [index.name for index in node.indices]
        extents = [self._size(index.extent) for index in node.indices]
        guard, body, arithmetic = self.condition(node.guard), self.real(node.body), self.arithmetic

        def members() -> list[tuple[int, Any]]:
            found = []
            for position, indices in enumerate(product(*map(range, extents))):
                self.here.update(zip(names, indices, strict=True))
                if guard():
                    found.append((position, body()))
            return found

        if node.operation == "sum":
            return lambda: arithmetic.total([value for _, value in members()])
        if node.operation == "product":
            return lambda: arithmetic.product([value for _, value in members()])
        if node.operation == "max":
            return lambda: _first_largest(members(), arithmetic)[1]
        return lambda: _first_largest(found, arithmetic)[0] if (found := members()) else 0

    def index(self, node: Expr) -> Callable[[], int]:
        """Compile an integer expression."""
        if isinstance(node, Index):
            here, name = self.here, node.name
            return lambda: here[name]
        if node.is_Integer:
            number = int(node)
            return lambda: number
        if node.is_Symbol:
            constant = int(self._parameter(node.name))
            return lambda: constant
        if isinstance(node, Read):
            return self._read(node)
        affine = self._affine(node)
        if affine is not None:
            return affine.at(self.here)
        if isinstance(node, Select):
            condition, if_true, if_false = self.condition(node.args[0]), *map(self.index, node.args[1:])
            return lambda: if_true() if condition() else if_false()
        parts = [self.index(part) for part in node.args]
        if node.is_Add:
            return lambda: sum(part() for part in parts)
        if node.is_Mul:
            return lambda: prod(part() for part in parts)
        if isinstance(node, FloorDiv):
            return lambda: parts[0]() // parts[1]()
        if isinstance(node, maximum | minimum):
            choose = max if isinstance(node, maximum) else min
            return lambda: choose(parts[0](), parts[1]())
        if node.is_Pow:
            return lambda: int(parts[0]() ** parts[1]())
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
        if name not in self.sizes:
            raise ValueError(f"parameter or extent {name!r} is missing; give it in sizes (given: {sorted(self.sizes)})")
        return self.sizes[name]

    def _read(self, node: Read) -> Callable[[], Any]:
        if node.tensor in self.defaults:
            default = self.defaults[node.tensor]
            return lambda: default
        array = self.arrays[node.tensor]
        affine = [part for part in map(self._affine, node.indices) if part is not None]
        if len(affine) == len(node.indices):
            strides = [prod(array.shape[place + 1 :]) for place in range(len(array.shape))]
            offset = Affine.sum(zip(strides, affine, strict=True)).at(self.here)
            return lambda: array.values[offset()]
        parts = [self.index(part) for part in node.indices]
        return lambda: array.values[_offset([part() for part in parts], array.shape)]

    def real(self, node: Expr) -> Callable[[], Any]:
        """Compile a real expression."""
        arithmetic = self.arithmetic
        if isinstance(node, Read) and node.args[1].name == "real":
            return self._read(node)
        if isinstance(node, Uniform):
            seed, index = self.index(node.args[0]), self.index(node.args[1])
            take = getattr(arithmetic, "exact", arithmetic.number)  # a random number is used unchanged
            return lambda: take(uniform(seed(), index()))
        if node.is_Number or node.is_NumberSymbol or (node.is_Symbol and not isinstance(node, Index)):
            constant = arithmetic.number(self._parameter(node.name) if node.is_Symbol else node)
            return lambda: constant
        if node.is_integer and (isinstance(node, Index | Read | FloorDiv)):
            whole = self.index(node)
            return lambda: arithmetic.number(Integer(whole()))
        if isinstance(node, Select):
            condition, if_true, if_false = (
                self.condition(node.args[0]),
                self.real(node.args[1]),
                self.real(node.args[2]),
            )
            return lambda: if_true() if condition() else if_false()
        if node.is_Mul:
            return self._product(node)
        return self._operation(node, [self.real(part) for part in node.args])

    def _product(self, node: Expr) -> Callable[[], Any]:
        """A product; if a selecting factor is 0, the other factors are not computed."""
        selecting, others = selections(node)
        taken = [(self.condition(factor.args[0]), factor.args[1] == 1) for factor in selecting]
        parts, arithmetic = [self.real(part) for part in others], self.arithmetic
        one, zero = arithmetic.number(Integer(1)), arithmetic.number(Integer(0))

        def value() -> Any:
            if not all(holds() == wanted for holds, wanted in taken):
                return zero
            return arithmetic.multiply(*(part() for part in parts)) if parts else one

        return value

    def _operation(self, node: Expr, parts: list[Callable[[], Any]]) -> Callable[[], Any]:
        arithmetic, name = self.arithmetic, type(node).__name__
        if node.is_Add:
            return lambda: arithmetic.add(*(part() for part in parts))
        if node.is_Pow:
            raised = arithmetic.power if node.exp.is_Number else getattr(arithmetic, "power_of_any", arithmetic.power)
            return lambda: raised(parts[0](), parts[1]())
        if name == "maximum":  # on a tie it is b, as in the gradient's convention
            return lambda: _first_largest([(0, parts[1]()), (1, parts[0]())], arithmetic)[1]
        if name == "minimum":
            return lambda: _smaller(parts[0](), parts[1](), arithmetic)
        if len(parts) == 1:
            return lambda: arithmetic.function(name, parts[0]())
        raise TypeError(f"expression {node}: {name} is not supported in a formula")

    def condition(self, node: Basic) -> Callable[[], bool]:
        """Compile a condition."""
        if isinstance(node, BooleanTrue | BooleanFalse):
            constant = bool(node)
            return lambda: constant
        if isinstance(node, InRange):
            place, extent = self.index(node.args[0]), self.index(node.args[1])
            return lambda: 0 <= place() < extent()
        if isinstance(node, Divides):
            divisor, number = self.index(node.args[0]), self.index(node.args[1])
            return lambda: number() % divisor() == 0
        if isinstance(node, And | Or | Not):
            parts = [self.condition(part) for part in sorted(node.args, key=text_of)]
            if isinstance(node, Not):
                return lambda: not parts[0]()
            combine = all if isinstance(node, And) else any
            return lambda: combine(part() for part in parts)
        return self._comparison(node)

    def _comparison(self, node: Basic) -> Callable[[], bool]:
        relation = getattr(node, "rel_op", None)
        if relation is None:
            raise TypeError(f"condition {node}: {type(node).__name__} is not supported; compare, or use inside(...)")
        if all(side.is_integer for side in node.args):
            low, high = (self.index(side) for side in node.args)
            return lambda: _compare_integers(relation, low(), high())
        left, right = (self.real(side) for side in node.args)
        return lambda: self.arithmetic.compare(relation, left(), right())


def _compare_integers(relation: str, left: int, right: int) -> bool:
    return {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }[relation]


def _is_nan(value: Any) -> bool:
    number = value.value if isinstance(value, Bounded) else value
    return bool(number != number)


def _first_largest(members: list[tuple[int, Any]], arithmetic: Arithmetic) -> tuple[int, Any]:
    """Position and value of the first maximal element, or of the last NaN; over nothing position 0 and -inf."""
    if not members:
        return 0, arithmetic.number(float("-inf"))
    best = members[0]
    for member in members[1:]:
        if _is_nan(member[1]) or arithmetic.compare(">", member[1], best[1]):
            best = member
    if isinstance(arithmetic, RunningError):
        return best[0], Bounded(best[1].value, max(value.error for _, value in members))
    return best


def _smaller(left: Any, right: Any, arithmetic: Arithmetic) -> Any:
    if _is_nan(left) or _is_nan(right):
        return left if _is_nan(left) else right
    taken = left if arithmetic.compare("<", left, right) else right
    return Bounded(taken.value, max(left.error, right.error)) if isinstance(arithmetic, RunningError) else taken


def shape_of(tensor: Tensor, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Extents of a tensor's axes at concrete sizes."""
    return tuple(int(index.extent.subs({s: sizes[s.name] for s in index.extent.free_symbols})) for index in tensor.axes)
