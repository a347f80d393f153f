"""The calls with which a public function is tested: ranks and dimensions, spellings of arguments, defaults, flags.

The meaning of a call in the formula follows here from the definition alone: extents, parameters, and the shapes that
users see. This module does not use the code that prints functions.

Input: a ``Definition`` and one of its variants. Output: ``Call``s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, product
from typing import Any

import torch

from svertka.codegen.torch_api.binding import dimension_of, trailing_of
from svertka.codegen.verify.cases import Case, altered, cases
from svertka.codegen.verify.fitting import known_symbols
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Choice,
    Definition,
    Dimension,
    ElementType,
    Flag,
    Padding,
    PerAxis,
    Real,
    Seed,
    TensorArgument,
    TrailingShape,
    Variant,
    Whole,
)
from svertka.spec.evaluate import whole
from svertka.spec.notation import Index, Tensor

__all__ = ["CONVERTED", "Call", "calls", "names_of_scalars"]

RANKS = range(6)
BEFORE, BEHIND = (2, 3, 1, 2, 3), (3, 2, 2, 1, 2)
"""Extents of the dimensions that two axes stand for; one axis uses the first."""
CONVERTED = torch.float32
"""The wider type of a tensor that the call converts."""
DRAWN = 8  # cases among which one is searched that a spelling allows


@dataclass(frozen=True)
class Call:
    """One way to call the function of a variant.

    Attributes:
        name: for messages.
        definition, variant: what is called.
        case: the call in the formula: extents, parameters, tensors that are left out.
        many: extents of the dimensions that an axis stands for, by its name.
        scalars: arguments that are no tensors, by name; those that are left out have their defaults.
        omitted: whether absent tensors are left out of the call, instead of given as None.
        unbatched: whether the first dimension is left out.
        scalar: whether tensors around a dimension are given without any dimension.
        told: flags of optional results that are on.
        in_place: whether the first tensor is to be overwritten.
        converted: name of the tensor that is given in another type than the one an argument sets for the computation.
        respelled: whether another call means the same in the formula, so that only the arguments differ.
    """

    name: str
    definition: Definition
    variant: Variant
    case: Case
    many: Mapping[str, tuple[int, ...]]
    scalars: Mapping[str, Any]
    omitted: bool = False
    unbatched: bool = False
    scalar: bool = False
    told: frozenset[str] = field(default_factory=frozenset)
    in_place: bool = False
    converted: str = ""
    respelled: bool = False

    @cached_property
    def batch(self) -> tuple[Index, ...]:
        """The dimension that unbatched tensors do not have."""
        unbatched = {a.bound for a in self.definition.tensor_arguments if a.unbatched}
        return next((t.dims[0] for t in self.variant.layer.inputs if t.name in unbatched), ())

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The shape that users see."""
        if self.scalar:
            return ()
        dims = [dim for dim in tensor.dims if not (self.unbatched and dim == self.batch)]
        return tuple(extent for dim in dims for extent in self._extents(dim))

    def _extents(self, dim: tuple[Index, ...]) -> tuple[int, ...]:
        if dim[0].many:
            return self.many[dim[0].name]
        return (math.prod(whole(index.extent, self.case.sizes) for index in dim),)

    @property
    def results(self) -> tuple[str, ...]:
        """Outputs that the function returns."""
        layer, more = self.variant.layer, self.definition.optional_results
        return (*self.definition.result, *(o for flag, o in more.items() if flag in self.told and o in layer.outputs))


def calls(definition: Definition, variant: Variant, small: Sequence[Case]) -> list[Call]:
    """Every way to call that a definition allows, once each; ``small`` are the cases to start from."""
    maker = _Maker(definition, variant, small)
    alike = [*maker.given(), *maker.defaults(), *maker.spelled(), *maker.flagged(), *maker.converted()]
    return [*alike, *maker.ranks(), *maker.unbatched()]


def names_of_scalars(argument: Argument) -> tuple[str, ...]:
    """Symbols of the formula that an argument gives."""
    if isinstance(argument, Padding):
        return (*argument.low, *argument.high)
    return getattr(argument, "symbols", ()) or tuple(filter(None, [getattr(argument, "symbol", "")]))


class _Maker:
    def __init__(self, definition: Definition, variant: Variant, small: Sequence[Case]) -> None:
        self.definition, self.variant, self.layer = definition, variant, variant.layer
        self.dimension = dimension_of(definition)
        self.trailing = trailing_of(definition)
        every = [index for tensor in self.layer.inputs for index in tensor.axes if index.many]
        self.many = list(dict.fromkeys(every))
        self.base, *self.others = small
        self.known = known_symbols(definition, variant)

    def call(self, name: str, case: Case, ranks: Mapping[str, int] | None = None, **more: Any) -> Call | None:
        """A call with all arguments given; None if its extents break a rule."""
        known = {index.name: 1 for index in self.many} if ranks is None else ranks
        behind = {self.many[-1].name} if len(self.many) > 1 else set()
        many = {n: (BEHIND if n in behind else BEFORE)[:rank] for n, rank in known.items()}
        if ranks is None:
            many = {index.name: (int(case.sizes[index.extent.name]),) for index in self.many}
        sizes = {index.extent.name: math.prod(many[index.name]) for index in self.many}
        fitting = altered(self.definition, self.variant, case, sizes)
        if fitting is None:
            return None
        scalars = self._scalars(fitting.sizes)
        if self.dimension is not None:
            scalars[self.dimension.name] = len(many[self.many[0].name])
        if self.trailing is not None:
            scalars[self.trailing.name] = many[self.trailing.axis]
        told = frozenset(flag for flag, o in self.definition.optional_results.items() if o in self.layer.outputs)
        return replace(Call(name, self.definition, self.variant, fitting, many, scalars, told=told), **more)

    def _scalars(self, sizes: Mapping[str, Any]) -> dict[str, Any]:
        values = {a.name: self._value(a, sizes) for a in self.definition.arguments}
        return {name: value for name, value in values.items() if value is not REQUIRED}

    def _value(self, argument: Argument, sizes: Mapping[str, Any]) -> Any:
        """The value of an argument in a call, from the symbols that it binds."""
        if isinstance(argument, TensorArgument | Dimension | TrailingShape):
            return REQUIRED
        if argument.name in self.variant.when:
            return self.variant.when[argument.name]
        if isinstance(argument, Whole) and argument.symbol not in self.known:
            return argument.default  # the formula does not use it
        if isinstance(argument, Padding):
            return tuple((sizes[low], sizes[high]) for low, high in zip(argument.low, argument.high, strict=True))
        if isinstance(argument, PerAxis):
            values = (sizes[symbol] for symbol in argument.symbols)
            return tuple(None if value == argument.missing else value for value in values)
        if isinstance(argument, Whole):
            value = sizes[argument.symbol]
            return None if argument.optional and value == argument.missing else value
        if isinstance(argument, Real | Seed):
            return sizes[argument.symbol]
        return self._word(argument, sizes)

    def _word(self, argument: Argument, sizes: Mapping[str, Any]) -> Any:
        if isinstance(argument, Choice | ElementType):
            return argument.default
        assert isinstance(argument, Flag)
        if argument.symbol:
            return bool(sizes[argument.symbol])
        if argument.name in self.definition.identity_when:
            return not self.definition.identity_when[argument.name]
        return argument.name in self.definition.optional_results

    # The kinds of calls

    def given(self) -> Iterator[Call]:
        """All arguments given; once without optional tensors."""
        for name, case in zip(("given", "absent"), (self.base, *self.others), strict=False):
            found = self.call(name, case)
            if found is not None:
                yield found

    def defaults(self) -> Iterator[Call]:
        """All arguments left out whose defaults small extents allow."""
        optional = frozenset(t.name for t in self.layer.inputs if t.default is not None)
        case, left = replace(self.base, absent=optional), set[str]()
        for argument in (*self.definition.arguments, *self.definition.arguments):  # a later one may make it valid
            if argument.default is REQUIRED or argument.name in left or isinstance(argument, TensorArgument):
                continue
            if isinstance(argument, Real) and argument.epsilon:
                continue  # its default depends on the type
            if isinstance(argument, Dimension) and argument.default is None:
                continue  # which one is meant depends on the rank, by rules of torch's own
            if not names_of_scalars(argument):
                left |= {argument.name} if self._word_is_default(argument) else set()
                continue
            trial = altered(self.definition, self.variant, case, self._default(argument, case.sizes))
            if trial is not None and not isinstance(argument, Seed):
                case, left = trial, left | {argument.name}
        found = self.call("defaults", case, omitted=True, told=frozenset())
        if found is not None:
            yield replace(found, scalars={n: v for n, v in self._without_results(found).items() if n not in left})

    def _without_results(self, call: Call) -> dict[str, Any]:
        return {n: v for n, v in call.scalars.items() if n not in self.definition.optional_results}

    def _word_is_default(self, argument: Argument) -> bool:
        """Whether a word or flag that selects a variant, or has no effect, has its default in this variant."""
        if argument.name in self.definition.identity_when:
            return bool(argument.default != self.definition.identity_when[argument.name])
        return bool(self.variant.when.get(argument.name, argument.default) == argument.default)

    def _default(self, argument: Argument, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the formula's symbols if an argument is left out."""
        symbols, default = names_of_scalars(argument), argument.default
        if isinstance(default, str):  # the default is another argument's value
            other = next(a for a in self.definition.arguments if a.name == default[1:-1])
            return {s: sizes[o] for s, o in zip(symbols, names_of_scalars(other), strict=True)}
        if isinstance(argument, Whole) and default is None:
            return dict.fromkeys(symbols, argument.missing)
        if isinstance(argument, Flag):
            return dict.fromkeys(symbols, int(default))
        every = default if isinstance(default, tuple) else (default,) * len(symbols)
        return dict(zip(symbols, every, strict=True))

    def spelled(self) -> Iterator[Call]:
        """One integer for all axes; padding as integers and as words."""
        for argument in self.definition.arguments:
            if isinstance(argument, PerAxis):
                yield from self._one_for_all(argument)
            if isinstance(argument, Padding):
                yield from self._paddings(argument)

    def _one_for_all(self, argument: PerAxis) -> Iterator[Call]:
        value = self.base.sizes[argument.symbols[0]]
        yield from self._told(f"{argument.name}={value}", self.base, dict.fromkeys(argument.symbols, value), argument)
        if argument.missing is not None:
            missing = dict.fromkeys(argument.symbols, argument.missing)
            nothing = (None,) * len(argument.symbols)
            yield from self._told(f"{argument.name}=None", self.base, missing, argument, nothing, respelled=False)

    def _paddings(self, argument: Padding) -> Iterator[Call]:
        low, high, axes = argument.low, argument.high, len(argument.low)
        yield from self._told("padding=1", self.base, dict.fromkeys((*low, *high), 1), argument, 1)
        apart = {n: 1 + place for names in (low, high) for place, n in enumerate(names)}
        yield from self._told("padding an axis", self.base, apart, argument, tuple(range(1, axes + 1)))
        if argument.named:
            yield from self._told("padding='valid'", self.base, dict.fromkeys((*low, *high), 0), argument, "valid")
            extents, dilations, strides = argument.named
            totals = [self.base.sizes[d] * (self.base.sizes[e] - 1) for e, d in zip(extents, dilations, strict=True)]
            same = {n: total // 2 for n, total in zip(low, totals, strict=True)}
            same |= {n: total - total // 2 for n, total in zip(high, totals, strict=True)}
            yield from self._told("padding='same'", self.base, same | dict.fromkeys(strides, 1), argument, "same")

    def _told(
        self,
        name: str,
        case: Case,
        sizes: Mapping[str, Any],
        argument: Argument,
        spelling: Any = None,
        respelled: bool = True,
    ) -> Iterator[Call]:
        """A call with one argument spelled differently, in the first case whose rules allow it."""
        for other in chain((case,), self.others, self._drawn):
            fitting = altered(self.definition, self.variant, other, sizes)
            found = None if fitting is None else self.call(name, fitting)
            if found is not None:
                told = next(iter(sizes.values())) if spelling is None else spelling
                yield replace(found, scalars={**found.scalars, argument.name: told}, respelled=respelled)
                return

    @cached_property
    def _drawn(self) -> tuple[Case, ...]:
        return tuple(cases(self.definition, self.variant, DRAWN))

    def flagged(self) -> Iterator[Call]:
        """Every flag on and off."""
        for argument in self.definition.arguments:
            if not isinstance(argument, Flag):
                continue
            if argument.symbol:
                case = self._where_it_matters(argument.symbol)
                for on in (False, True):
                    sizes = {argument.symbol: int(on)}
                    yield from self._told(f"{argument.name}={on}", case, sizes, argument, on, respelled=False)
            elif argument.name in self.definition.optional_results:
                found = self.call(f"{argument.name}=False", self.base, told=frozenset())
                if found is not None:
                    yield replace(found, scalars={**found.scalars, argument.name: False})
            elif argument.in_place:
                found = self.call(f"{argument.name}=True", self.base, in_place=True)
                if found is not None:
                    yield replace(found, scalars={**found.scalars, argument.name: True})

    def _where_it_matters(self, flag: str) -> Case:
        """The first case in which a flag changes some extent, or else the base case: there a wrong flag is noticed."""
        for case in chain((self.base,), self.others, self._drawn):
            both = [altered(self.definition, self.variant, case, {flag: on}) for on in (0, 1)]
            extents = [None if found is None else {**found.sizes, flag: 0} for found in both]
            if None not in extents and extents[0] != extents[1]:
                return case
        return self.base

    def converted(self) -> Iterator[Call]:
        """A tensor of another type than the one in which the function computes."""
        for argument in self.definition.arguments:
            if isinstance(argument, ElementType):
                found = self.call(f"{argument.name}={CONVERTED}", self.base)
                if found is not None:
                    scalars = {**found.scalars, argument.name: CONVERTED}
                    yield replace(found, scalars=scalars, converted=argument.tensor)

    def ranks(self) -> Iterator[Call]:
        """Every rank up to 5, and for each rank every dimension."""
        names = [index.name for index in self.many]
        for counts in product(RANKS, repeat=len(names)):
            ranks = dict(zip(names, counts, strict=True))
            if not names or max(self._rank(tensor, ranks) for tensor in self.layer.inputs) not in RANKS:
                continue
            if self.trailing is not None and not ranks[self.trailing.axis]:
                continue
            found = self.call(f"rank {', '.join(f'{n}: {r}' for n, r in ranks.items())}", self.base, ranks)
            if found is None:
                continue
            yield found
            if self.dimension is not None:  # the same dimension, counted from the end
                dim = -1 - counts[-1]
                scalars = {**found.scalars, self.dimension.name: dim}
                yield replace(found, name=f"{found.name}, dim={dim}", scalars=scalars, respelled=True)

    def _rank(self, tensor: Tensor, ranks: Mapping[str, int]) -> int:
        return sum(ranks[dim[0].name] if dim[0].many else 1 for dim in tensor.dims)

    def unbatched(self) -> Iterator[Call]:
        """Without the first dimension, where that is allowed; around a dimension, without any dimension."""
        if any(argument.unbatched for argument in self.definition.tensor_arguments):
            found = self.call("batched", self.base)
            batch = () if found is None else found.batch
            ones = {index.extent.name: 1 for index in batch}
            ranks = {index.name: 0 for index in self.many}
            for name, more in (("unbatched", {}), ("unbatched, another extent of 1", self._one_more(batch))):
                fitting = self._fitting(ones | more)
                one = fitting and self.call(name, fitting, ranks, unbatched=True)
                if one:
                    yield one
        if self.dimension is not None and all(self._around(t) for t in self._seen()):
            axis = next(dim[0] for t in self._seen() for dim in t.dims if not dim[0].many)
            fitting = self._fitting({axis.extent.name: 1})
            ranks = {index.name: 0 for index in self.many}
            one = fitting and self.call("scalar", fitting, ranks, scalar=True)
            if one:
                yield one

    def _one_more(self, batch: tuple[Index, ...]) -> dict[str, int]:
        """The first extent of 1 that rules allow beside the batch: it must stay when the batch dimension is removed."""
        axes = [index for tensor in self._seen() for index in tensor.axes if index not in batch and not index.many]
        sizes = ({index.extent.name: 1} for index in axes if index.extent.is_Symbol)
        return next((one for one in sizes if self._fitting(one) is not None), {})

    def _fitting(self, sizes: Mapping[str, Any]) -> Case | None:
        return altered(self.definition, self.variant, self.base, sizes)

    def _seen(self) -> list[Tensor]:
        return [*self.layer.inputs, *(self.layer.tensors[name] for name in self.layer.outputs)]

    def _around(self, tensor: Tensor) -> bool:
        """Whether a tensor has no dimension except those before, at and behind the argument's."""
        assert self.dimension is not None
        plain = [dim[0].name for dim in tensor.dims if not dim[0].many]
        return plain in ([], [self.dimension.axis]) and (not plain or tensor.dims[0][0].many)
