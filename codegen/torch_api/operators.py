"""The data of a ``runtime.Operator``: what generated code knows of the formula behind a public function.

Input: a ``Definition`` and one of its ``Variant``s. Output: an ``OperatorDescription``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeGuard

from svertka.codegen.lowering.build import KernelModule, accumulated_of, keywords_of
from svertka.codegen.lowering.saved_tensors import kept_of, product_of
from svertka.codegen.torch_api.binding import dimension_of
from svertka.spec.definition import (
    Argument,
    Definition,
    Dimension,
    Flag,
    Padding,
    PerAxis,
    Real,
    Seed,
    TensorArgument,
    Variant,
    Whole,
)
from svertka.spec.gradient import gradient_definition
from svertka.spec.layer import Layer
from svertka.spec.notation import Index, Read, Tensor

__all__ = ["OperatorDescription", "gradient_operator", "in_any_order", "kinds_of", "may_be_absent", "operator_of"]


COMPUTED = ("saved_shapes", "operations", "given")
"""Fields that are printed as functions of a namespace."""


@dataclass(frozen=True)
class OperatorDescription:
    """What the template prints of an operator; ``runtime.Operator`` documents each field."""

    constant: str
    name: str
    kernels: tuple[str, str]
    reference: str
    tensors: tuple[str, ...]
    outputs: tuple[str, ...]
    symbols: dict[str, str]
    shapes: str
    arguments: dict[str, str]
    gradients: tuple[str, ...]
    optional: tuple[str, ...]
    integer: tuple[str, ...]
    state: dict[str, str]
    unused: tuple[str, ...]
    varying: tuple[str, ...]
    many: dict[str, tuple[str, ...]]
    ordered: bool
    given: str = ""
    accumulated: tuple[str, ...] = ()
    saved: dict[str, str] = field(default_factory=dict)
    saved_shapes: str = ""
    read: tuple[str, ...] = ()
    read_plainly: tuple[str, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    operations: str = ""
    row_major: bool = False

    @property
    def options(self) -> dict[str, object]:
        """Fields from ``optional`` on that are not empty; ``runtime.Operator`` has empty defaults for these."""
        names = [one.name for one in fields(self)]
        plain = [name for name in names[names.index("optional") :] if name not in COMPUTED]
        options = {name: getattr(self, name) for name in plain if getattr(self, name)}
        return options | {name: f"lambda a: {getattr(self, name)}" for name in COMPUTED if getattr(self, name)}

    def keeps(self, tensor: str) -> bool:
        """Whether a call saves a tensor itself for its backward."""
        return tensor in {*self.read, *self.read_plainly} - set(self.answers)

    def keeping(self, module: KernelModule, place: int) -> OperatorDescription:
        """The operator with the values that its backward reads, and the number of operations of its product."""
        layer, kept = module.definition.variants[place].layer, kept_of(module, place)
        factors, loops = product_of(module, place)
        # The gradient's operator may run instead, and takes these.
        again = module.needed[layer.name] if module.definition.orders > 1 else frozenset[str]()
        read, read_plainly = (
            tuple(t.name for t in layer.inputs if t.name in again or t.name in names)
            for names in (kept.read, kept.read_plainly)
        )
        return replace(
            self,
            saved=kept.saved,
            saved_shapes=_tuple(_shape(layer, tensor) for tensor in kept.tensors) if kept.tensors else "",
            read=read,
            read_plainly=read_plainly,
            answers=kept.answers,
            examples=kept.examples,
            factors=factors,
            operations=" * ".join(["2", *(_extent(layer, name) for name in loops)]) if loops else "",
        )


def _bound(definition: Definition, argument: TensorArgument) -> list[Tensor | None]:
    """The tensor behind an argument in every variant; None in one that has no such tensor."""
    every = [{tensor.name: tensor for tensor in variant.layer.inputs} for variant in definition.variants]
    return [inputs.get(argument.bound) for inputs in every]


def may_be_absent(definition: Definition, argument: TensorArgument) -> bool:
    """Whether a tensor argument may be None."""
    found = _bound(definition, argument)
    return argument.default is None or any(tensor is None or tensor.default is not None for tensor in found)


def kinds_of(definition: Definition, argument: TensorArgument) -> set[str]:
    """``"real"``, ``"integer"`` or both."""
    return {tensor.kind for tensor in _bound(definition, argument) if tensor is not None}


def in_any_order(layer: Layer) -> bool:
    """Whether a formula maps each element to one element and does not depend on the element's index."""
    tensors = layer.tensors.values()
    alone = len(layer.inputs) == 1 and len({tensor.dims for tensor in tensors}) == 1
    if not alone or any(not index.many for tensor in tensors for index in tensor.axes):
        return False
    return all(_asks_for_no_place(equation.value) for equation in layer.equations)


def _asks_for_no_place(value: object) -> bool:
    """Whether indices occur only in reads, and alone."""
    if isinstance(value, Index):
        return False
    if isinstance(value, Read):
        return all(isinstance(index, Index) for index in value.indices)
    return all(_asks_for_no_place(part) for part in getattr(value, "args", ()))


def operator_of(definition: Definition, variant: Variant) -> OperatorDescription:
    """Describe the operator of one variant."""
    layer = variant.layer
    tensors = {a.bound: a for a in definition.tensor_arguments}
    suffix = layer.name.removeprefix(definition.name)
    kernels = keywords_of(layer)
    types = _symbol_types(definition, kernels)
    return OperatorDescription(
        constant=f"_{definition.function}{suffix}".upper(),
        name=definition.function + suffix,
        kernels=(definition.name, layer.name),
        reference=definition.reference,
        tensors=tuple(tensor.name for tensor in layer.inputs),
        outputs=layer.outputs,
        symbols=types,
        shapes=_tuple(_shape(layer, layer.tensors[output]) for output in layer.outputs),
        arguments=_arguments(definition, variant, types),
        gradients=tuple(a.bound for a in tensors.values() if a.differentiable and definition.real_results(layer)),
        optional=tuple(tensor.name for tensor in layer.inputs if tensor.default is not None),
        integer=tuple(t.name for t in layer.tensors.values() if t.kind == "integer" and _seen(layer, t)),
        state={
            name: tensors[name].updated_by
            for name in (tensor.name for tensor in layer.inputs)
            if tensors[name].updated_by in layer.outputs
        },
        unused=tuple(name for name in types if name not in kernels),
        varying=tuple(a.symbol for a in definition.arguments if _varies(a) and a.symbol in kernels),
        many=_many(definition, layer),
        ordered=in_any_order(layer),
        accumulated=accumulated_of(definition, layer),
        row_major=definition.row_major,
    )


def gradient_operator(definition: Definition, place: int) -> tuple[str, OperatorDescription]:
    """Describe the operator of a variant's gradients, with the name of the variant's own.

    Autograd calls it on tensors of the formula's rank, with symbols that are known from the variant's own call.
    """
    variant, derived = definition.variants[place], gradient_definition(definition)
    own, other = operator_of(definition, variant), operator_of(derived, derived.variants[place])
    symbols = {name: kind for name, kind in other.symbols.items() if name not in other.unused}
    shown = {
        str(dim[0].extent): _shown(tensor, dim)
        for tensor in reversed(variant.layer.inputs)
        if tensor.default is None
        for dim in tensor.dims
        if len(dim) == 1
    }
    given = {name: f"a.{name}" if name in own.symbols else shown[name] for name in symbols}
    text = ", ".join(f'"{name}": {value}' for name, value in given.items())
    other = replace(other, arguments={}, many={}, ordered=False, unused=())
    return own.name, replace(other, symbols=symbols, given=f"{{{text}}}")


def _varies(argument: Argument) -> TypeGuard[Real | Seed]:
    return isinstance(argument, Seed) or (isinstance(argument, Real) and argument.varies)


def _many(definition: Definition, layer: Layer) -> dict[str, tuple[str, ...]]:
    """For each tensor that has axes of many dimensions: by dimension, the name of such an axis, or an empty text.

    Tensors whose dimensions the dimension argument tells apart come first: they define most axes.
    """
    around = dimension_of(definition)
    told = around.tensors if around else ()
    found = {tensor.name: tuple(dim[0].name if dim[0].many else "" for dim in tensor.dims) for tensor in _given(layer)}
    ordered = sorted(found.items(), key=lambda item: item[0] not in told)
    return {name: axes for name, axes in ordered if any(axes)}


def _given(layer: Layer) -> list[Tensor]:
    """Tensors that a call takes and returns."""
    return [*layer.inputs, *(layer.tensors[output] for output in layer.outputs)]


def _seen(layer: Layer, tensor: Tensor) -> bool:
    return tensor in layer.inputs or tensor.name in layer.outputs


def _symbol_types(definition: Definition, kernels: Sequence[str]) -> dict[str, str]:
    """Types of the symbols in ``torch.library``: those that the kernels take and those that give extents."""
    needed = set(kernels)
    for value in definition.extents.values():
        needed |= {symbol.name for symbol in value.free_symbols}
    types: dict[str, str] = dict.fromkeys(kernels, "SymInt")
    for argument in definition.arguments:
        kind = "Tensor" if isinstance(argument, Seed) else "float" if isinstance(argument, Real) else "SymInt"
        types |= {symbol: kind for symbol in _symbols(argument) if symbol in needed}
    return dict(sorted(types.items(), key=lambda item: (item[1] != "Tensor", item[0])))


def _symbols(argument: Argument) -> tuple[str, ...]:
    if isinstance(argument, PerAxis):
        return argument.symbols
    if isinstance(argument, Padding):
        return (*argument.low, *argument.high)
    symbol = getattr(argument, "symbol", "")
    return (symbol,) if symbol else ()


def _shape(layer: Layer, tensor: Tensor) -> str:
    """Python for a tensor's shape, from the namespace ``a``."""
    parts = []
    for dim in tensor.dims:
        shown = next((_shown(t, dim) for t in layer.inputs if t.default is None and dim in t.dims), "")
        parts.append(shown or " * ".join(_extent(layer, index.extent.name) for index in dim))
    return _tuple(parts)


def _extent(layer: Layer, name: str) -> str:
    """Python for an extent, from the namespace ``a``: a dimension of a tensor, or a symbol."""
    required = (tensor for tensor in layer.inputs if tensor.default is None)
    alone = ((t, dim) for t in required for dim in t.dims if len(dim) == 1 and dim[0].extent.name == name)
    return next((_shown(tensor, dim) for tensor, dim in alone), f"a.{name}")


def _shown(tensor: Tensor, dim: tuple[Index, ...]) -> str:
    return f"a.{tensor.name}.shape[{tensor.dims.index(dim)}]"


def _arguments(definition: Definition, variant: Variant, types: dict[str, str]) -> dict[str, str]:
    """Python for the reference's arguments, from the namespace ``a``."""
    inputs = {tensor.name for tensor in variant.layer.inputs}
    found: dict[str, str] = {}
    for argument in definition.arguments:
        if isinstance(argument, TensorArgument):
            found[argument.name] = f"a.{argument.bound}" if argument.bound in inputs else "None"
        elif argument.name in variant.when:
            found[argument.name] = repr(variant.when[argument.name])
        elif isinstance(argument, Flag) and not argument.symbol:
            found |= _flag(definition, argument)
        elif isinstance(argument, Dimension):
            tensor = next(t for t in variant.layer.inputs if t.name in argument.tensors)
            found[argument.name] = str([dim[0].name for dim in tensor.dims].index(argument.axis))
        elif _symbols(argument) and all(symbol in types for symbol in _symbols(argument)):
            found[argument.name] = _scalar(argument)
    return found


def _flag(definition: Definition, argument: Flag) -> dict[str, str]:
    if argument.name in definition.optional_results:
        return {argument.name: "True"}
    if argument.name in definition.identity_when:
        return {argument.name: str(not definition.identity_when[argument.name])}
    return {}


def _scalar(argument: Argument) -> str:
    names = [f"a.{symbol}" for symbol in _symbols(argument)]
    if isinstance(argument, Padding):
        lows, highs = ([f"a.{name}" for name in side] for side in (argument.low, argument.high))
        return _tuple(f"({low}, {high})" for low, high in zip(lows, highs, strict=True))
    if isinstance(argument, PerAxis):
        return _tuple(names)
    if isinstance(argument, Flag):
        return f"bool({names[0]})"
    if isinstance(argument, Whole) and argument.optional:
        return f"None if {names[0]} == {argument.missing} else {names[0]}"
    return names[0]


def _tuple(parts: object) -> str:
    texts = list(parts)  # type: ignore[call-overload]
    return f"({', '.join(texts)}{',' * (len(texts) == 1)})"
