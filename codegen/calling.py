"""What a public function does with its arguments: the lines of its body, and the operators that it calls.

Input: a ``Definition``. Output: ``body``, lines of Python; ``operators``, the data of the formulas behind them.
"""

from __future__ import annotations

from svertka.codegen.binding import Line, indented
from svertka.spec.definition import (
    Argument,
    Choice,
    Definition,
    Flag,
    Padding,
    PerAxis,
    Real,
    TensorArgument,
    Variant,
    Whole,
)
from svertka.spec.notation import Tensor

__all__ = ["IN_PLACE", "OperatorFace", "body", "kinds_of", "may_be_absent", "operators"]

IN_PLACE = "inplace"
"""Name of the ``Flag`` with which, as everywhere in torch, the result overwrites the first tensor."""


def _variants_with(definition: Definition, argument: TensorArgument) -> list[tuple[Variant, Tensor | None]]:
    found = []
    for variant in definition.variants:
        inputs = {tensor.name: tensor for tensor in variant.layer.inputs}
        found.append((variant, inputs.get(argument.bound)))
    return found


def may_be_absent(definition: Definition, argument: TensorArgument) -> bool:
    """Whether a tensor argument may be None."""
    given = [tensor for _, tensor in _variants_with(definition, argument)]
    return argument.default is None or any(tensor is None or tensor.default is not None for tensor in given)


def kinds_of(definition: Definition, argument: TensorArgument) -> set[str]:
    """``"real"``, ``"integer"`` or both."""
    return {tensor.kind for _, tensor in _variants_with(definition, argument) if tensor is not None}


def first_tensor(definition: Definition) -> TensorArgument:
    """The tensor that decides device, type and memory format."""
    return next(a for a in definition.arguments if isinstance(a, TensorArgument))


# The body of a function


def body(definition: Definition) -> list[Line]:
    """Check the arguments, bind the extents, choose the variant, call it, and restore the shapes."""
    every = [_Variant(definition, variant) for variant in definition.variants]
    branches = [(variant.when, variant.lines()) for variant in every]
    return [
        *_tensor_checks(definition),
        *_scalars(definition),
        *_identity(definition),
        *_tree(definition, branches),
    ]


def _tensor_checks(definition: Definition) -> list[Line]:
    """One check a tensor: its type, its device, its dtype."""
    first, lines = first_tensor(definition), []
    for argument in definition.arguments:
        if not isinstance(argument, TensorArgument):
            continue
        kinds = kinds_of(definition, argument)
        check = "any_tensor" if len(kinds) == 2 else f"{kinds.pop()}_tensor"
        like = "" if argument == first else f", {first.name}"
        line = Line(f'{check}("{argument.name}", {argument.name}{like})')
        if may_be_absent(definition, argument):
            lines += [Line(f"if {argument.name} is not None:"), *indented([line])]
        else:
            lines.append(line)
    return lines


def _scalars(definition: Definition) -> list[Line]:
    """Arguments in their normal form, but for those that need the shapes of tensors."""
    return [line for argument in definition.arguments for line in _scalar(argument)]


def _scalar(argument: Argument) -> list[Line]:
    name = argument.name
    if isinstance(argument, PerAxis):
        value = name
        if isinstance(argument.default, str) and argument.default.startswith("<"):
            value = f"{argument.default[1:-1]} if {name} is None else {name}"
        call = f'per_axis("{name}", {value}, {len(argument.symbols)}, {argument.minimum})'
        return [Line(call, argument.symbols)]
    if isinstance(argument, Padding) and not argument.named:
        return [Line(f'padding_pairs("{name}", {name}, {len(argument.low)})', _pairs(argument))]
    if isinstance(argument, Whole):
        least = "" if argument.minimum is None else f", {argument.minimum}"
        call = f'whole("{name}", {name}{least})'
        missing = f"{argument.missing} if {name} is None else " if argument.optional else ""
        return [Line(missing + call, (argument.symbol,), pure=True)]
    if isinstance(argument, Real):
        bounds = [
            f"{word}={value}" for word, value in (("low", argument.low), ("high", argument.high)) if value is not None
        ]
        options = "".join(f", {bound}" for bound in [*bounds, *["closed=True"] * argument.closed])
        return [Line(f'real("{name}", {name}{options})', (argument.symbol,), pure=True)]
    if isinstance(argument, Flag):
        return [Line(f'flag("{name}", {name})')]
    if isinstance(argument, Choice):
        words = ", ".join(f'"{word}"' for word in argument.choices)
        return [Line(f'choice("{name}", {name}, ({words}))')]
    return []


def _pairs(argument: Padding) -> tuple[str, ...]:
    return tuple(f"({low}, {high})" for low, high in zip(argument.low, argument.high, strict=True))
