"""Checks of the signatures in a package, and construction of its modules so that they compute what a call does.

Input: a ``Definition``, a ``Call`` and its tensors. Output: messages about faults; a module that is ready to be called.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from svertka.codegen.verify.levels.calls import Call
from svertka.spec.define import argument_name
from svertka.spec.definition import REQUIRED, Argument, Definition, Flag, ModuleFace, TensorArgument

__all__ = ["constructor_faults", "forward_faults", "forward_tensors", "module_of", "signature_faults"]


def signature_faults(definition: Definition, function: Callable[..., Any]) -> Iterator[str]:
    """Differences between a function's arguments and those of its definition: names, order, defaults."""
    have = inspect.signature(function).parameters
    want = {argument.name: _default(argument) for argument in definition.signature}
    if list(have) != list(want):
        yield f"{definition.function} takes {', '.join(have)}; its definition has {', '.join(want)}"
    yield from _other_defaults(definition.function, have, want)


def constructor_faults(definition: Definition, face: ModuleFace, kind: type[torch.nn.Module]) -> Iterator[str]:
    """Arguments that the constructor of svertka's own module lacks, or for which it has another default."""
    if not _own(face):
        return
    have = inspect.signature(kind.__init__).parameters
    given = {*forward_names(face, kind), *face.parameters}
    want = {a.name: _default(a) for a in definition.arguments if a.name not in given and not _in_place(a)}
    for name in want:
        if name not in have:
            yield f"{face.name} does not take {name}"
    yield from _other_defaults(face.name, have, want)


def forward_faults(face: ModuleFace, kind: type[torch.nn.Module]) -> Iterator[str]:
    """Another number of tensors in each call than torch's module takes."""
    if _own(face):
        return
    base = getattr(torch.nn, (face.like or face.base).rpartition(".")[2])
    have, want = len(forward_names(face, kind)), len(forward_names(face, base)) + len(face.takes)
    if have != want:
        yield f"{face.name} takes {have} tensors in each call; torch's takes {want}"


def _other_defaults(name: str, have: Mapping[str, inspect.Parameter], want: Mapping[str, object]) -> Iterator[str]:
    for argument, default in want.items():
        found = have[argument].default if argument in have else default
        if type(found) is not type(default) or found != default:
            yield f"{name} has {argument}={found!r} by default; its definition has {default!r}"


def _default(argument: Argument) -> object:
    """The default in the signature; None stands for the value of another argument."""
    if argument.default is REQUIRED:
        return inspect.Parameter.empty
    return None if isinstance(argument.default, str) and argument.default.startswith("<") else argument.default


def _in_place(argument: Argument) -> bool:
    return isinstance(argument, Flag) and argument.in_place


def _own(face: ModuleFace) -> bool:
    """Whether torch has no such module."""
    return face.base == "torch.nn.Module"


def forward_names(face: ModuleFace, kind: type[torch.nn.Module]) -> list[str]:
    """Tensors of each call."""
    return [name for name in inspect.signature(kind.forward).parameters if name not in ("self", *face.options)]


def forward_tensors(face: ModuleFace, kind: type[torch.nn.Module], definition: Definition) -> dict[str, str]:
    """The function's argument for each tensor of a call; torch's modules have names of their own for the first one."""
    known = [argument.name for argument in definition.tensor_arguments]
    return {name: name if name in known else known[0] for name in forward_names(face, kind)}


def module_of(
    face: ModuleFace, kind: type[torch.nn.Module], call: Call, tensors: Mapping[str, torch.Tensor | None]
) -> torch.nn.Module:
    """A module that computes what the call does, with the call's tensors as its parameters and buffers.

    Args:
        face: its description.
        kind: its class.
        call: the call whose arguments it gets.
        tensors: by argument; None where the call has none.
    """
    module = _constructed(face, kind, call, tensors) if _own(face) else _like_torchs(face, kind, call)
    passed = forward_tensors(face, kind, call.definition).values()
    for argument in call.definition.arguments:
        if isinstance(argument, TensorArgument) and argument.name not in passed:
            _hold(module, argument.name, tensors.get(argument.name), face)
    repr(module)
    return module


def _constructed(
    face: ModuleFace, kind: type[torch.nn.Module], call: Call, tensors: Mapping[str, torch.Tensor | None]
) -> torch.nn.Module:
    """Construct it with its own constructor: extents of its axes, settings, buffers, and which parameters it has."""
    layer = call.variant.layer
    held = {a.name: a.bound for a in call.definition.tensor_arguments}
    indices = [i for name in face.parameters for t in layer.inputs if t.name == held[name] for i in t.axes]
    counts = {argument_name(index): call.case.sizes[index.extent.name] for index in indices}
    present = {name: tensors.get(name) is not None for name in face.parameters}
    dtype = next(t.dtype for t in tensors.values() if t is not None and t.is_floating_point())
    buffers = {name: tensors.get(name) for name in face.buffers}
    known = {**counts, **call.scalars, **present, **buffers, "dtype": dtype}
    wanted = inspect.signature(kind.__init__).parameters
    return kind(**{name: value for name, value in known.items() if name in wanted})


def _like_torchs(face: ModuleFace, kind: type[torch.nn.Module], call: Call) -> torch.nn.Module:
    """Construct it with torch's constructor; then copy the call's settings.

    Arguments that are not in the call are numbers which those in the call divide, as groups divide channels.
    """
    needed = list(inspect.signature(kind.__init__).parameters.values())[1:]
    required = [p.name for p in needed if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    fitting = math.lcm(*(v for name in required if type(v := call.scalars.get(name)) is int))
    module = kind(**{name: call.scalars.get(name, fitting) for name in required})
    settings = (a for a in call.definition.arguments if not isinstance(a, TensorArgument))
    chosen = {a.name: a.default for a in settings if a.name in call.variant.when}
    told = chosen | {**call.scalars}
    for name, value in told.items():
        setattr(module, name, value)
    for name, value in face.attributes.items():
        setattr(module, name, eval(value, dict(told)))
    return module


def _hold(module: torch.nn.Module, name: str, value: torch.Tensor | None, face: ModuleFace) -> None:
    """Store a tensor as the module's parameter or buffer."""
    if name in face.buffers:
        return
    if value is None or name not in module._parameters:
        setattr(module, name, value)
        return
    own = module._parameters[name]  # None where torch's constructor leaves it out
    if own is not None and name in face.parameters and own.shape != value.shape:
        raise ValueError(f"{face.name}.{name} has shape {tuple(own.shape)}; the formula has {tuple(value.shape)}")
    setattr(module, name, torch.nn.Parameter(value.detach()))
