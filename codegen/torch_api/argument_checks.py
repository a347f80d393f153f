"""What a public function checks of its arguments before it reads the shapes of its tensors.

Input: a ``Definition`` or one of its arguments. Output: ``Line``s of the function, or the checks alone as ``Code``.
"""

from __future__ import annotations

from collections.abc import Callable

from svertka.codegen.torch_api.autocast import Precision, precision, shaped_alike
from svertka.codegen.torch_api.lines import Code, Line, Target, call, if_block, indented, variable
from svertka.codegen.torch_api.operators import kinds_of, may_be_absent
from svertka.spec.definition import (
    Argument,
    Choice,
    Definition,
    ElementType,
    Flag,
    Padding,
    PerAxis,
    Real,
    Setting,
    TensorArgument,
    Whole,
)

__all__ = ["argument_checks", "padding_targets", "scalar_checks"]

AUTOCAST = {Precision.LOWERED: "lowered", Precision.FULL: "in_float32", Precision.KEPT: "in_widest"}
"""Helpers that cast tensors, by what autocast does."""


def argument_checks(definition: Definition) -> list[Line]:
    """Check and convert the arguments of a public function; all variants share these lines."""
    return [
        *_counted(definition),
        *_autocast(definition),
        *_tensor_checks(definition),
        *_scalars(definition),
        *_shapeless(definition),
    ]


def _autocast(definition: Definition) -> list[Line]:
    """Cast tensors to the type in which autocast computes the formula."""
    rule = _precision(definition)
    names = tuple(a.name for a in definition.tensor_arguments)
    if rule == Precision.KEPT:
        names = tuple(name for name in names if name not in _of_own_type(definition))
        if len(names) <= 1:
            return []
    cast = [Line.assigning(call(AUTOCAST[rule], *map(variable, names)), *names)]
    told = next((a for a in definition.arguments if isinstance(a, ElementType)), None)
    if told is None:
        return cast
    dtype = variable(told.name)
    converted = call("in_type", told.name, dtype, told.tensor, variable(told.tensor))
    given = Line.assigning(converted, told.tensor, pure=True)
    return [*if_block(dtype + " is None", *cast), Line(Code("else:")), *indented([given])]


def _precision(definition: Definition) -> Precision:
    """What autocast does to the tensors: what the definition says, else what follows from its formulas."""
    if definition.autocast:
        return Precision(definition.autocast)
    return precision(variant.layer for variant in definition.variants)


def _counted(definition: Definition) -> list[Line]:
    """Convert integer tensors to real ones, for functions that take both."""
    names = [a.name for a in definition.tensor_arguments if a.integers]
    lines = [Line.assigning(call("as_real", name, variable(name)), name, f"{name}_type") for name in names]
    overwritten = any(isinstance(a, Flag) and a.in_place for a in definition.arguments)
    if not names or not overwritten:
        return lines
    return [Line.assigning(variable(names[0]), "overwritten", pure=True), *lines]


def _shapeless(definition: Definition) -> list[Line]:
    """Return a copy of an empty tensor that has too few dimensions for the formula."""
    for argument in definition.arguments:
        if isinstance(argument, TensorArgument) and argument.shapeless:
            tensor = next(t for t in definition.variants[0].layer.inputs if t.name == argument.bound)
            least = sum(not dim[0].many for dim in tensor.dims)
            given = variable(argument.name)
            return if_block(
                given + f".dim() < {least} and not " + given + ".numel()", Line("return " + given + ".clone()")
            )
    return []


def _of_own_type(definition: Definition) -> set[str]:
    """Tensors that may be float32 beside a first tensor in half precision: those with other dimensions.

    A formula whose products autocast lowers, and one that reduces its elements to fewer, takes one type alone.
    """
    rule = _precision(definition)
    if rule == Precision.LOWERED or (rule == Precision.FULL and not _maps(definition)):
        return set()
    alike = {tensor.name for variant in definition.variants for tensor in shaped_alike(variant.layer)}
    return {a.name for a in definition.tensor_arguments if a.bound not in alike}


def _maps(definition: Definition) -> bool:
    """Whether results have the dimensions of the first real tensor, for every formula."""
    return all(
        variant.layer.tensors[name].dims == shaped_alike(variant.layer)[0].dims
        for variant in definition.variants
        for name in definition.result
    )


def _tensor_checks(definition: Definition) -> list[Line]:
    """Check the type, device and dtype of each tensor: of a real one first, which the others are compared with."""
    lines: list[Line] = []
    like: list[Code] = []
    wider = _of_own_type(definition)
    kinds = {argument.name: kinds_of(definition, argument) for argument in definition.tensor_arguments}
    leading = next((name for name, found in kinds.items() if "real" in found), "")
    for argument in sorted(definition.tensor_arguments, key=lambda argument: argument.name != leading):
        kind = "any" if len(kinds[argument.name]) > 1 else min(kinds[argument.name])
        options = {"wider": True} if argument.name in wider and kind == "real" else {}
        given = variable(argument.name)
        line = Line(call(f"{kind}_tensor", argument.name, given, *like, **options))
        lines += if_block(given + " is not None", line) if may_be_absent(definition, argument) else [line]
        like = like or [given]
    return lines


def _scalars(definition: Definition) -> list[Line]:
    """Convert arguments to their normal form, except those that need the shapes of tensors."""
    first = definition.tensor_arguments[0].name
    return [line for argument in definition.arguments for line in _scalar(argument, first=first)]


def scalar_checks(argument: Argument, read: Callable[[str], Code] = variable) -> list[Code]:
    """What is checked of an argument that needs no tensor.

    Args:
        argument: the argument.
        read: source that reads an argument by its name.
    """
    return [line.code for line in _scalar(argument, read)]


def _scalar(argument: Argument, read: Callable[[str], Code] = variable, first: str = "") -> list[Line]:
    """Lines for an argument; ``first`` is the name of the first tensor, if there is one to read."""
    name = argument.name
    value = read(name)
    if isinstance(argument, PerAxis):
        default = str(argument.default)
        missing = {} if argument.missing is None else {"missing": argument.missing}
        if default.startswith("<"):
            value = read(default[1:-1]) + " if " + call("left_out", value) + " else " + value
        return [
            Line.assigning(
                call("per_axis", name, value, len(argument.symbols), argument.minimum, **missing), *argument.symbols
            )
        ]
    if isinstance(argument, Padding) and not argument.named:
        return [Line.assigning(call("padding_pairs", name, value, len(argument.low)), *padding_targets(argument))]
    if isinstance(argument, Whole):
        return [Line.assigning(_whole(argument, value), argument.symbol, pure=True)]
    if isinstance(argument, Real):
        bounds = {"low": argument.low, "high": argument.high, "closed": argument.closed or None}
        options = {word: bound for word, bound in bounds.items() if bound is not None}
        checked = call("real", name, value, **options)
        if argument.epsilon:
            epsilon = call("epsilon", variable(first)) if first else Code("0.0")
            checked = epsilon + " if " + value + " is None else " + checked
        return [Line.assigning(checked, argument.symbol, pure=True)]
    if isinstance(argument, Flag):
        return [Line(call("flag", name, value))]
    if isinstance(argument, Choice):
        return [Line(call("choice", name, value, argument.choices))]
    if isinstance(argument, Setting) and argument.check:
        return [Line(call(argument.check, name, value))]
    return []


def _whole(argument: Whole, value: Code) -> Code:
    """An integer argument, checked; where it may be None, the number that stands for None."""
    if argument.minimum is not None:
        checked = call("whole", argument.name, value, argument.minimum)
    elif argument.optional:
        checked = call("whole", argument.name, value, besides=argument.missing)
    else:
        checked = call("whole", argument.name, value)
    return f"{argument.missing} if " + value + " is None else " + checked if argument.optional else checked


def padding_targets(argument: Padding) -> tuple[Target, ...]:
    """What the pairs of a padding, one for each axis, are assigned to."""
    return tuple(Target(pair) for pair in zip(argument.low, argument.high, strict=True))
