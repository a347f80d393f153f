"""What the template of modules prints of one: its constructor, parameters, buffers and call.

Input: a ``Definition`` and one of its modules. Output: Python text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from svertka.codegen.torch_api.function_source import FunctionSource, default_text, type_text
from svertka.codegen.torch_api.of_torch import forward_parameters
from svertka.spec.define import argument_name
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Definition,
    Facade,
    Flag,
    ModuleFace,
    Older,
    TensorArgument,
)
from svertka.spec.notation import Tensor

__all__ = ["ModuleSource"]


@dataclass(frozen=True)
class _Parameter:
    """A tensor that a module holds.

    Attributes:
        start: its initial value; None if the definition has none.
        known: names of the module's settings, by the symbol whose value they are.
    """

    name: str
    tensor: Tensor
    start: float | None
    known: Mapping[str, str]

    @property
    def optional(self) -> bool:
        """Whether it may be absent."""
        return self.tensor.default is not None

    @property
    def shape(self) -> str:
        """Python for its shape."""
        dims = [" * ".join(self.known.get(i.extent.name) or argument_name(i) for i in d) for d in self.tensor.dims]
        return f"({', '.join(dims)}{',' * (len(dims) == 1)})"

    @property
    def initial(self) -> str:
        """Python for its initial value; None for a uniform draw."""
        default = self.tensor.default if self.start is None else self.start
        return "None" if default is None else repr(float(default))


@dataclass(frozen=True)
class ModuleSource:
    """What the template prints of a module."""

    definition: Definition | Facade
    description: ModuleFace

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.description.name

    @property
    def own(self) -> bool:
        """Whether torch has no such module."""
        return self.description.base == "torch.nn.Module"

    @property
    def inputs(self) -> str:
        """Parameters of forward."""
        parts = []
        for argument in self._forward_tensors():
            optional = self.own and argument.default is None
            parts.append(f"{self._in_forward(argument)}: Tensor{' | None = None' if optional else ''}")
        parts += [f"{name}: {annotation}" for name, annotation in self.description.options.items()]
        return ", ".join(parts)

    def _in_forward(self, argument: TensorArgument) -> str:
        """Name of a tensor among the parameters of forward: torch gives the first one various names."""
        if self.own or self.description.before or argument.name != self.definition.tensor_arguments[0].name:
            return argument.name
        return forward_parameters(self._of_torch)[1]

    @property
    def _of_torch(self) -> str:
        """Name of torch's class with the same constructor and state."""
        return (self.description.like or self.description.base).rpartition(".")[2]

    def _forward_tensors(self) -> list[TensorArgument]:
        """Tensors that each call passes: those of torch's forward; without one, those that the module does not hold."""
        tensors = self.definition.tensor_arguments
        if self.own:
            held = {*self.description.buffers, *self.description.parameters}
            return [a for a in tensors if a.name not in held]
        passed = (tensors[0].name, *forward_parameters(self._of_torch), *self.description.takes)
        return [a for a in tensors if a.name in passed]

    @property
    def result_type(self) -> str:
        """Annotation of what ``forward`` returns."""
        return "Tensor" if isinstance(self.definition, Facade) else FunctionSource(self.definition).result_type

    @property
    def settings(self) -> list[Argument]:
        """Arguments of the constructor, for a module that torch does not have."""
        held = {a.name for a in self._forward_tensors()}
        held |= {*self.description.parameters}
        return [a for a in self.definition.arguments if a.name not in held and not (isinstance(a, Flag) and a.in_place)]

    @property
    def parameters(self) -> list[_Parameter]:
        """Tensors that the module holds and trains."""
        if isinstance(self.definition, Facade):
            return []
        tensors = {t.name: t for v in self.definition.variants for t in v.layer.inputs}
        arguments = self.definition.tensor_arguments
        known = {getattr(a, "symbol", ""): a.name for a in self.settings}
        return [
            _Parameter(a.name, tensors[a.bound], self.description.parameters[a.name], known)
            for a in arguments
            if a.name in self.description.parameters
        ]

    @property
    def counts(self) -> list[str]:
        """Arguments of the constructor that are extents of parameters, in the order of the inputs."""
        if isinstance(self.definition, Facade):
            return []
        settings = {getattr(a, "symbol", "") for a in self.settings}
        held = {index for parameter in self.parameters for index in parameter.tensor.axes}
        every = (i for v in self.definition.variants for t in v.layer.inputs for i in t.axes)
        return list(dict.fromkeys(argument_name(i) for i in every if i in held and i.extent.name not in settings))

    @property
    def signature(self) -> str:
        """The constructor's parameters: required ones, then plain settings, then buffers."""
        ordered = sorted(self.settings, key=lambda a: (a.default is not REQUIRED, a.name in self.description.buffers))
        parts = [f"{name}: int" for name in self.counts]
        for argument in ordered:
            default = "" if argument.default is REQUIRED else f" = {default_text(argument)}"
            kind = type_text(argument, self.definition)
            if argument.name in self.description.buffers:
                kind = "Tensor | Sequence[float] | None"
            parts.append(f"{argument.name}: {kind}{default}")
        parts += [f"{parameter.name}: bool = True" for parameter in self.parameters if parameter.optional]
        if self.parameters:
            parts += ["device: torch.device | str | None = None", "dtype: torch.dtype | None = None"]
        return ", ".join(parts)

    @property
    def shown(self) -> list[str]:
        """Settings that ``repr`` shows."""
        return [*self.counts, *(a.name for a in self.settings if a.name not in self.description.buffers)]

    @property
    def call(self) -> str:
        """Arguments of the function's call."""
        held = {a.name: self._in_forward(a) for a in self._forward_tensors()}
        parts = []
        for argument in self.definition.arguments:
            name = argument.name
            if self.own and isinstance(argument, Flag) and argument.in_place:
                continue
            value = held[name] if name in held else self.description.call.get(name, f"self.{name}")
            parts.append(f"{name}={value}")
        older = (one.name for one in self.definition.signature if isinstance(one, Older))
        parts += [f"{name}={self.description.call[name]}" for name in older if name in self.description.call]
        return ", ".join(parts)

    @property
    def fixed(self) -> list[tuple[str, str]]:
        """Attributes of torch's class that must have one value."""
        return [(name, repr(value)) for name, value in self.description.fixed.items()]
