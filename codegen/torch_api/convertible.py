"""The tables of ``convert`` as source: which module replaces which module of torch, and which chains are one module.

All of it follows from the definitions: a module replaces the torch class that is its base, and a composed layer
replaces the chain of its parts.

Input: ``Definition``s. Output: unformatted Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sympy import Basic

from svertka.codegen.emit.render import environment
from svertka.codegen.torch_api.argument_checks import scalar_checks
from svertka.codegen.torch_api.lines import Code, call, helpers_in, variable
from svertka.spec.definition import (
    Argument,
    Definition,
    Dimension,
    Facade,
    Flag,
    ModuleFace,
    Part,
    Seed,
    TensorArgument,
    with_facades,
)
from svertka.spec.layer import Layer, reads
from svertka.spec.notation import Read
from svertka.spec.rewrite import replace

__all__ = ["convertible_source"]

ModulesByFunction = Mapping[str, Sequence[ModuleFace]]
NO_BASE = "torch.nn.Module"


def convertible_source(definitions: Sequence[Definition]) -> str:
    """Modules with the torch classes that they replace, and the chains of layers that composed layers compute."""
    layers: dict[str, _Taken] = {}
    for definition in with_facades([d for d in definitions if not d.parts]):
        for module in definition.modules:
            if module.base != NO_BASE:
                layers.setdefault(module.base, _Taken(definition, module))
    by_function = {d.function: d.modules for d in definitions}
    composed = [(d, module) for d in definitions if d.parts for module in d.modules]
    chains = [chain for definition, module in composed for chain in _chains(definition, module, by_function)]
    chains.sort(key=lambda chain: -len(chain.parts))  # ``convert`` takes the first chain that matches
    own = [_Taken(d, module) for d in definitions for module in d.modules if module.base == NO_BASE or d.parts]
    template = environment().get_template("convertible.py.jinja")
    reads = {name for layer in layers.values() for check in layer.checks for name in check.reads}
    checks = helpers_in("arguments", reads)
    return template.render(layers=list(layers.values()), chains=chains, own=own, checks=checks)


@dataclass(frozen=True)
class _Taken:
    """A module that replaces a module of torch."""

    definition: Definition | Facade
    module: ModuleFace

    @property
    def checks(self) -> list[Code]:
        """Calls that refuse what a module of torch may hold and the formula does not have."""
        found = [call("choice", name, _attribute(name), (value,)) for name, value in self.module.fixed.items()]
        for argument in self.definition.arguments:
            own = f"self.{argument.name}"
            if not isinstance(argument, TensorArgument) and self.module.call.get(argument.name, own) == own:
                found += _plain_checks(argument)
        return found


def _plain_checks(argument: Argument) -> list[Code]:
    """What the public function checks of an argument before it reads a tensor, for the attribute of a module."""
    if isinstance(argument, Dimension):
        return [] if argument.default is None else [call("whole", argument.name, _attribute(argument.name))]
    return [] if isinstance(argument, Seed) else scalar_checks(argument, _attribute)


def _attribute(name: str) -> Code:
    return variable("module") + f".{name}"


@dataclass(frozen=True)
class _Stateful:
    """A module whose state and settings a chain can be computed with.

    Attributes:
        type: its class, as Python.
        names: its attributes, by the attribute of the composed layer's module, where the two have different names.
        when: Python for a condition of ``module``; empty if there is none.
    """

    type: str
    names: Mapping[str, str]
    when: str = ""


@dataclass(frozen=True)
class _PartText:
    """What the template prints of a part of a chain."""

    part: Part
    modules: tuple[str, ...]
    more: tuple[str, ...]

    @property
    def function(self) -> str:
        return self.part.definition.function

    @property
    def settings(self) -> tuple[str, ...]:
        """Its arguments other than tensors from the chain and in-place flags."""
        names = (argument.name for argument in self.part.definition.arguments)
        return tuple(name for name in names if name not in (self.part.into, *self.more, *self.in_place))

    @property
    def in_place(self) -> tuple[str, ...]:
        """Flags with which it overwrites its input."""
        return tuple(a.name for a in self.part.definition.arguments if isinstance(a, Flag) and a.in_place)

    @property
    def symmetric(self) -> bool:
        """Whether its two tensors can be exchanged."""
        return len(self.more) == 1 and all(
            _symmetric(variant.layer, self.part.into, self.more[0]) for variant in self.part.definition.variants
        )


@dataclass(frozen=True)
class _Chain:
    """Layers in sequence that one module computes; ``stateful`` is the index of the part whose state the module has."""

    name: str
    function: str
    stateful: int
    stateful_layers: tuple[_Stateful, ...]
    parts: tuple[_PartText, ...]


def _chains(definition: Definition, module: ModuleFace, by_function: ModulesByFunction) -> Iterator[_Chain]:
    """The chain that a composed module computes, if all its state and settings belong to one part."""
    stateful_layers = [place for place, part in enumerate(definition.parts) if _settings(part, module)]
    if len(stateful_layers) == 1:
        (stateful,) = stateful_layers
        parts = tuple(
            _part_text(part, by_function, module, place == stateful) for place, part in enumerate(definition.parts)
        )
        found = tuple(_stateful_layers(definition.parts[stateful], by_function, module))
        if found:
            yield _Chain(module.name, definition.function, stateful, found, parts)


def _settings(part: Part, module: ModuleFace) -> list[str]:
    """Arguments of a part that a module holds."""
    return [
        argument.name
        for argument in part.definition.arguments
        if argument.name not in (part.into, *module.takes) and not (isinstance(argument, Flag) and argument.in_place)
    ]


def _part_text(part: Part, by_function: ModulesByFunction, module: ModuleFace, stateful: bool) -> _PartText:
    known = () if stateful else by_function.get(part.definition.function, ())
    bases = [one.base for one in known if one.base != NO_BASE]
    modules = (*(f"modules.{one.name}" for one in known), *bases)
    arguments = (a.name for a in part.definition.tensor_arguments)
    more = () if stateful else tuple(name for name in arguments if name != part.into)
    return _PartText(part, modules, more)


def _stateful_layers(part: Part, by_function: ModulesByFunction, module: ModuleFace) -> Iterator[_Stateful]:
    known = by_function.get(part.definition.function, ())
    names = {one.base: one.name for several in by_function.values() for one in several}
    for one in known:
        if one.base == (module.like or module.base):
            yield _Stateful(f"modules.{one.name}", {})
        for equivalent in one.equivalents:
            if module.base == NO_BASE and equivalent.base in names:
                condition = equivalent.when.replace("self.", "module.")
                yield _Stateful(f"modules.{names[equivalent.base]}", equivalent.names, condition)


def _symmetric(layer: Layer, one: str, other: str) -> bool:
    """Whether a formula stays the same when two of its tensors are exchanged."""
    tensors = layer.tensors
    if tensors[one].dims != tensors[other].dims:
        return False
    swapped = {one: tensors[other], other: tensors[one]}
    return all(
        replace(e.value, {read: swapped[read.tensor][read.indices] for read in _of(e.value, swapped)}) == e.value
        for e in layer.equations
    )


def _of(value: Basic, names: Iterable[str]) -> list[Read]:
    return [read for read in reads(value) if read.tensor in names]
