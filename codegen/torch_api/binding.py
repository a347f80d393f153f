"""How a public function reads the formula's extents from the shapes of its tensors, and which checks it makes.

A dimension of a tensor is an axis, a product of axes (channels in groups) or, for an axis with ``many``, any number
of dimensions. An extent is read from the first tensor that has it; other tensors that have it are checked against it.

Input: a ``Definition`` and one of its ``Variant``s. Output: ``Line``s of Python, in the order in which they run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sympy import Not, Symbol

from svertka.codegen.torch_api.lines import (
    Code,
    Line,
    Target,
    call,
    condition,
    expression,
    f_string,
    if_block,
    joined,
    tuple_of,
    variable,
)
from svertka.spec.definition import Definition, Dimension, Padding, Rule, TensorArgument, TrailingShape, Variant
from svertka.spec.notation import Index, Tensor
from svertka.spec.rewrite import replace

__all__ = ["Binder", "argument_of_symbol", "dimension_of", "trailing_of"]

Dim = tuple[Index, ...]


def dimension_of(definition: Definition) -> Dimension | None:
    """The argument that says which dimension of a tensor is an axis of the formula."""
    return next((a for a in definition.arguments if isinstance(a, Dimension)), None)


def trailing_of(definition: Definition) -> TrailingShape | None:
    """The argument that says how many last dimensions of a tensor an axis of the formula stands for."""
    return next((a for a in definition.arguments if isinstance(a, TrailingShape)), None)


def argument_of_symbol(definition: Definition) -> dict[str, str]:
    """Name of the argument that gives a symbol, for symbols that arguments give."""
    found: dict[str, str] = {}
    for argument in definition.arguments:
        symbols = [*getattr(argument, "symbols", ()), getattr(argument, "symbol", "")]
        if isinstance(argument, Padding):
            symbols += [*argument.low, *argument.high]
        found |= {symbol: argument.name for symbol in symbols if symbol}
    return found


@dataclass
class _Shown:
    """A dimension of a tensor that is assigned to a name, and is checked or divided after all extents are known."""

    argument: TensorArgument
    dim: Dim
    name: str


@dataclass
class Binder:
    """Binds the extents of one variant.

    Attributes:
        origins: by the name of an extent or of a product of extents, the expression over the arguments that shows it.
        unbatched: name of the first argument that may lack its first dimension, or nothing.
    """

    definition: Definition
    variant: Variant
    origins: dict[str, Code] = field(default_factory=dict)
    unbatched: str = ""
    _many: dict[Index, Code] = field(default_factory=dict)
    _products: dict[Dim, str] = field(default_factory=dict)
    _shown: list[_Shown] = field(default_factory=list)
    _wholly_known: list[tuple[TensorArgument, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.origins |= {symbol: variable(argument) for symbol, argument in argument_of_symbol(self.definition).items()}
        self.dimension = dimension_of(self.definition)
        self.trailing = trailing_of(self.definition)

    @property
    def tensors(self) -> list[tuple[TensorArgument, Tensor]]:
        """The variant's tensors with their arguments, in the order of the arguments."""
        inputs = {tensor.name: tensor for tensor in self.variant.layer.inputs}
        arguments = self.definition.tensor_arguments
        return [(a, inputs[a.bound]) for a in arguments if a.bound in inputs]

    def unpack(self) -> list[Line]:
        """Check ranks and name the extents that tensors show."""
        lines: list[Line] = []
        for argument, tensor in sorted(self.tensors, key=lambda item: not self._is_around(item[0])):
            around = self._is_around(argument)
            if argument.unbatched or around:
                lines += self._batch(argument, tensor)
            if around:
                lines += self._around(argument.name, tensor)
            elif tensor.default is not None or self._known(tensor.dims):
                self._wholly_known.append((argument, tensor))
            elif self.trailing is not None and len(tensor.axes) > 1 and all(index.many for index in tensor.axes):
                lines += self._before(argument.name, tensor, self.trailing)
            elif all(index.many for index in tensor.axes):
                lines += self._everything(argument.name, tensor.axes[0])
            else:
                lines += self._dimensions(argument, tensor)
        return lines

    def _is_around(self, argument: TensorArgument) -> bool:
        """Whether the dimension argument decides which axes a tensor's dimensions belong to."""
        return self.dimension is not None and argument.bound in self.dimension.tensors

    def agree(self) -> list[Line]:
        """Check that products divide and extents agree."""
        lines: list[Line] = []
        for shown in self._shown:
            unknown = [index for index in shown.dim if not self._known([(index,)])]
            lines += self._divided(shown, unknown[0]) if unknown else self._equal(shown)
        for argument, tensor in self._wholly_known:
            same = self._same_shape(argument, tensor)
            if tensor.default is not None:
                same = if_block(variable(argument.name) + " is not None", *same)
            lines += same
        return lines

    def extents(self) -> list[Line]:
        """Compute the extents that no tensor shows."""
        found = self.definition.extents.items()
        return [Line.assigning(expression(value), extent, pure=True) for extent, value in found]

    def rules(self, computed: bool) -> list[Line]:
        """Check the definition's conditions: those about ``extents``, or those that hold before these are computed."""
        every = (*self.definition.rules, *self.variant.rules)
        return [line for rule in every if self._needs_extents(rule) == computed for line in self._rule(rule)]

    def _needs_extents(self, rule: Rule) -> bool:
        """Whether a condition is about ``extents``, by name or by value."""
        names = {symbol.name for symbol in rule.condition.free_symbols}
        extents = self.definition.extents
        return not names.isdisjoint(extents) or any(rule.condition.has(value) for value in extents.values())

    def shape(self, tensor: Tensor) -> Code:
        """The shape that a tensor has with all its dimensions."""
        for argument, given in self.tensors:
            if given.dims == tensor.dims and given.default is None:
                return variable(argument.name) + ".shape"
        return self._extents(tensor)

    def _extents(self, tensor: Tensor) -> Code:
        """A tuple of the extents of a tensor's dimensions."""
        return tuple_of("*" + self._many[dim[0]] if dim[0].many else self._extent(dim) for dim in tensor.dims)

    def _extent(self, dim: Dim) -> Code:
        """The extent of a dimension that is not ``many``."""
        return variable(self._products[dim]) if dim in self._products else _product(dim)

    def _batch(self, argument: TensorArgument, tensor: Tensor) -> list[Line]:
        rank = sum(not dim[0].many for dim in tensor.dims)
        given = variable(argument.name)
        put = call("batched", given, rank)
        if self.unbatched and tensor.dims[0][0].batch:  # as the first of them is
            put = put + " if " + variable("unbatched") + " else " + given
        batch = Line.assigning(put, argument.name, pure=True)
        if tensor.default is not None:
            return if_block(given + " is not None", batch)
        if self.unbatched:
            return [batch]
        self.unbatched = argument.name
        return [Line.assigning(given + f".dim() == {rank - 1}", "unbatched", pure=True), batch]

    def _around(self, argument: str, tensor: Tensor) -> list[Line]:
        assert self.dimension is not None
        given, dim = variable(argument), variable(self.dimension.name)
        before, (axis,), behind = tensor.dims
        shape_before = given + ".shape[:" + dim + "]"
        extent = given + ".shape[" + dim + "]"
        shape_behind = given + ".shape[" + dim + " + 1 :]"
        self._many |= {before[0]: shape_before, behind[0]: shape_behind}
        self.origins[axis.extent.name] = extent
        found = call("dimension", self.dimension.name, dim, given)
        return [
            Line.assigning(found, self.dimension.name, pure=True),
            _element_count(before[0], shape_before),
            Line.assigning(extent, axis.extent.name, pure=True),
            _element_count(behind[0], shape_behind),
        ]

    def _before(self, argument: str, tensor: Tensor, trailing: TrailingShape) -> list[Line]:
        """Dimensions before those of which the call gives the extents, and these."""
        before, last = tensor.axes
        given, shape = variable(argument), variable(trailing.name)
        self._many |= {before: given + ".shape[:" + variable("leading") + "]", last: shape}
        self.origins |= {last.extent.name: shape}
        checked = call("trailing", trailing.name, shape, argument, given)
        return [
            Line.assigning(checked, trailing.name, pure=True),
            Line.assigning(given + ".dim() - " + call("len", shape), "leading", pure=True),
            _element_count(before, self._many[before]),
            _element_count(last, shape),
        ]

    def _everything(self, argument: str, index: Index) -> list[Line]:
        self._many[index] = variable(argument) + ".shape"
        return [Line.assigning(variable(argument) + ".numel()", index.extent.name, pure=True)]

    def _dimensions(self, argument: TensorArgument, tensor: Tensor) -> list[Line]:
        many = [place for place, dim in enumerate(tensor.dims) if dim[0].many]
        targets: list[Target] = []
        products: list[Line] = []
        given = variable(argument.name)
        for place, dim in enumerate(tensor.dims):
            shown = place - len(tensor.dims) if many and place > many[0] else place
            targets.append(self._target(argument, dim, given + f".shape[{shown}]"))
            if dim[0].many:
                products.append(_element_count(dim[0], self._many[dim[0]]))
        options = {"more": True} if many else {}
        rank = len(tensor.dims) - len(many)
        found = call("dimensions", argument.name, given, rank, _meaning(tensor.dims), **options)
        return [Line.assigning(found, *targets), *products]

    def _target(self, argument: TensorArgument, dim: Dim, origin: Code) -> Target:
        """What a dimension is assigned to when a tensor is unpacked; the first tensor that has an extent defines it."""
        extent = "".join(index.extent.name for index in dim)
        if dim[0].many:
            shape = f"shape_{dim[0].name}"
            self._many[dim[0]] = variable(shape)
            return Target((shape,), starred=True)
        if len(dim) == 1 and not self._known([dim]):
            self.origins[extent] = origin
            return Target((extent,))
        first = len(dim) > 1 and dim not in self._products
        shown = extent if first else f"{argument.name}_{extent}"
        self._shown.append(_Shown(argument, dim, shown))
        if first:
            self._products[dim] = shown
            self.origins[shown] = origin
        return Target((shown,))

    def _known(self, dims: Sequence[Dim]) -> bool:
        return all(
            index in self._many if index.many else index.extent.name in self.origins
            for dim in dims
            if dim not in self._products
            for index in dim
        )

    def _divided(self, shown: _Shown, unknown: Index) -> list[Line]:
        others = [index for index in shown.dim if index != unknown]
        divisor, origin = _product(others), joined(" * ", (self.origins[i.extent.name] for i in others))
        factor = "(" + divisor + ")" if len(others) > 1 else divisor
        whole = self.origins[shown.name]
        rule = f_string("must divide the ", variable(shown.name), f" of {_meaning([shown.dim])} in {whole.text}")
        error = call("invalid", origin.text, divisor, rule, f"match {origin.text} and {shown.argument.name}")
        self.origins[unknown.extent.name] = whole + " / " + origin
        rest, quotient = (variable(shown.name) + sign + factor for sign in (" % ", " // "))
        given = argument_of_symbol(self.definition)
        if any(index.extent.name not in given for index in others):  # a tensor's extent, which may be 0
            rest = "(" + rest + " if " + factor + " else " + variable(shown.name) + ")"
            quotient = quotient + " if " + factor + " else 1"
        return [
            *if_block(rest, Line("raise " + error)),
            Line.assigning(quotient, unknown.extent.name, pure=True),
        ]

    def _equal(self, shown: _Shown) -> list[Line]:
        product = self._products.get(shown.dim, shown.name)
        factors = [i.extent.name for i in shown.dim] if product == shown.name else [product]
        origin = joined(" * ", (self.origins[factor] for factor in factors))
        values: list[Code | str] = []
        for factor in factors:
            values += [" * " if values else "", variable(factor)]
        meaning = _meaning([shown.dim])
        rule = f_string(f"must have {meaning} = {origin.text} = ", *values, ", not ", variable(shown.name))
        remedy = f"match {_listed([shown.argument.name, *origin.reads])}"
        error = call("invalid", f"{shown.argument.name}.shape", self._given_shape(shown.argument), rule, remedy)
        return if_block(variable(shown.name) + " != " + joined(" * ", map(variable, factors)), Line("raise " + error))

    def _same_shape(self, argument: TensorArgument, tensor: Tensor) -> list[Line]:
        extents = [n for d in tensor.dims for n in (self._products.get(d), *(i.extent.name for i in d)) if n]
        givers = [a for n in extents if n in self.origins for a in self.origins[n].reads]
        remedy = f"match {_listed([argument.name, *givers])}"
        if argument.labels_below and tensor.kind == "real":  # of labels in a real type, too, the shape is another
            remedy += f", or pass labels as integers, {argument.name}.to(torch.int64)"
        given, shape, meaning = variable(argument.name), self._extents(tensor), _meaning(tensor.dims)
        return [Line(call("same_shape", argument.name, given, shape, meaning, remedy))]

    def _rule(self, rule: Rule) -> list[Line]:
        tensors = {argument.name: argument for argument, _ in self.tensors}
        blamed, value = rule.argument, variable(rule.argument)
        if rule.argument in tensors:
            blamed, value = f"{blamed}.shape", self._given_shape(tensors[rule.argument])
        values: list[Code | str] = []
        for symbol in sorted(symbol.name for symbol in rule.condition.free_symbols):
            values += [", " if values else "", f"{symbol}=", variable(symbol)]
        error = call("invalid", blamed, value, f_string(f"must be {rule.rule}; ", *values), rule.remedy)
        computed = {value: Symbol(extent, integer=True) for extent, value in self.definition.extents.items()}
        broken = condition(replace(Not(rule.condition), computed))
        return if_block(broken, Line("raise " + error))

    def _given_shape(self, argument: TensorArgument) -> Code:
        """The shape of a tensor as the user gave it."""
        if not argument.unbatched:
            return variable(argument.name) + ".shape"
        return variable(argument.name) + ".shape[" + variable("unbatched") + ":]"


def _element_count(index: Index, shape: Code) -> Line:
    """Assign the product of the extents that an axis stands for."""
    return Line.assigning(variable("math") + ".prod(" + shape + ")", index.extent.name, pure=True)


def _product(dim: Sequence[Index]) -> Code:
    return joined(" * ", (variable(index.extent.name) for index in dim))


def _meaning(dims: Iterable[Dim]) -> str:
    texts = [" x ".join(index.meaning for index in dim) for dim in dims]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _listed(names: Iterable[str]) -> str:
    *rest, last = dict.fromkeys(names)
    return f"{', '.join(rest)} and {last}" if rest else last
