"""What a public function does: check its arguments, bind extents, choose a formula, call it, restore the shapes.

Input: a ``Definition``. Output: ``function_body``, the lines of the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svertka.codegen.torch_api.autocast import Precision, precision, shaped_alike
from svertka.codegen.torch_api.binding import Binder, Line, dimension_of, indented, source_of
from svertka.codegen.torch_api.operators import OperatorFace, kinds_of, may_be_absent
from svertka.spec.definition import (
    Argument,
    Choice,
    Definition,
    ElementType,
    Flag,
    Padding,
    PerAxis,
    Real,
    Seed,
    TensorArgument,
    Variant,
    Whole,
)
from svertka.spec.notation import Tensor

__all__ = ["function_body", "scalar_checks"]


def function_body(definition: Definition, operators: Sequence[OperatorFace]) -> list[str]:
    """The lines of the public function that calls the operators of its variants, unformatted."""
    branches = [
        _Branch(dict(variant.when), tuple(_Call(definition, variant, operator).lines()))
        for variant, operator in zip(definition.variants, operators, strict=True)
    ]
    return source_of(
        [
            *_counted(definition),
            *_autocast(definition),
            *_tensor_checks(definition),
            *_scalars(definition),
            *_shapeless(definition),
            *_identity(definition),
            *_tree(branches, definition),
        ]
    )


# Checks that every variant shares


AUTOCAST = {Precision.LOWERED: "lowered", Precision.FULL: "in_float32", Precision.KEPT: "in_widest"}


def _autocast(definition: Definition) -> list[Line]:
    """Tensors in the type in which autocast has the formula computed."""
    rule = precision(variant.layer for variant in definition.variants)
    names = tuple(a.name for a in definition.tensor_arguments)
    if rule == Precision.KEPT:
        names = tuple(name for name in names if name not in _of_own_type(definition))
        if len(names) == 1:
            return []
    cast = [Line(f"{AUTOCAST[rule]}({', '.join(names)})", names)]
    told = next((a for a in definition.arguments if isinstance(a, ElementType)), None)
    if told is None:
        return cast
    given = Line(f'in_type("{told.name}", {told.name}, "{told.tensor}", {told.tensor})', (told.tensor,), pure=True)
    return [Line(f"if {told.name} is None:"), *indented(cast), Line("else:"), *indented([given])]


def _counted(definition: Definition) -> list[Line]:
    """Integers as real numbers, where a formula takes them too."""
    names = [a.name for a in definition.tensor_arguments if a.integers]
    lines = [Line(f'as_real("{name}", {name})', (name, f"{name}_type")) for name in names]
    overwritten = any(isinstance(a, Flag) and a.in_place for a in definition.arguments)
    return [Line(names[0], ("overwritten",), pure=True), *lines] if names and overwritten else lines


def _shapeless(definition: Definition) -> list[Line]:
    """Return an empty tensor that has too few dimensions for the formula."""
    for argument in definition.arguments:
        if isinstance(argument, TensorArgument) and argument.shapeless:
            tensor = next(t for t in definition.variants[0].layer.inputs if t.name == argument.bound)
            least = sum(not dim[0].many for dim in tensor.dims)
            condition = f"if {argument.name}.dim() < {least} and not {argument.name}.numel():"
            return [Line(condition), Line(f"return {argument.name}.clone()", depth=1)]
    return []


def _of_own_type(definition: Definition) -> set[str]:
    """Tensors that may be of a wider type than the first: what has fewer dimensions than it, beside kept precision."""
    layers = [variant.layer for variant in definition.variants]
    if precision(layers) != Precision.KEPT:
        return set()
    alike = {tensor.name for layer in layers for tensor in shaped_alike(layer)}
    return {a.name for a in definition.tensor_arguments if a.bound not in alike}


def _tensor_checks(definition: Definition) -> list[Line]:
    """One line a tensor: its type, device and dtype."""
    lines: list[Line] = []
    like = ""
    wider = _of_own_type(definition)
    for argument in definition.arguments:
        if isinstance(argument, TensorArgument):
            kinds = kinds_of(definition, argument)
            check = "any_tensor" if len(kinds) > 1 else f"{kinds.pop()}_tensor"
            own = ", wider=True" if argument.name in wider and check == "real_tensor" else ""
            line = Line(f'{check}("{argument.name}", {argument.name}{like}{own})')
            if may_be_absent(definition, argument):
                lines += [Line(f"if {argument.name} is not None:"), *indented([line])]
            else:
                lines.append(line)
            like = like or f", {argument.name}"
    return lines


def _scalars(definition: Definition) -> list[Line]:
    """Arguments in their normal form, but for those that need the shapes of tensors."""
    return [line for argument in definition.arguments for line in _scalar(argument)]


def scalar_checks(argument: Argument) -> list[str]:
    """What is checked of an argument that needs no tensor, as Python."""
    return [line.text for line in _scalar(argument)]


def _scalar(argument: Argument) -> list[Line]:
    name = argument.name
    if isinstance(argument, PerAxis):
        default = str(argument.default)
        value = f"{default[1:-1]} if left_out({name}) else {name}" if default.startswith("<") else name
        call = f'per_axis("{name}", {value}, {len(argument.symbols)}, {argument.minimum})'
        return [Line(call, argument.symbols)]
    if isinstance(argument, Padding) and not argument.named:
        return [Line(f'padding_pairs("{name}", {name}, {len(argument.low)})', _pairs(argument))]
    if isinstance(argument, Whole):
        missing = f"{argument.missing} if {name} is None else " if argument.optional else ""
        least = "" if argument.minimum is None else f", {argument.minimum}"
        if argument.optional and argument.minimum is None:
            least = f", besides={argument.missing}"
        return [Line(f'{missing}whole("{name}", {name}{least})', (argument.symbol,), pure=True)]
    if isinstance(argument, Real):
        bounds = {"low": argument.low, "high": argument.high, "closed": argument.closed or None}
        options = "".join(f", {word}={value}" for word, value in bounds.items() if value is not None)
        return [Line(f'real("{name}", {name}{options})', (argument.symbol,), pure=True)]
    if isinstance(argument, Flag):
        return [Line(f'flag("{name}", {name})')]
    if isinstance(argument, Choice):
        return [Line(f'choice("{name}", {name}, {argument.choices!r})')]
    return []


def _pairs(argument: Padding) -> tuple[str, ...]:
    return tuple(f"({low}, {high})" for low, high in zip(argument.low, argument.high, strict=True))


def _identity(definition: Definition) -> list[Line]:
    """Return the first tensor where nothing is to be done."""
    if not definition.identity_when:
        return []
    condition = " or ".join(_holds(definition, *item) for item in definition.identity_when.items())
    first = next(a.name for a in definition.tensor_arguments)
    return [Line(f"if {condition}:"), Line(f"return {first}", depth=1)]


# The choice of a variant


@dataclass(frozen=True)
class _Branch:
    """Lines of a variant, and the argument values with which it applies."""

    when: dict[str, Any]
    lines: tuple[Line, ...]


def _tree(branches: Sequence[_Branch], definition: Definition) -> list[Line]:
    """What all branches begin with, then a decision by their first argument, and so on."""
    shared = 0
    while all(len(b.lines) > shared and b.lines[shared] == branches[0].lines[shared] for b in branches):
        shared += 1
    head, rest = list(branches[0].lines[:shared]), [_Branch(b.when, b.lines[shared:]) for b in branches]
    if not rest[0].lines:
        return head
    name = next(iter(rest[0].when))
    groups: dict[Any, list[_Branch]] = {}
    for branch in rest:
        when = {other: value for other, value in branch.when.items() if other != name}
        groups.setdefault(branch.when[name], []).append(_Branch(when, branch.lines))
    *others, (_, last) = groups.items()
    for value, group in others:
        head += [Line(f"if {_holds(definition, name, value)}:"), *indented(_tree(group, definition))]
    return head + _tree(last, definition)


def _holds(definition: Definition, name: str, value: Any) -> str:
    """Python for the condition that an argument has a value of ``Variant.when``."""
    argument = next(a for a in definition.arguments if a.name == name)
    if isinstance(argument, TensorArgument):
        if len(kinds_of(definition, argument)) > 1:
            return f"{'not ' * (value == 'integer')}{name}.is_floating_point()"
        return f"{name} is None" if value is None else f"{name} is not None"
    if isinstance(argument, Flag):
        return name if value else f"not {name}"
    return f"{name} == {value!r}"


# One variant


@dataclass
class _Call:
    """The lines of one variant, from the shapes of its tensors to the result."""

    definition: Definition
    variant: Variant
    operator: OperatorFace

    def __post_init__(self) -> None:
        self.binder = Binder(self.definition, self.variant)
        self.layer = self.variant.layer
        self.tensors = {tensor.name: argument for argument, tensor in self.binder.tensors}

    def lines(self) -> list[Line]:
        return [
            *self.binder.unpack(),
            *self._required(),
            *self._named_paddings(),
            *self.binder.agree(),
            *self.binder.rules(computed=False),
            *self.binder.extents(),
            *self.binder.rules(computed=True),
            *self._labels(),
            *self._seeds(),
            *self._operator_call(),
            *self._states(),
            *self._result(),
        ]

    def _required(self) -> list[Line]:
        """Tensors that other variants can do without."""
        lines = []
        for argument, tensor in self.binder.tensors:
            told = self.variant.when.get(argument.name)
            if may_be_absent(self.definition, argument) and tensor.default is None and told is None:
                cases = " and ".join(_holds(self.definition, *item) for item in self.variant.when.items())
                error = f'mistyped("{argument.name}", None, "must be a tensor where {cases}", "give {argument.name}")'
                lines += [Line(f"if {argument.name} is None:"), Line(f"raise {error}", depth=1)]
        return lines

    def _named_paddings(self) -> list[Line]:
        lines = []
        for argument in self.definition.arguments:
            if isinstance(argument, Padding) and argument.named:
                extents = ", ".join(f"({', '.join(names)}{',' * (len(names) == 1)})" for names in argument.named)
                call = f'named_padding("{argument.name}", {argument.name}, {extents})'
                lines.append(Line(call, _pairs(argument)))
        return lines

    def _labels(self) -> list[Line]:
        lines = []
        for argument, tensor in self.binder.tensors:
            if tensor.kind == "integer" and argument.labels_below:
                ignored = f", {argument.ignored}" if argument.ignored else ""
                call = f'labels("{argument.name}", {argument.name}, {argument.labels_below}{ignored})'
                lines.append(Line(call, (argument.name,), pure=True))
        return lines

    def _seeds(self) -> list[Line]:
        seeds = [a for a in self.definition.arguments if isinstance(a, Seed)]
        return [
            Line(f'random_seed("{a.name}", {a.name}, {self._first})', (f"drawn_{a.symbol}",), pure=True) for a in seeds
        ]

    def _operator_call(self) -> list[Line]:
        lines = []
        tensors = [self.tensors[tensor.name].name for tensor in self.layer.inputs]
        if self._in_place and self.operator.keeps(self.layer.inputs[0].name):
            copy = f"{self._first}.clone() if {self._in_place} and needs_gradient({self._first}) else {self._first}"
            lines.append(Line(copy, ("given",), pure=True))
            tensors[0] = "given"
        symbols = [f"{name}={self._symbol(name)}" for name in self.operator.symbols]
        skipped = [
            f"() if {flag} else ({output!r},)"
            for flag, output in self.definition.optional_results.items()
            if output in self.layer.outputs
        ]
        options = [*self._shapes(), *([f"skipped={' + '.join(skipped)}"] if skipped else [])]
        call = f"{self.operator.constant}({', '.join([*tensors, *symbols, *options])})"
        return [*lines, Line(call, self.layer.outputs)]

    @property
    def _in_place(self) -> str:
        """Name of the flag with which the result overwrites the first tensor."""
        return next((a.name for a in self.definition.arguments if isinstance(a, Flag) and a.in_place), "")

    def _symbol(self, name: str) -> str:
        """Python for a symbol that the operator takes."""
        flags = {a.symbol for a in self.definition.arguments if isinstance(a, Flag)}
        seeds = {a.symbol for a in self.definition.arguments if isinstance(a, Seed)}
        return f"int({name})" if name in flags else f"drawn_{name}" if name in seeds else name

    def _shapes(self) -> list[str]:
        """Options of a call whose tensors are flattened: the shapes that users see, and around which dimension."""
        if not self.operator.many:
            return []
        outputs = [self.layer.tensors[name] for name in self.layer.outputs]
        seen = [self._seen(tensor) if tensor.name in self.operator.many else "None" for tensor in outputs]
        dimension = dimension_of(self.definition)
        return [f"shapes=({', '.join(seen)},)", *([f"around={dimension.name}"] if dimension else [])]

    def _seen(self, tensor: Tensor) -> str:
        """Python for an output's shape as users see it."""
        return f"{self._first}.shape" if self.operator.ordered else self.binder.shape(tensor)

    def _restored(self, output: str) -> list[Line]:
        """Take away the dimension that the function put in front."""
        tensor = self.layer.tensors[output]
        first = next((t for t in self.layer.inputs if self.tensors[t.name].name == self.binder.unbatched), None)
        if first is None or first.dims[0] not in tensor.dims:
            return []
        place = tensor.dims.index(first.dims[0])
        if any(dim[0].many for dim in tensor.dims[:place]):
            place -= len(tensor.dims)
        return [Line(f"{output}.squeeze({place}) if unbatched else {output}", (output,), pure=True)]

    def _own_type(self, output: str) -> list[Line]:
        """Results in the type of the integers that were given."""
        counted = next((a.name for a in self.tensors.values() if a.integers), "")
        if not counted or self.layer.tensors[output].kind == "integer":
            return []
        return [Line(f"{output} if {counted}_type is None else {output}.to({counted}_type)", (output,), pure=True)]

    @property
    def _first(self) -> str:
        """Name of the first tensor's argument."""
        return self.tensors[self.layer.inputs[0].name].name

    def _states(self) -> list[Line]:
        """Outputs that replace the contents of arguments; an empty tensor teaches nothing, and state stays."""
        pairs = [(a.name, a.updated_by) for a in self.tensors.values() if a.updated_by in self.layer.outputs]
        stores = [Line(f"store({', '.join(f'({name}, {output})' for name, output in pairs)})")] if pairs else []
        return [Line(f"if {self._first}.numel():"), *indented(stores)] if stores else []

    def _result(self) -> list[Line]:
        """Return the results, and those that a flag adds."""
        results = self.definition.result
        lines = [line for output in results for line in (*self._own_type(output), *self._restored(output))]
        value = ", ".join(results)
        if self._in_place:
            first = "overwritten" if self.tensors[self.layer.inputs[0].name].integers else self._first
            value = f"{first}.copy_({value}) if {self._in_place} else {value}"
        for flag, output in self.definition.optional_results.items():
            if output in self.layer.outputs:
                lines += [Line(f"if not {flag}:"), Line(f"return {value}", depth=1), *self._restored(output)]
                value = f"{value}, {output}"
        if lines and lines[-1].names == (value,):
            value = lines.pop().text
        return [*lines, Line(f"return {value}")]
