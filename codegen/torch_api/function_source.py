"""What the template of a function prints: its signature, docstring and body.

Input: a ``Definition``. Output: Python text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.torch_api.lines import Body
from svertka.codegen.torch_api.operators import (
    OperatorDescription,
    kinds_of,
    may_be_absent,
    operator_of,
)
from svertka.codegen.torch_api.wrapper import function_body
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Choice,
    Definition,
    Dimension,
    ElementType,
    Facade,
    Flag,
    Padding,
    PerAxis,
    Real,
    Seed,
    Setting,
    TensorArgument,
    TrailingShape,
    Whole,
)
from svertka.spec.notation import Tensor

__all__ = ["FacadeSource", "FunctionSource", "default_text", "signature_of", "type_text"]


def type_text(argument: Argument, definition: Definition | Facade) -> str:
    """Annotation of an argument."""
    if isinstance(argument, Setting):
        return argument.annotation
    if isinstance(argument, TensorArgument):
        if isinstance(definition, Facade):
            return "Tensor"
        return "Tensor | None" if may_be_absent(definition, argument) else "Tensor"
    if isinstance(argument, PerAxis):
        if argument.missing is not None:
            return "int | Sequence[int | None] | None"
        own = "int | Sequence[int]"
        return f"{own} | None" if isinstance(argument.default, str) else own
    if isinstance(argument, Padding):
        own = "int | Sequence[int] | Sequence[tuple[int, int]]"
        return f"{own} | str" if argument.named else own
    if isinstance(argument, Whole):
        return "int | None" if argument.optional else "int"
    if isinstance(argument, TrailingShape):
        return "Sequence[int]"
    if isinstance(argument, Real) and argument.epsilon:
        return "float | None"
    if isinstance(argument, Seed | Dimension):  # None: a module of torch may hold it; the call may refuse it
        return "int | None"
    return {Real: "float", Flag: "bool", Choice: "str", ElementType: "torch.dtype | None"}[type(argument)]


def default_text(argument: Argument) -> str:
    """Default of an argument, as Python."""
    if isinstance(argument.default, str) and argument.default.startswith("<"):
        return "None"
    return repr(argument.default)


def signature_of(definition: Definition | Facade) -> str:
    """Parameters of a definition's public function, as Python."""
    return _signature(definition.signature, definition)


def _signature(arguments: Iterable[Argument], definition: Definition | Facade) -> str:
    parts = []
    for argument in arguments:
        default = "" if argument.default is REQUIRED else f" = {default_text(argument)}"
        parts.append(f"{argument.name}: {type_text(argument, definition)}{default}")
    return ", ".join(parts)


@dataclass(frozen=True)
class FunctionSource:
    """What the template prints of a function."""

    definition: Definition
    modules: Mapping[str, KernelModule] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.definition.function

    @property
    def tensors(self) -> str:
        """Names of its tensors."""
        return ", ".join(a.name for a in self.definition.tensor_arguments)

    @property
    def passed(self) -> str:
        """Its arguments, as it passes them on."""
        return ", ".join(a.name for a in self.definition.signature)

    @property
    def signature(self) -> str:
        """Its parameters, with annotations and defaults."""
        return signature_of(self.definition)

    @cached_property
    def body(self) -> Body:
        """Its body, from checks to the operator's call."""
        return function_body(self.definition, self.operators)

    @property
    def typed(self) -> bool:
        """Whether a dtype is among the arguments."""
        return any(isinstance(argument, ElementType) for argument in self.definition.arguments)

    @cached_property
    def operators(self) -> list[OperatorDescription]:
        """The operators that it calls, one a variant."""
        module = self.modules[self.definition.name]
        pairs = enumerate(self.definition.variants)
        return [operator_of(self.definition, variant).keeping(module, place) for place, variant in pairs]

    @property
    def result_type(self) -> str:
        """Annotation of what it returns."""
        one = "Tensor" if len(self.definition.result) == 1 else "tuple[Tensor, ...]"
        return f"{one} | tuple[Tensor, ...]" if self.definition.optional_results else one

    @property
    def equations(self) -> list[str]:
        """The first formula, wrapped."""
        equations = self.definition.variants[0].layer.equations
        texts = [f"{e.target[e.target.axes]} = {e.value}" for e in equations]
        return [line for text in texts for line in textwrap.wrap(text, 100, subsequent_indent="    ")]

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """Every argument with its description."""
        return [(a.name, self._explained(a)) for a in self.definition.signature]

    def _explained(self, argument: Argument) -> str:
        if isinstance(argument, Setting):
            return argument.meaning
        if isinstance(argument, TensorArgument):
            return self._tensor(argument)
        if isinstance(argument, PerAxis):
            missing = f"; None stands for {argument.default[1:-1]}" if isinstance(argument.default, str) else ""
            many = f" or {len(argument.symbols)}, one an axis," if len(argument.symbols) > 1 else ""
            if argument.missing is not None:
                missing = "; None, for all axes or for one, leaves the extent as it is"
            return f"an integer{many} of at least {argument.minimum}{missing}."
        if isinstance(argument, Padding):
            words = ", or 'same' or 'valid'" if argument.named else ""
            return f"an integer, one an axis, or (low, high) pairs{words}."
        if isinstance(argument, Choice):
            return f"one of {', '.join(map(repr, argument.choices))}."
        if isinstance(argument, Real):
            high = "" if argument.high is None else f", {'at most' if argument.closed else 'less than'} {argument.high}"
            missing = "; None stands for the machine epsilon of the arithmetic" if argument.epsilon else ""
            return f"a number{'' if argument.low is None else f', at least {argument.low}'}{high}{missing}."
        if isinstance(argument, Dimension):
            missing = "; None chooses one as torch does, with a warning" if argument.default is None else ""
            return f"the dimension to work along; negative ones count from the end{missing}."
        if isinstance(argument, TrailingShape):
            return "the extents of the last dimensions, at least one."
        if isinstance(argument, ElementType):
            return f"the type into which {argument.tensor} is converted first, also of integers; None keeps its own."
        if isinstance(argument, Seed):
            return "a whole number that fixes the random field; None draws one from torch's default generator."
        if isinstance(argument, Flag) and argument.in_place:
            return "whether the result overwrites the first tensor."
        if isinstance(argument, Flag):
            added = self.definition.optional_results.get(argument.name)
            return f"whether to return {added} too." if added else "True or False."
        return f"an integer{_least(argument)}."

    @property
    def results(self) -> str:
        """The shapes of the results."""
        optional = self.definition.optional_results
        parts = [f"{name} {self._shapes(name)}" for name in self.definition.result]
        parts += [f"with {flag} also {name} {self._shapes(name)}" for flag, name in optional.items()]
        return f"{'; '.join(parts)}."

    def _shapes(self, output: str) -> str:
        layers = [variant.layer for variant in self.definition.variants]
        return " or ".join(dict.fromkeys(_shape(layer.tensors[output]) for layer in layers))

    def _tensor(self, argument: TensorArgument) -> str:
        own = kinds_of(self.definition, argument) | ({"integer"} if argument.integers else set())
        kinds = " or ".join(sorted(own))
        given = [t for v in self.definition.variants for t in v.layer.inputs if t.name == argument.bound]
        shapes = list(dict.fromkeys(_shape(tensor) for tensor in given))
        unbatched = "; the first dimension may be left out" if argument.unbatched else ""
        absent = "; may be None" if may_be_absent(self.definition, argument) else ""
        return f"{kinds} tensor of shape {' or '.join(shapes)}{unbatched}{absent}."


@dataclass(frozen=True)
class FacadeSource:
    """What the template prints of a facade."""

    facade: Facade
    paths: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.facade.function

    @property
    def signature(self) -> str:
        """Its parameters, with annotations and defaults."""
        return signature_of(self.facade)

    @property
    def tensors(self) -> str:
        """Names of its tensors."""
        return ", ".join(a.name for a in self.facade.tensor_arguments)

    @property
    def passed(self) -> str:
        """Its arguments, as it passes them on."""
        return ", ".join(a.name for a in self.facade.arguments)

    @property
    def calls(self) -> list[tuple[str, str]]:
        """The functions that it calls, with the modules that have them."""
        return [(self.paths[name], name) for name in self.facade.calls]

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """Every argument with its description."""
        return [(a.name, _described(a, self.facade.shape)) for a in self.facade.arguments]


def _described(argument: Argument, shape: str) -> str:
    if isinstance(argument, Setting):
        return argument.meaning
    if isinstance(argument, Choice):
        return f"one of {', '.join(map(repr, argument.choices))}."
    return f"real tensor of shape {shape}."


def _least(argument: Argument) -> str:
    if not isinstance(argument, Whole) or argument.minimum is None:
        return ""
    return f" of at least {argument.minimum}{', or None' if argument.optional else ''}"


def _shape(tensor: Tensor) -> str:
    dims = []
    for dim in tensor.dims:
        text = " x ".join(index.meaning for index in dim)
        dims.append(f"*{text}" if dim[0].many else text)
    return f"({', '.join(dims)})" if dims else "()"
