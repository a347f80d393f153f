"""Names and texts of a package's torch API, checked before a template prints them.

Templates print names without change. A name must therefore be an identifier, must not be a keyword or a name that
generated code uses for something else, and must be unique in its scope. Texts (titles, sources, what axes count, rules)
are printed as text, whatever they contain.

Input: ``Definition``s. Output: nothing, or a ``ValueError`` that says which name and why.
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sympy import Basic, Symbol

from svertka.codegen.frontend.names import check_names
from svertka.codegen.torch_api.lines import HELPERS
from svertka.codegen.torch_api.of_torch import attributes
from svertka.codegen.torch_api.operators import kinds_of, operator_of
from svertka.spec import normal_form
from svertka.spec.define import argument_name
from svertka.spec.definition import REQUIRED, Argument, Definition, ElementType, ModuleFace, with_facades
from svertka.spec.layer import Layer, walk
from svertka.spec.notation import Index, Read

__all__ = ["check_definitions", "check_package_name"]

FILES = frozenset({"__init__", "primitives", "evaluation"})
"""Modules in the same folders as the modules of layers."""
IMPORTED = frozenset().union(*HELPERS.values())
"""Functions that ``functional`` may import and call."""
BUILTIN = frozenset(dir(builtins))
FUNCTIONAL = IMPORTED | frozenset({"Operator", "Sequence", "Tensor", "annotations", "math", "torch"})
MODULES = frozenset({"Literal", "Sequence", "Tensor", "annotations", "functional", "modules", "torch"})
LOCAL = frozenset({"given", "leading", "overwritten", "self", "unbatched", "device", "dtype"})
"""Names that a function's body or a constructor uses in addition to its arguments."""


def check_definitions(definitions: Sequence[Definition]) -> None:
    """Check every name that definitions have in one package.

    Raises:
        ValueError: a name cannot be used; the message says which, of what, why, and what to do.
    """
    for definition in definitions:
        _check_names_of(definition)
    _distinct("layer", [d.name for d in definitions], "give one another name")
    faced = with_facades(definitions)
    _distinct("function", [one.function for one in faced], "name one with define(..., function=...)")
    modules = [module.name for one in faced for module in one.modules]
    _distinct("module", modules, "name one with define(..., module=...)")
    operators = [operator_of(d, variant) for d in definitions for variant in d.variants]
    _distinct("operator", [o.constant for o in operators], "functions must not differ in case alone; rename one")


def _distinct(what: str, names: Sequence[str], remedy: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r}: two in this package have this name; {remedy}")


def _check_names_of(definition: Definition) -> None:
    where = f"layer {definition.name!r}" if isinstance(definition.name, str) else "layer"
    _identifier(where, "the layer", definition.name, FILES)
    _identifier(where, "its function", definition.function, FUNCTIONAL | BUILTIN)
    for module in definition.modules:
        _identifier(where, "its module", module.name, MODULES | BUILTIN)
    for variant in definition.variants:
        _identifier(where, "its formula", variant.layer.name, FILES)
        _check_formula(where, variant.layer)
    for name in definition.extents:
        _identifier(where, "an extent", name)
    _check_arguments(where, definition)
    for module in definition.modules:
        if module.base == "torch.nn.Module":
            _check_attributes(where, definition, module)


def _check_formula(where: str, layer: Layer) -> None:
    """Names within a formula, and those that kernels make of them."""
    for equation in layer.equations:
        for node in walk(equation.value):
            if isinstance(node, Symbol):
                _identifier(where, "an index or parameter", node.name)
            if isinstance(node, Read):
                _identifier(where, "a tensor", node.tensor)
    for tensor in normal_form(layer).tensors.values():
        _identifier(where, "a tensor", tensor.name)
        for index in tensor.axes:
            _identifier(where, "an index", index.name)
            for symbol in index.extent.free_symbols:
                _identifier(where, "an extent", symbol.name)
    check_names(normal_form(layer))


def _check_arguments(where: str, definition: Definition) -> None:
    taken = FUNCTIONAL | LOCAL
    names = [argument.name for argument in definition.arguments]
    for argument in definition.arguments:
        free = {"dtype"} if isinstance(argument, ElementType) else set()  # no argument of a module's constructor
        _identifier(where, "an argument", argument.name, taken - free)
        for symbol in _symbols(argument):
            _identifier(where, "a symbol of an argument", symbol, taken)
        _check_default(where, argument)
    _distinct(f"{where}: argument", names, "give one another name")
    symbols = {symbol for argument in definition.arguments for symbol in _symbols(argument)}
    for name in sorted({*names, *symbols} & _made_of_shapes(definition)):
        raise ValueError(f"{where}: generated code names a shape or an extent {name!r}; give the argument another name")
    given = definition.tensor_arguments
    if given and all(kinds_of(definition, a) == {"integer"} for a in given):
        raise ValueError(
            f"{where}: all its tensors are integers, and kernels need a real one, whose type results take; make one of "
            f'{", ".join(a.name for a in given)} without kind="integer"'
        )
    if given and not any(a.differentiable for a in given):
        raise ValueError(f"{where}: all its tensors are constant; leave one of {', '.join(a.name for a in given)} out")
    tensors = {a.name for a in given}
    extents = {s for d in _indices(definition) for s in _free(d.extent)}
    for name in sorted(tensors & (extents | {*definition.extents})):
        raise ValueError(f"{where}: {name!r} names a tensor and an extent; rename one")
    for rule in (*definition.rules, *(r for v in definition.variants for r in v.rules)):
        for symbol in _free(rule.condition):
            _identifier(where, "a symbol of a rule", symbol)
    for value in definition.extents.values():
        for symbol in _free(value):
            _identifier(where, "a symbol of an extent", symbol)


def _made_of_shapes(definition: Definition) -> set[str]:
    """Names that a function gives to shapes and extents, in addition to those of the formula."""
    indices = list(_indices(definition))
    extents = {"".join(i.extent.name for i in d) for v in definition.variants for t in v.layer.inputs for d in t.dims}
    arguments = [a.name for a in definition.tensor_arguments]
    return {f"shape_{i.name}" for i in indices if i.many} | {f"{a}_{e}" for a in arguments for e in extents}


def _check_default(where: str, argument: Argument) -> None:
    """Defaults are printed by ``repr``: they are numbers, strings, None, or tuples of these."""
    default = argument.default
    if default is REQUIRED:
        return
    plain = default is None or isinstance(default, bool | int | float | str | tuple)
    finite = not isinstance(default, float) or math.isfinite(default)
    nested = isinstance(default, tuple) and not all(isinstance(part, int | float | str) for part in default)
    if not plain or not finite or nested:
        raise ValueError(
            f"{where}: default {default!r} of {argument.name!r} is no finite number, word or None; leave it out"
        )


def _check_attributes(where: str, definition: Definition, module: ModuleFace) -> None:
    """Arguments become attributes of the module: they must differ from torch's attributes and from each other."""
    own = attributes() | {"reset_parameters"}
    tensors = {a.name: a for a in definition.tensor_arguments}
    held = [name for name in tensors if name in {*module.parameters, *module.buffers}]
    forward = {name for name in tensors if name not in held}
    settings = [a.name for a in definition.arguments if a.name not in forward and a.name not in held]
    counts = {argument_name(i) for i in _held_axes(definition, module)}
    for name in (*held, *settings, *counts):
        if name in own:
            raise ValueError(f"{where}: {name!r} would hide an attribute of torch.nn.Module; rename it")
    both = counts & {*held, *settings}
    if both:
        raise ValueError(f"{where}: {sorted(both)[0]!r} is an argument and what an axis counts; rename one")


def _held_axes(definition: Definition, module: ModuleFace) -> Iterator[Index]:
    tensors = {t.name: t for v in definition.variants for t in v.layer.inputs}
    for name in module.parameters:
        yield from tensors[name].axes


def _indices(definition: Definition) -> Iterator[Index]:
    for variant in definition.variants:
        for tensor in variant.layer.tensors.values():
            yield from tensor.axes


def _symbols(argument: Argument) -> Iterator[str]:
    yield from getattr(argument, "symbols", ())
    yield from getattr(argument, "low", None) or () if isinstance(getattr(argument, "low", None), tuple) else ()
    yield from getattr(argument, "high", None) or () if isinstance(getattr(argument, "high", None), tuple) else ()
    symbol = getattr(argument, "symbol", "")
    if symbol:
        yield symbol


def _free(node: Any) -> list[str]:
    return sorted(symbol.name for symbol in node.free_symbols) if isinstance(node, Basic) else []


def _identifier(where: str, what: str, name: object, taken: Iterable[str] = ()) -> None:
    """Refuse a name that cannot be used as an identifier.

    Raises:
        ValueError: it is no plain identifier, or generated code uses it for something else.
    """
    if not isinstance(name, str) or not name.isidentifier() or not unicodedata.is_normalized("NFKC", name):
        raise ValueError(f"{where}: {what} is named {name!r}; a name must be a Python identifier, rename it")
    if keyword.iskeyword(name) or (keyword.issoftkeyword(name) and name != "type"):
        raise ValueError(f"{where}: {what} is named {name!r}, a keyword of Python; rename it")
    if name.startswith("_"):
        raise ValueError(f"{where}: {what} is named {name!r}; generated code keeps the leading underscore, rename it")
    if name in taken:
        raise ValueError(f"{where}: {what} is named {name!r}, which generated code uses for something else; rename it")


def check_package_name(name: str) -> None:
    """Refuse the name of a folder that cannot be imported as a package.

    Raises:
        ValueError: it is no identifier, or the package would hide a module that is needed.
    """
    if keyword.iskeyword(name):
        raise ValueError(
            f"--into {name}: {name} is a keyword of Python, a package of this name cannot be imported; "
            f"name it {name}_layers"
        )
    if not name.isidentifier():
        remedy = re.sub(r"\W+", "_", name).strip("_").lower() or "my_package"
        raise ValueError(f"--into {name}: a package's folder must be a Python identifier; name it {remedy}")
    if name in sys.stdlib_module_names or name in ("aten", "numpy", "prim", "prims", "svertka", "torch", "triton"):
        raise ValueError(f"--into {name}: a module of this name exists; choose another name for the folder")
