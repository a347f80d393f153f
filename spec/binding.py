"""Call a definition as users call its function, but in any arithmetic and by evaluating the formula.

The generated functions are compared with this: arguments are bound to the formula's symbols, checked against the
definition's rules, and the formula is evaluated literally.

Input: a ``Definition``, its arguments by name, tensors as nested tuples. Output: a ``Call``, or nested tuples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from svertka.spec.arithmetic import Arithmetic
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Definition,
    Dimension,
    Flag,
    Padding,
    PerAxis,
    Real,
    Rule,
    Seed,
    TensorArgument,
    TrailingShape,
    Variant,
    Whole,
)
from svertka.spec.evaluate import Array, evaluate, holds, whole
from svertka.spec.notation import Tensor

__all__ = ["Call", "bind", "call", "nested", "shape_of_nested"]


@dataclass
class Call:
    """A call of a definition's function, bound to one of its formulas.

    Attributes:
        variant: the formula that applies.
        arrays: the tensors that were given, over the formula's axes.
        sizes: values of the formula's parameters and of extents that no tensor's shape gives.
        shapes: dimensions that an axis with ``many`` stands for, by the axis's name.
        unbatched: whether the first dimension was left out.
    """

    variant: Variant
    arrays: dict[str, Array] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unbatched: bool = False

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """A tensor's shape as the user passes it."""
        found: list[int] = []
        for place, dim in enumerate(tensor.dims):
            if len(dim) == 1 and dim[0].many:
                found += self.shapes[dim[0].name]
            elif not (place == 0 and self.unbatched and dim[0].batch):
                found.append(prod(whole(index.extent, self.sizes) for index in dim))
        return tuple(found)


def shape_of_nested(values: Any) -> tuple[int, ...]:
    """Shape of nested tuples or lists."""
    if not isinstance(values, tuple | list):
        return ()
    return (len(values), *shape_of_nested(values[0])) if values else (0,)


def _flat(values: Any) -> list[Any]:
    if not isinstance(values, tuple | list):
        return [values]
    return [element for part in values for element in _flat(part)]


def nested(values: Sequence[Any], shape: Sequence[int]) -> Any:
    """Nested tuples of a shape from elements in row-major order."""
    if not shape:
        return values[0]
    step = prod(shape[1:])
    return tuple(nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0]))


def call(definition: Definition, arithmetic: Arithmetic, /, **arguments: Any) -> Any:
    """The function's result, or a tuple of its results, as nested tuples.

    Raises:
        ValueError: a rule is broken, or an argument is missing or unknown.
    """
    if any(_given(definition, arguments)[name] == value for name, value in definition.identity_when.items()):
        return arguments[definition.arguments[0].name]
    bound = bind(definition, **arguments)
    layer = bound.variant.layer
    real = {t.name for t in layer.inputs if t.kind == "real"}
    arrays = {name: array.map(arithmetic.number) if name in real else array for name, array in bound.arrays.items()}
    names = list(definition.result)
    names += [result for flag, result in definition.optional_results.items() if arguments.get(flag)]
    outputs = evaluate(layer.only(names), arrays, bound.sizes, arithmetic)
    results = tuple(nested(outputs[name].values, bound.shape(layer.tensors[name])) for name in names)
    return results[0] if len(results) == 1 else results


def bind(definition: Definition, /, **arguments: Any) -> Call:
    """Bind arguments to the formula's symbols and check the rules."""
    given = _given(definition, arguments)
    bound = Call(_variant(definition, given))
    for argument in definition.arguments:
        if not isinstance(argument, TensorArgument):
            _bind_scalar(argument, given, bound)
    for argument in definition.arguments:
        if isinstance(argument, TensorArgument) and given[argument.name] is not None:
            _bind_tensor(argument, given, definition, bound)
    for argument in definition.arguments:
        if isinstance(argument, Padding):
            _bind_padding(argument, given[argument.name], bound)
    for name, expression in definition.extents.items():
        bound.sizes[name] = whole(expression, bound.sizes)
    for rule in (*definition.rules, *bound.variant.rules):
        _check(definition, rule, bound)
    return bound


def _given(definition: Definition, arguments: Mapping[str, Any]) -> dict[str, Any]:
    known = {argument.name: argument.default for argument in definition.arguments}
    for name in arguments:
        if name not in known:
            raise ValueError(f"{definition.function}: argument {name!r} is unknown; it has {', '.join(known)}")
    given = {**known, **arguments}
    dims = {argument.name for argument in definition.arguments if isinstance(argument, Dimension)}
    for name, value in given.items():
        if value is REQUIRED or (value is None and name in dims):  # the function chooses one, the formula does not
            raise ValueError(f"{definition.function}: argument {name!r} is missing; give it")
    return given


def _variant(definition: Definition, given: Mapping[str, Any]) -> Variant:
    tensors = {a.name for a in definition.tensor_arguments}
    for variant in definition.variants:
        found = {n: _kind(given[n]) if n in tensors else given[n] for n in variant.when}
        if all(found[name] == value for name, value in variant.when.items()):
            return variant
    raise ValueError(f"{definition.function}: no formula for these arguments; see Definition.variants")


def _kind(values: Any) -> str | None:
    if values is None:
        return None
    return "integer" if all(isinstance(element, int) for element in _flat(values)) else "real"


def _bind_scalar(argument: Argument, given: Mapping[str, Any], bound: Call) -> None:
    value = given[argument.name]
    if isinstance(argument, PerAxis):
        if isinstance(value, str):
            value = given[value.strip("<>")]
        values = value if isinstance(value, tuple | list) else (value,) * len(argument.symbols)
        values = [argument.missing if entry is None else entry for entry in values]
        bound.sizes.update(zip(argument.symbols, values, strict=True))
    elif isinstance(argument, Whole):
        bound.sizes[argument.symbol] = argument.missing if value is None else value
    elif isinstance(argument, Flag) and argument.symbol:
        bound.sizes[argument.symbol] = int(value)
    elif isinstance(argument, Real) and argument.epsilon and value is None:
        bound.sizes[argument.symbol] = 2.0**-52  # formulas are evaluated in float64
    elif isinstance(argument, Real | Seed):
        bound.sizes[argument.symbol] = value


def _bind_padding(argument: Padding, value: Any, bound: Call) -> None:
    if value == "same":
        totals = [
            bound.sizes[dilation] * (bound.sizes[extent] - 1)
            for extent, dilation in zip(argument.named[0], argument.named[1], strict=True)
        ]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        value = 0 if value == "valid" else value
        values = value if isinstance(value, tuple | list) else (value,) * len(argument.low)
        pairs = [(v[0], v[1]) if isinstance(v, tuple | list) else (v, v) for v in values]
    for low, high, pair in zip(argument.low, argument.high, pairs, strict=True):
        bound.sizes[low], bound.sizes[high] = pair


def _bind_tensor(argument: TensorArgument, given: Mapping[str, Any], definition: Definition, bound: Call) -> None:
    layer = bound.variant.layer
    if argument.bound not in {t.name for t in layer.inputs}:
        return
    tensor, values = layer.tensors[argument.bound], given[argument.name]
    shape = shape_of_nested(values)
    plain = sum(1 for dim in tensor.dims if not (len(dim) == 1 and dim[0].many))
    if argument.unbatched and len(shape) < plain:
        bound.unbatched, shape = True, (1, *shape)
    position = [given[a.name] for a in definition.arguments if isinstance(a, Dimension)]
    if sum(dim[0].many for dim in tensor.dims) > 1:
        position += [len(shape) - len(given[a.name]) for a in definition.arguments if isinstance(a, TrailingShape)]
    extents: list[int] = []
    rest = list(shape)
    behind = plain
    for dim in tensor.dims:
        if len(dim) == 1 and dim[0].many:
            count = position[0] % len(shape) if position and not extents else len(rest) - behind
            bound.shapes[dim[0].name], rest = tuple(rest[:count]), rest[count:]
            extents.append(prod(bound.shapes[dim[0].name]))
        else:
            behind -= 1
            outer = [whole(index.extent, bound.sizes) for index in dim[:-1]]
            extents += [*outer, rest.pop(0) // prod(outer)]
    bound.sizes.update({str(index.extent): extent for index, extent in zip(tensor.axes, extents, strict=True)})
    bound.arrays[tensor.name] = Array(tuple(extents), _flat(values))


def _check(definition: Definition, rule: Rule, bound: Call) -> None:
    if not holds(rule.condition, bound.sizes):
        raise ValueError(f"{definition.function}: {rule.argument} must be {rule.rule}; {rule.remedy}")
