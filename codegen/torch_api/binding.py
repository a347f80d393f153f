"""How a public function finds the formula's extents in the shapes of its tensors, and what it checks on the way.

A dimension of a tensor is an axis, a product of axes (channels in groups) or, for an axis with ``many``, any number
of dimensions. The first tensor that shows an extent gives it; all others that have it are checked against it.

Input: a ``Definition`` and one of its ``Variant``s. Output: ``Line``s of Python, in the order in which they run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sympy import Not, Symbol

from svertka.codegen.emit.launcher_printer import host_condition, host_expression
from svertka.codegen.emit.render import quoted, templated
from svertka.spec.definition import Definition, Dimension, Padding, Rule, TensorArgument, Variant
from svertka.spec.notation import Index, Tensor
from svertka.spec.rewrite import replace

__all__ = ["Binder", "Line", "argument_of_symbol", "dimension_of", "indented", "source_of"]

Dim = tuple[Index, ...]


@dataclass(frozen=True)
class Line:
    """A line of Python.

    Attributes:
        text: the line, or the value if it assigns.
        names: names that it assigns, one of them perhaps starred.
        pure: whether nothing is lost with it when none of its names is used.
    """

    text: str
    names: tuple[str, ...] = ()
    pure: bool = False
    depth: int = 0

    def source(self, used: set[str]) -> str:
        """The line, with ``_`` for names that are not used."""
        names = [n if _words(n) & used else ("*_" if n.startswith("*") else "_") for n in self.names]
        if set(names) <= {"_", "*_"}:
            return "    " * self.depth + self.text
        left = f"({names[0]},)" if len(names) == 1 and not self.pure else ", ".join(names)
        return "    " * self.depth + f"{left} = {self.text}"


def indented(lines: Iterable[Line]) -> list[Line]:
    """Lines one block deeper."""
    return [Line(line.text, line.names, line.pure, line.depth + 1) for line in lines]


def source_of(lines: Iterable[Line]) -> list[str]:
    """Source of a function's body, without pure assignments that nothing uses."""
    kept = list(lines)
    while True:
        used = set().union(*(_words(line.text) for line in kept))
        fewer = [line for line in kept if not line.pure or any(_words(name) & used for name in line.names)]
        if len(fewer) == len(kept):
            return [line.source(used) for line in kept]
        kept = fewer


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def dimension_of(definition: Definition) -> Dimension | None:
    """The argument that says which dimension an axis of the formula stands for."""
    return next((a for a in definition.arguments if isinstance(a, Dimension)), None)


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
    """A dimension that a tensor shows under a name, to be checked or divided once all extents are known."""

    argument: TensorArgument
    dim: Dim
    name: str


@dataclass
class Binder:
    """Binds the extents of one variant.

    Attributes:
        origins: how messages call an extent or a product of extents: by the argument or dimension that shows it.
        unbatched: name of the first argument that may lack its first dimension, or nothing.
    """

    definition: Definition
    variant: Variant
    origins: dict[str, str] = field(default_factory=dict)
    unbatched: str = ""
    _many: dict[Index, str] = field(default_factory=dict)
    _products: dict[Dim, str] = field(default_factory=dict)
    _shown: list[_Shown] = field(default_factory=list)
    _wholly_known: list[tuple[TensorArgument, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.origins |= argument_of_symbol(self.definition)
        self.dimension = dimension_of(self.definition)

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
            elif all(index.many for index in tensor.axes):
                lines += self._everything(argument.name, tensor.axes[0])
            else:
                lines += self._dimensions(argument, tensor)
        return lines

    def _is_around(self, argument: TensorArgument) -> bool:
        """Whether a tensor's dimensions are told apart by the argument that names one of them."""
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
                same = [Line(f"if {argument.name} is not None:"), *indented(same)]
            lines += same
        return lines

    def extents(self) -> list[Line]:
        """Compute the extents that no tensor shows."""
        found = self.definition.extents.items()
        return [Line(host_expression(value), (name,), pure=True) for name, value in found]

    def rules(self, computed: bool) -> list[Line]:
        """Check the definition's conditions: those about ``extents``, or those that hold before these are computed."""
        every = (*self.definition.rules, *self.variant.rules)
        return [line for rule in every if self._needs_extents(rule) == computed for line in self._rule(rule)]

    def _needs_extents(self, rule: Rule) -> bool:
        """Whether a condition is about ``extents``, by name or by value."""
        names = {symbol.name for symbol in rule.condition.free_symbols}
        extents = self.definition.extents
        return not names.isdisjoint(extents) or any(rule.condition.has(value) for value in extents.values())

    def shape(self, tensor: Tensor) -> str:
        """Python for the shape that a tensor has with all its dimensions."""
        for argument, given in self.tensors:
            if given.dims == tensor.dims and given.default is None:
                return f"{argument.name}.shape"
        parts = [f"*{self._many[d[0]]}" if d[0].many else self._products.get(d, _product(d)) for d in tensor.dims]
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"

    def _batch(self, argument: TensorArgument, tensor: Tensor) -> list[Line]:
        rank = sum(not dim[0].many for dim in tensor.dims)
        batch = [Line(f"batched({argument.name}, {rank})", (argument.name,), pure=True)]
        if tensor.default is not None:
            return [Line(f"if {argument.name} is not None:"), *indented(batch)]
        if self.unbatched:
            return batch
        self.unbatched = argument.name
        return [Line(f"{argument.name}.dim() == {rank - 1}", ("unbatched",), pure=True), *batch]

    def _around(self, name: str, tensor: Tensor) -> list[Line]:
        assert self.dimension is not None
        dim = self.dimension.name
        before, (axis,), behind = tensor.dims
        places = (f"{name}.shape[:{dim}]", f"{name}.shape[{dim}]", f"{name}.shape[{dim} + 1 :]")
        self._many |= {before[0]: places[0], behind[0]: places[2]}
        self.origins[axis.extent.name] = places[1]
        return [
            Line(f'dimension("{dim}", {dim}, {name})', (dim,), pure=True),
            Line(f"math.prod({places[0]})", (before[0].extent.name,), pure=True),
            Line(places[1], (axis.extent.name,), pure=True),
            Line(f"math.prod({places[2]})", (behind[0].extent.name,), pure=True),
        ]

    def _everything(self, name: str, index: Index) -> list[Line]:
        self._many[index] = f"{name}.shape"
        return [Line(f"{name}.numel()", (index.extent.name,), pure=True)]

    def _dimensions(self, argument: TensorArgument, tensor: Tensor) -> list[Line]:
        many = [place for place, dim in enumerate(tensor.dims) if dim[0].many]
        names: list[str] = []
        products: list[Line] = []
        for place, dim in enumerate(tensor.dims):
            shown = place - len(tensor.dims) if many and place > many[0] else place
            origin = f"{argument.name}.shape[{shown}]"
            names.append(self._name(argument, dim, origin))
            if dim[0].many:
                value = f"math.prod({self._many[dim[0]]})"
                products.append(Line(value, (dim[0].extent.name,), pure=True))
        rank = f'{len(tensor.dims) - len(many)}, "{quoted(_meaning(tensor.dims))}"{", more=True" if many else ""}'
        call = f'dimensions("{argument.name}", {argument.name}, {rank})'
        return [Line(call, tuple(names)), *products]

    def _name(self, argument: TensorArgument, dim: Dim, origin: str) -> str:
        """Name of a dimension when a tensor is unpacked; the first to show an extent gives it."""
        extent = "".join(index.extent.name for index in dim)
        if dim[0].many:
            self._many[dim[0]] = f"shape_{dim[0].name}"
            return f"*shape_{dim[0].name}"
        if len(dim) == 1 and not self._known([dim]):
            self.origins[extent] = origin
            return extent
        first = len(dim) > 1 and dim not in self._products
        name = extent if first else f"{argument.name}_{extent}"
        self._shown.append(_Shown(argument, dim, name))
        if first:
            self._products[dim] = name
            self.origins[name] = origin
        return name

    def _known(self, dims: Sequence[Dim]) -> bool:
        return all(
            index in self._many if index.many else index.extent.name in self.origins
            for dim in dims
            if dim not in self._products
            for index in dim
        )

    def _divided(self, shown: _Shown, unknown: Index) -> list[Line]:
        others = [index for index in shown.dim if index != unknown]
        divisor, origin = _product(others), " * ".join(self.origins[i.extent.name] for i in others)
        meaning = templated(_meaning([shown.dim]))
        error = (
            f'invalid("{origin}", {divisor}, f"must divide the {{{shown.name}}} of {meaning} in '
            f'{self.origins[shown.name]}", "match {origin} and {shown.argument.name}")'
        )
        self.origins[unknown.extent.name] = f"{self.origins[shown.name]} / {origin}"
        return [
            Line(f"if {shown.name} % {_parenthesised(divisor)}:"),
            Line(f"raise {error}", depth=1),
            Line(f"{shown.name} // {_parenthesised(divisor)}", (unknown.extent.name,), pure=True),
        ]

    def _equal(self, shown: _Shown) -> list[Line]:
        first = self._products.get(shown.dim, shown.name)
        value = first if first != shown.name else _product(shown.dim)
        origin = self.origins.get(value) or " * ".join(self.origins[i.extent.name] for i in shown.dim)
        name = shown.argument.name
        values = value if value == first else " * ".join(f"{{{i.extent.name}}}" for i in shown.dim)
        rule = f"must have {templated(_meaning([shown.dim]))} = {origin} = {values}, not {{{shown.name}}}"
        remedy = f"match {_listed([name, *_arguments(origin)])}"
        error = f'invalid("{name}.shape", {self._given_shape(shown.argument)}, f"{rule}", "{remedy}")'
        return [Line(f"if {shown.name} != {value}:"), Line(f"raise {error}", depth=1)]

    def _same_shape(self, argument: TensorArgument, tensor: Tensor) -> list[Line]:
        parts = [self._many[d[0]] if d[0].many else self._products.get(d) or _product(d) for d in tensor.dims]
        extents = [n for d in tensor.dims for n in (self._products.get(d), *(i.extent.name for i in d)) if n]
        givers = [a for n in extents if n in self.origins for a in _arguments(self.origins[n])]
        many = ["*" * d[0].many for d in tensor.dims]
        shape = ", ".join(star + part for star, part in zip(many, parts, strict=True))
        remedy = f"match {_listed([argument.name, *givers])}"
        shape = f"({shape}{',' * (len(parts) == 1)})"
        meaning = quoted(_meaning(tensor.dims))
        return [Line(f'same_shape("{argument.name}", {argument.name}, {shape}, "{meaning}", "{remedy}")')]

    def _rule(self, rule: Rule) -> list[Line]:
        tensors = {argument.name: argument for argument, _ in self.tensors}
        blamed, value = rule.argument, rule.argument
        if rule.argument in tensors:
            blamed, value = f"{blamed}.shape", self._given_shape(tensors[rule.argument])
        names = sorted(symbol.name for symbol in rule.condition.free_symbols)
        values = ", ".join(f"{name}={{{name}}}" for name in names)
        error = f'invalid("{blamed}", {value}, f"must be {templated(rule.rule)}; {values}", "{quoted(rule.remedy)}")'
        computed = {value: Symbol(name, integer=True) for name, value in self.definition.extents.items()}
        broken = host_condition(replace(Not(rule.condition), computed))
        return [Line(f"if {broken}:"), Line(f"raise {error}", depth=1)]

    def _given_shape(self, argument: TensorArgument) -> str:
        return f"{argument.name}.shape[unbatched:]" if argument.unbatched else f"{argument.name}.shape"


def _product(dim: Sequence[Index]) -> str:
    return " * ".join(index.extent.name for index in dim)


def _parenthesised(product: str) -> str:
    return f"({product})" if " " in product else product


def _meaning(dims: Iterable[Dim]) -> str:
    texts = [" x ".join(index.meaning for index in dim) for dim in dims]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _arguments(origin: str) -> list[str]:
    """Names of the arguments that an origin names."""
    return re.findall(r"[a-z_]\w*", origin.replace(".shape", ""))


def _listed(names: Iterable[str]) -> str:
    *rest, last = dict.fromkeys(names)
    return f"{', '.join(rest)} and {last}" if rest else last
