"""What a public function does: check its arguments, bind extents, choose a formula, call it, restore the shapes.

Input: a ``Definition`` and its operators. Output: ``function_body``, the lines of the function.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svertka.codegen.torch_api.argument_checks import argument_checks, padding_targets
from svertka.codegen.torch_api.binding import Binder, dimension_of, trailing_of
from svertka.codegen.torch_api.lines import (
    Body,
    Code,
    Line,
    body_of,
    call,
    helpers_in,
    if_block,
    joined,
    tuple_of,
    variable,
)
from svertka.codegen.torch_api.operators import OperatorDescription, kinds_of, may_be_absent
from svertka.spec.definition import Definition, Flag, Padding, Seed, TensorArgument, Variant
from svertka.spec.notation import Tensor

__all__ = ["function_body"]


def function_body(definition: Definition, operators: Sequence[OperatorDescription]) -> Body:
    """The body of the public function that calls the operators of its variants, unformatted."""
    branches = [
        _Branch(dict(variant.when), tuple(_Call(definition, variant, operator).lines()))
        for variant, operator in zip(definition.variants, operators, strict=True)
    ]
    first = [Line(Code(text, _helpers(text))) for text in (*definition.translated, *definition.first)]
    return body_of([*first, *argument_checks(definition), *_identity(definition), *_tree(branches, definition)])


def _helpers(text: str) -> tuple[str, ...]:
    """Functions of the support code that a statement names."""
    return tuple(helpers_in("arguments", re.findall(r"\w+", text)))


def _identity(definition: Definition) -> list[Line]:
    """Return the first tensor where the function is the identity."""
    if not definition.identity_when:
        return []
    condition = joined(" or ", (_holds(definition, *item) for item in definition.identity_when.items()))
    first = next(a.name for a in definition.tensor_arguments)
    return if_block(condition, Line("return " + variable(first)))


# The choice of a variant


@dataclass(frozen=True)
class _Branch:
    """Lines of a variant, and the argument values with which it applies."""

    when: dict[str, Any]
    lines: tuple[Line, ...]


def _tree(branches: Sequence[_Branch], definition: Definition) -> list[Line]:
    """The lines that all branches begin with, then a decision by the first argument, and the same in each branch."""
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
        head += if_block(_holds(definition, name, value), *_tree(group, definition))
    return head + _tree(last, definition)


def _holds(definition: Definition, name: str, value: Any) -> Code:
    """The condition that an argument has a value of ``Variant.when``."""
    argument = next(a for a in definition.arguments if a.name == name)
    given = variable(name)
    if isinstance(argument, TensorArgument):
        if len(kinds_of(definition, argument)) > 1:
            is_real = given + ".is_floating_point()"
            return "not " + is_real if value == "integer" else is_real
        return given + (" is None" if value is None else " is not None")
    if isinstance(argument, Flag):
        return given if value else "not " + given
    return given + f" == {value!r}"


# One variant


@dataclass
class _Call:
    """The lines of one variant, from the shapes of its tensors to the result."""

    definition: Definition
    variant: Variant
    operator: OperatorDescription

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
        """Refuse None for a tensor that this variant needs and another variant does not."""
        lines: list[Line] = []
        for argument, tensor in self.binder.tensors:
            told = self.variant.when.get(argument.name)
            if may_be_absent(self.definition, argument) and tensor.default is None and told is None:
                cases = joined(" and ", (_holds(self.definition, *item) for item in self.variant.when.items()))
                rule = f"must be a tensor where {cases.text}"
                error = call("mistyped", argument.name, None, rule, f"give {argument.name}")
                lines += if_block(variable(argument.name) + " is None", Line("raise " + error))
        return lines

    def _named_paddings(self) -> list[Line]:
        lines = []
        for argument in self.definition.arguments:
            if isinstance(argument, Padding) and argument.named:
                extents = (tuple_of(map(variable, names)) for names in argument.named)
                pairs = call("named_padding", argument.name, variable(argument.name), *extents)
                lines.append(Line.assigning(pairs, *padding_targets(argument)))
        return lines

    def _labels(self) -> list[Line]:
        lines = []
        for argument, tensor in self.binder.tensors:
            if tensor.kind == "integer" and argument.labels_below:
                bounds = (argument.labels_below, argument.ignored) if argument.ignored else (argument.labels_below,)
                checked = call("labels", argument.name, variable(argument.name), *map(variable, bounds))
                lines.append(Line.assigning(checked, argument.name, pure=True))
        return lines

    def _seeds(self) -> list[Line]:
        seeds = [a for a in self.definition.arguments if isinstance(a, Seed)]
        first = variable(self._first)
        drawn = (call("random_seed", a.name, variable(a.name), first) for a in seeds)
        return [Line.assigning(c, f"drawn_{a.symbol}", pure=True) for a, c in zip(seeds, drawn, strict=True)]

    def _operator_call(self) -> list[Line]:
        lines: list[Line] = []
        tensors = [variable(self.tensors[tensor.name].name) for tensor in self.layer.inputs]
        if self._in_place and self.operator.keeps(self.layer.inputs[0].name):
            first, asked = variable(self._first), variable(self._in_place)
            copied = first + ".clone() if " + asked + " and " + call("needs_gradient", first) + " else " + first
            lines.append(Line.assigning(copied, "given", pure=True))
            tensors[0] = variable("given")
        options = {name: self._symbol(name) for name in self.operator.symbols} | self._shapes()
        skipped = [
            "() if " + variable(flag) + f" else ({output!r},)"
            for flag, output in self.definition.optional_results.items()
            if output in self.layer.outputs
        ]
        if skipped:
            options["skipped"] = joined(" + ", skipped)
        return [*lines, Line.assigning(call(self.operator.constant, *tensors, **options), *self.layer.outputs)]

    @property
    def _in_place(self) -> str:
        """Name of the flag with which the result overwrites the first tensor."""
        return next((a.name for a in self.definition.arguments if isinstance(a, Flag) and a.in_place), "")

    def _symbol(self, name: str) -> Code:
        """A symbol that the operator takes."""
        flags = {a.symbol for a in self.definition.arguments if isinstance(a, Flag)}
        seeds = {a.symbol for a in self.definition.arguments if isinstance(a, Seed)}
        if name in flags:
            return call("int", variable(name))
        return variable(f"drawn_{name}" if name in seeds else name)

    def _shapes(self) -> dict[str, Code]:
        """Options of a call whose tensors are flattened: the shapes of results that users see, and the dimension."""
        if not self.operator.many:
            return {}
        outputs = [self.layer.tensors[name] for name in self.layer.outputs]
        seen = [self._seen(tensor) if tensor.name in self.operator.many else "None" for tensor in outputs]
        dimension = dimension_of(self.definition)
        around = dimension.name if dimension else "leading" if trailing_of(self.definition) else ""
        return {"shapes": tuple_of(seen)} | ({"around": variable(around)} if around else {})

    def _seen(self, tensor: Tensor) -> Code:
        """An output's shape as users see it."""
        return variable(self._first) + ".shape" if self.operator.ordered else self.binder.shape(tensor)

    def _restored(self, output: str) -> list[Line]:
        """Remove the first dimension, if the function has added it."""
        tensor = self.layer.tensors[output]
        first = next((t for t in self.layer.inputs if self.tensors[t.name].name == self.binder.unbatched), None)
        if first is None or first.dims[0] not in tensor.dims:
            return []
        place = tensor.dims.index(first.dims[0])
        if any(dim[0].many for dim in tensor.dims[:place]):
            place -= len(tensor.dims)
        result = variable(output)
        restored = result + f".squeeze({place}) if " + variable("unbatched") + " else " + result
        return [Line.assigning(restored, output, pure=True)]

    def _own_type(self, output: str) -> list[Line]:
        """Convert results to the type of the integers that were passed."""
        counted = next((a.name for a in self.tensors.values() if a.integers), "")
        if not counted or self.layer.tensors[output].kind == "integer":
            return []
        result, dtype = variable(output), variable(f"{counted}_type")
        converted = result + " if " + dtype + " is None else " + result + ".to(" + dtype + ")"
        return [Line.assigning(converted, output, pure=True)]

    @property
    def _first(self) -> str:
        """Name of the first tensor's argument."""
        return self.tensors[self.layer.inputs[0].name].name

    def _states(self) -> list[Line]:
        """Store outputs in the arguments that they update; an empty tensor leaves the state unchanged."""
        pairs = [(a.name, a.updated_by) for a in self.tensors.values() if a.updated_by in self.layer.outputs]
        if not pairs:
            return []
        stored = call("store", *(tuple_of(map(variable, pair)) for pair in pairs))
        return if_block(variable(self._first) + ".numel()", Line(stored))

    def _result(self) -> list[Line]:
        """Return the results, and further results where a flag asks for them."""
        results = self.definition.result
        lines = [line for output in results for line in (*self._own_type(output), *self._restored(output))]
        values = [variable(output) for output in results]
        if self._in_place:
            first = "overwritten" if self.tensors[self.layer.inputs[0].name].integers else self._first
            value = joined(", ", values)
            copied = variable(first) + ".copy_(" + value + ")"
            values = [copied + " if " + variable(self._in_place) + " else " + value]
        for flag, output in self.definition.optional_results.items():
            if output in self.layer.outputs:
                lines += if_block("not " + variable(flag), Line("return " + joined(", ", values)))
                lines += self._restored(output)
                values.append(variable(output))
        if lines and values == [variable(bound) for bound in lines[-1].binds]:
            values = [lines.pop().code]
        return [*lines, Line("return " + joined(", ", values))]
