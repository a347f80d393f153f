"""A public interface for a formula: a function and a module whose names and arguments follow from the formula.

The function has the layer's name, the module the same name in capitals. Tensors are arguments in the formula's order;
those with a default may be None. Parameters are arguments under their own names: an integer, a number, or True and
False. An extent that no tensor's shape gives is an argument if the axis is only summed over; if it is the extent of an
output's axis, ``extents`` must say how it follows.

Input: a ``Layer``. Output: a ``Definition``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from sympy import Basic, Expr, Gt, Symbol, sympify

from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Definition,
    Dimension,
    Flag,
    ModuleFace,
    Real,
    Rule,
    TensorArgument,
    Variant,
    Whole,
)
from svertka.spec.layer import Layer, walk
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import Index, Read, Reduction, Tensor

__all__ = ["argument_name", "define", "module_name"]


def define(
    layer: Layer,
    *,
    defaults: Mapping[str, Any] | None = None,
    parameters: Sequence[str] | Mapping[str, float | None] = (),
    extents: Mapping[str, Any] | None = None,
    rules: Iterable[Rule] = (),
    arguments: Mapping[str, str] | None = None,
    constant: Sequence[str] = (),
    function: str = "",
    module: str = "",
    title: str = "",
    source: str = "",
    orders: int = 1,
) -> Definition:
    """Give a formula a public interface.

    Args:
        layer: the formula.
        defaults: default of a parameter, by its name.
        parameters: tensors that the module holds as ``torch.nn.Parameter``; its constructor takes their extents. A
            mapping from name to number gives the initial value. Otherwise the initial value is the tensor's default, or
            uniform within 1 / sqrt(fan in).
        extents: an output's extents that no input's shape gives, by name, as expressions in the formula's extents and
            parameters.
        rules: conditions that arguments must satisfy, beyond those that follow from the axes.
        arguments: name of the argument for a parameter or extent, if it differs.
        constant: real tensors for which no gradient is offered.
        function: name of the function; the layer's by default.
        module: name of the class; by default from the function's name: ``layer_norm`` becomes ``LayerNorm``.
        title: one line of documentation.
        source: paper, page or torch function.
        orders: how often it can be differentiated, 1 or 2; with 2 kernels for the gradient of its gradient are
            generated too.

    Raises:
        ValueError: a name is not in the formula, an extent cannot be computed, orders is neither 1 nor 2, or is 2
            although no result is real.
    """
    if not isinstance(layer, Layer):
        raise TypeError(
            f"define: {getattr(layer, 'name', layer)!r} is a {type(layer).__name__}, no Layer; give it the formula, or "
            "use a Definition as it is"
        )
    if orders not in (1, 2):
        raise ValueError(f"define({layer.name}): orders={orders} must be 1 or 2; for more, define adjoint(layer)")
    if orders > 1 and all(layer.tensors[name].kind == "integer" for name in layer.outputs):
        raise ValueError(
            f"define({layer.name}): orders={orders}, but its results are integers and have no gradient; drop it"
        )
    held = dict(parameters) if isinstance(parameters, Mapping) else dict.fromkeys(parameters)
    known = {name: sympify(value) for name, value in (extents or {}).items()}
    face = _Face(layer, dict(defaults or {}), known, dict(arguments or {}), tuple(constant))
    face.check(held)
    given = tuple(rules)
    face.check_rules(given)
    name = function or layer.name
    more = (_positive(layer, symbol, face.name(symbol.name)) for symbol in face.symbols if symbol.is_positive)
    return Definition(
        name=layer.name,
        title=title or f"{layer.name.replace('_', ' ').capitalize()}.",
        source=source,
        variants=(Variant(layer),),
        function=name,
        arguments=face.ordered(),
        result=layer.outputs,
        extents=known,
        rules=(*(rule for rule in more if rule is not None), *given),
        modules=(ModuleFace(module or module_name(name), parameters=held),),
        orders=orders,
    )


def module_name(name: str) -> str:
    """The name of a module, from that of its function: ``layer_norm`` becomes ``LayerNorm``."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _positive(layer: Layer, symbol: Symbol, argument: str) -> Rule | None:
    """The rule that a positive number is not 0; for integers the argument's own minimum checks it."""
    if symbol.is_integer:
        return None
    plain = Symbol(symbol.name, real=True)  # for a positive symbol SymPy would simplify the condition to true
    return Rule(Gt(plain, 0), argument, "positive", f"give {layer.name} a larger {argument}")


@dataclass(frozen=True)
class _Face:
    """Collects the arguments of a formula's interface."""

    layer: Layer
    defaults: dict[str, Any]
    extents: dict[str, Expr]
    names: dict[str, str]
    constant: tuple[str, ...]

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Parameters of the formula and of the expressions for its extents, by name."""
        shown = {symbol.name for index in _indices(self.layer) for symbol in index.extent.free_symbols}
        found = {symbol.name: symbol for symbol in self.layer.parameters}
        for value in self.extents.values():
            for symbol in sorted(value.free_symbols, key=str):
                if symbol.name not in shown and symbol.name not in self.extents:
                    found.setdefault(symbol.name, symbol)
        return tuple(found[name] for name in sorted(found) if name not in self.extents)

    def name(self, symbol: str) -> str:
        """Name of the argument for a symbol."""
        return self.names.get(symbol, symbol)

    def ordered(self) -> tuple[Argument, ...]:
        """All arguments: required tensors and values first, then those with a default."""
        tensors = [self._tensor(tensor) for tensor in self.layer.inputs]
        values = [*self._dimensions(), *self._summed(), *map(self._value, self.symbols)]
        place = {name: number for number, name in enumerate(self.defaults)}
        values.sort(key=lambda argument: place.get(getattr(argument, "symbol", ""), -1))
        groups = [(a, a.default is REQUIRED) for a in (*tensors, *values)]
        return (*(a for a, required in groups if required), *(a for a, required in groups if not required))

    def _tensor(self, tensor: Tensor) -> TensorArgument:
        return TensorArgument(
            name=tensor.name,
            default=REQUIRED if tensor.default is None else None,
            differentiable=tensor.kind == "real" and tensor.name not in self.constant,
            labels_below=_addressed(self.layer, tensor.name),
        )

    def _dimensions(self) -> Iterator[Argument]:
        """The dimension between two axes with ``many``."""
        around = [t for t in self.layer.tensors.values() if _is_around(t)]
        if around:
            axis = around[0].dims[1][0].name
            yield Dimension(name=self.name("dim"), axis=axis, tensors=tuple(t.name for t in around))

    def _value(self, symbol: Symbol) -> Argument:
        argument, default = self.name(symbol.name), self.defaults.get(symbol.name, REQUIRED)
        if not symbol.is_integer:
            low = 0.0 if symbol.is_nonnegative else None
            if default is not REQUIRED:
                default = self._number(symbol, default)
            return Real(name=argument, default=default, symbol=symbol.name, low=low)
        if symbol.is_nonnegative and not symbol.is_positive:
            return Flag(name=argument, default=False if default is REQUIRED else bool(default), symbol=symbol.name)
        minimum = 1 if symbol.is_positive else None
        if default is not REQUIRED and not (default is None or isinstance(default, Integral)):
            raise self._no_default(symbol, default, "no integer")
        if minimum is not None and isinstance(default, Integral) and int(default) < minimum:
            raise self._no_default(symbol, default, "not positive")
        return Whole(name=argument, default=default, symbol=symbol.name, minimum=minimum)

    def _number(self, symbol: Symbol, default: Any) -> float:
        """A default of a parameter that is a real number.

        Raises:
            ValueError: it is no number, or breaks the parameter's own rule.
        """
        if isinstance(default, bool | str) or not hasattr(default, "__float__"):
            raise self._no_default(symbol, default, "no real number")
        value = float(default)
        if (symbol.is_positive and not value > 0) or (symbol.is_nonnegative and not value >= 0):
            raise self._no_default(symbol, default, "not positive" if symbol.is_positive else "negative")
        return value

    def _no_default(self, symbol: Symbol, default: Any, why: str) -> ValueError:
        return ValueError(
            f"define({self.layer.name}): the default {default!r} of {symbol.name} is {why}; give another, or make "
            f"{symbol.name} with other assumptions"
        )

    def _summed(self) -> Iterator[Argument]:
        """Extents that calls must pass: of axes that are only summed over, and of factors of products."""
        for extent in self._unknown():
            default = self.defaults.get(extent, REQUIRED)
            yield Whole(name=self.name(extent), default=default, symbol=extent, minimum=1)

    def _unknown(self) -> list[str]:
        """Extents that neither shapes nor ``extents`` give.

        Raises:
            ValueError: one of them belongs to an output.
        """
        asked = list(_factors(self.layer))
        shown = {i.extent.name for t in self.layer.inputs for i in t.axes if t.default is None} | {*self.extents}
        for index in _indices(self.layer):
            extent = str(index.extent)
            if extent in shown or extent in asked:
                continue
            if any(index in self.layer.tensors[name].axes for name in self.layer.outputs):
                raise ValueError(
                    f"layer {self.layer.name}: no input shows extent {extent} of its output's axis {index.name}; say "
                    f'how it follows: define({self.layer.name}, extents={{"{extent}": ...}})'
                )
            asked.append(extent)
        return asked

    def check(self, held: Mapping[str, Any]) -> None:
        """Refuse names that the formula does not have, and shapes that are ambiguous.

        Raises:
            ValueError: a name or a shape is refused.
        """
        for tensor in self.layer.inputs:
            several = [index.name for index in tensor.axes if index.many]
            if len(several) > 1 and not _is_around(tensor) and not self._shown_around(tensor):
                raise ValueError(
                    f"layer {self.layer.name}: axes {', '.join(several)} of {tensor.name} each stand for any number of "
                    "dimensions, and no shape tells them apart; make all but one of them without many=True"
                )
        values = {symbol.name for symbol in self.symbols} | {*self._unknown()}
        dims = {"dim"} if any(map(_is_around, self.layer.tensors.values())) else set()
        tensors = {tensor.name for tensor in self.layer.inputs if tensor.kind == "real"}
        indices = {str(index.extent) for index in _indices(self.layer)}
        derived = indices | {symbol.name for symbol in self.layer.parameters}
        number = "parameter, and no extent that calls pass"
        for what, given, allowed, kind in (
            ("defaults", self.defaults, values, number),
            ("arguments", self.names, values | dims, number),
            ("parameters", held, tensors, "real input"),
            ("constant", self.constant, tensors, "real input"),
            ("extents", self.extents, derived, "extent or parameter of the formula"),
        ):
            for name in given:
                if name not in allowed:
                    named = f"name {' or '.join(sorted(allowed))}" if allowed else f"leave {what} out"
                    raise ValueError(f"define({self.layer.name}): {what} names {name!r}, which is no {kind}; {named}")

    def check_rules(self, rules: Iterable[Rule]) -> None:
        """Refuse rules on symbols that the formula does not have.

        Raises:
            ValueError: a rule is refused.
        """
        has = {symbol.name for symbol in self.symbols} | {*self.extents}
        has |= {symbol.name for index in _indices(self.layer) for symbol in index.extent.free_symbols}
        for rule in rules:
            for name in sorted({symbol.name for symbol in rule.condition.free_symbols} - has):
                raise ValueError(
                    f"define({self.layer.name}): the rule {rule.condition} names {name!r}, which is no extent or "
                    f"parameter of the formula; name {' or '.join(sorted(has))}"
                )

    def _shown_around(self, tensor: Tensor) -> bool:
        """Whether a tensor has the same axes with ``many`` around its dimension as this one."""
        shown = {i for t in self.layer.inputs if _is_around(t) and t.default is None for i in t.axes}
        return all(index in shown for index in tensor.axes if index.many)


def _is_around(tensor: Tensor) -> bool:
    """Whether a tensor's axes are one axis between two axes with ``many``."""
    return [dim[0].many for dim in tensor.dims] == [True, False, True]


def _indices(layer: Layer) -> list[Index]:
    """All axes, in the order of the tensors; axes that only reductions use come last."""
    normal = normal_form(layer)
    indices = [index for tensor in normal.tensors.values() for index in tensor.axes]
    for equation in normal.equations:
        indices += [i for node in walk(equation.value) if isinstance(node, Reduction) for i in node.indices]
    return list({str(index.extent): index for index in reversed(indices)}.values())[::-1]


def _factors(layer: Layer) -> Iterator[str]:
    """Factors whose extents must be passed so that every product of axes in a shape can be factored."""
    required = [t for t in layer.inputs if t.default is None]
    known = {i.extent.name for t in required for dim in t.dims if len(dim) == 1 for i in dim}
    for dim in (dim for tensor in required for dim in tensor.dims if len(dim) > 1):
        unknown = [index.extent.name for index in dim if index.extent.name not in known]
        yield from unknown[:-1]
        known |= {*unknown}


def _addressed(layer: Layer, name: str) -> str:
    """Extent of the axis that an integer tensor's elements index; empty if they are no positions."""
    for equation in layer.equations:
        for node in walk(equation.value):
            if isinstance(node, Read):
                for place, extent in zip(node.indices, node.extents, strict=True):
                    if _reads_of(place, name):
                        return str(extent)
    return ""


def _reads_of(node: Basic, name: str) -> bool:
    return isinstance(node, Read) and node.tensor == name


def argument_name(index: Index) -> str:
    """Name of a constructor's argument for an axis: what it counts, or its extent."""
    slug = re.sub(r"\W+", "_", index.meaning).strip("_")
    return slug if slug.isidentifier() and index.meaning != index.name else index.extent.name.lower()
