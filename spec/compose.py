"""Composition of layers: the result of one is an input of the next, and both become one formula.

A composed layer is differentiated, lowered and proven as a whole. What separate kernels would write to memory and read
again becomes an expression. This is how svertka fuses layers; there is no other mechanism.

Input: ``Layer``s or ``Definition``s. Output: one of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count, product

from sympy import Basic, Mul, Symbol, Tuple

from svertka.spec.apart import fresh, inner_apart, parameters_apart, with_symbols
from svertka.spec.define import module_name
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Definition,
    Flag,
    ModuleFace,
    Part,
    TensorArgument,
    Variant,
)
from svertka.spec.layer import Equation, Layer, walk
from svertka.spec.notation import Index, Read, Reduction, Tensor, axis
from svertka.spec.renamed import indices_of, parameters_of, renamed_arguments, renamed_tensor

__all__ = ["compose", "fuse"]

Axes = tuple[Index, ...]
Respelling = dict[Index, tuple[Axes, ...]]
"""Dimensions that an axis becomes, each a product of axes."""


def compose(name: str, first: Layer, second: Layer, into: str = "input", result: str = "output") -> Layer:
    """One layer of two: ``first``'s result is ``second``'s input.

    Axes of the two are matched by position. An axis with ``many`` stands for all dimensions that the other tensor has
    there. An axis stands for the product of several if it never occurs in a product itself. Other axes and symbols keep
    their names.

    Args:
        name: name of the composed layer.
        first: computed first; its other outputs stay outputs.
        second: computed from it.
        into: the input of ``second`` that is replaced.
        result: the output of ``first`` that replaces it.

    Raises:
        ValueError: there is no such tensor, the axes cannot be matched, or both layers use one name for different
            things.
    """
    source, target = _tensor(first, result, "output"), _tensor(second, into, "input")
    ours, theirs = _meeting(first, source, second, target)
    _check_axes(first, second, theirs)
    first, second = _respelled(first, ours), _respelled(second, theirs)
    _check_apart(name, first, second, result, into)
    between = _between(first, second, result)
    first, second = renamed_tensor(first, result, between), renamed_tensor(second, into, between)
    known = {tensor.name for tensor in first.inputs}
    inputs = (*first.inputs, *(t for t in second.inputs if t.name not in known and t.name != between))
    outputs = (*second.outputs, *(output for output in first.outputs if output != between))
    return Layer(name, inputs, (*first.equations, *second.equations), outputs)


def _tensor(layer: Layer, name: str, kind: str) -> Tensor:
    names = layer.outputs if kind == "output" else [t.name for t in layer.inputs]
    if name not in names:
        raise ValueError(f"layer {layer.name}: it has no {kind} {name!r}; it has {', '.join(names)}")
    return layer.tensors[name]


# Matching of axes


def _meeting(first: Layer, source: Tensor, second: Layer, target: Tensor) -> tuple[Respelling, Respelling]:
    """The axes that replace each layer's axes, so that source and target have the same axes."""
    found: tuple[Respelling, Respelling] = ({}, {})
    ours, theirs = list(source.dims), list(target.dims)
    where = f"{first.name}.{source.name} {_shown(ours)} and {second.name}.{target.name} {_shown(theirs)}"
    for side, dims, others in ((0, ours, theirs), (1, theirs, ours)):
        many = next((place for place, dim in enumerate(dims) if dim[0].many), None)
        if many is not None and (len(others) > len(dims) or not any(dim[0].many for dim in others)):
            behind = len(dims) - many - 1
            covered = tuple(others[many : len(others) - behind])
            found[side][dims[many][0]] = covered
            dims[many : many + 1] = covered
    if [dim[0].many for dim in ours] != [dim[0].many for dim in theirs]:
        raise ValueError(f"{where}: their dimensions do not match; compose layers that agree")
    for our, their in zip(ours, theirs, strict=True):
        if len(their) == 1:
            found[1].setdefault(their[0], (our,))
        elif len(our) == 1:
            found[0].setdefault(our[0], (their,))
        elif our != their:
            raise ValueError(f"{where}: {_shown([our])} and {_shown([their])} are different products; compose others")
    return found


def _check_axes(first: Layer, second: Layer, theirs: Respelling) -> None:
    """Refuse an axis of the second layer's own that is also one that another of its axes becomes.

    Raises:
        ValueError: there is one.
    """
    met = {index for dims in theirs.values() for dim in dims for index in dim}
    for index in (index for tensor in second.tensors.values() for index in tensor.axes):
        if index in met and index not in theirs:
            raise ValueError(
                f"layers {first.name} and {second.name}: both have an axis {index.name!r}, and these differ; "
                "give it another name in one of them"
            )


def _shown(dims: Iterable[Axes]) -> str:
    return "(" + ", ".join(" x ".join(index.name for index in dim) for dim in dims) + ")"


def _respelled(layer: Layer, axes: Respelling) -> Layer:
    """The layer with some axes replaced, each by one or by several."""
    axes = {old: new for old, new in axes.items() if new != ((old,),)}
    return _Speller(layer.name, axes).layer(layer) if axes else layer


class _Speller:
    """Writes expressions with other axes."""

    def __init__(self, name: str, axes: Respelling) -> None:
        self.name, self.axes = name, axes
        self.known = {old: tuple(index for dim in new for index in dim) for old, new in axes.items()}
        self.extents = {old.extent: Mul(*(index.extent for index in new)) for old, new in self.known.items()}

    def layer(self, layer: Layer) -> Layer:
        equations = tuple(Equation(self.tensor(e.target), self.spelled(e.value)) for e in layer.equations)
        return Layer(layer.name, tuple(map(self.tensor, layer.inputs)), equations, layer.outputs)

    def tensor(self, tensor: Tensor) -> Tensor:
        dims: list[Axes] = []
        for dim in tensor.dims:
            dims += (
                self.axes[dim[0]]
                if len(dim) == 1 and dim[0] in self.axes
                else [tuple(new for index in dim for new in self.several(index))]
            )
        return tensor.like(dims=dims)

    def several(self, index: Index) -> Axes:
        """The indices that replace an index; a twin of a replaced axis is replaced by twins."""
        if index not in self.known and index.extent in self.extents:
            new = next(new for old, new in self.known.items() if old.extent == index.extent)
            names = [index.name] if len(new) == 1 else [f"{index.name}_{one.name}" for one in new]
            self.known[index] = tuple(one.twin(name) for one, name in zip(new, names, strict=True))
        return self.known.get(index, (index,))

    def spelled(self, node: Basic) -> Basic:
        if isinstance(node, Index):
            several = self.several(node)
            if len(several) != 1:
                names = ", ".join(index.name for index in several)
                raise ValueError(
                    f"layer {self.name}: index {node.name} occurs in arithmetic and would stand for {names}; "
                    "compose it with a layer whose tensor has one axis there"
                )
            return several[0]
        if isinstance(node, Read):
            return self.read(node)
        if isinstance(node, Reduction):
            bound = Tuple(*(one for index in node.indices for one in self.several(index)))
            return Reduction(node.args[0], self.spelled(node.body), self.spelled(node.guard), bound)
        if node in self.extents:
            return self.extents[node]
        return node.func(*map(self.spelled, node.args)) if node.args else node

    def read(self, read: Read) -> Read:
        indices: list[Basic] = []
        extents: list[Basic] = []
        for place, extent in zip(read.indices, read.extents, strict=True):
            if isinstance(place, Index):
                several = self.several(place)
                indices += several
                extents += [one.extent for one in several]
            else:
                indices.append(self.spelled(place))
                extents.append(self.spelled(extent))
        return Read(read.args[0], read.args[1], Tuple(*indices), Tuple(*extents))


# Names


def _check_apart(name: str, first: Layer, second: Layer, result: str, into: str) -> None:
    """Refuse layers that use one name for different things; they may share only axes of the tensor between them."""
    shared = {index.extent for index in first.tensors[result].axes}
    ours, theirs = _extents(first), _extents(second)
    kinds = {
        "extent": {symbol.name for symbol in (ours & theirs) - {s for e in shared for s in e.free_symbols}},
        "parameter": {s.name for s in first.parameters} & {s.name for s in second.parameters},
        "tensor": set(first.tensors) & (set(second.tensors) - {into, *second.outputs} | set(second.outputs) - {result}),
    }
    for kind, names in kinds.items():
        if names:
            raise ValueError(
                f"layer {name}: {first.name} and {second.name} both have a {kind} {min(names)!r}; rename one"
            )


def _extents(layer: Layer) -> set[Symbol]:
    indices = {index for tensor in layer.tensors.values() for index in tensor.axes}
    for equation in layer.equations:
        indices |= {i for node in walk(equation.value) if isinstance(node, Reduction) for i in node.indices}
    return {symbol for index in indices for symbol in index.extent.free_symbols}


def _between(first: Layer, second: Layer, result: str) -> str:
    """An unused name for the tensor between the two layers."""
    taken = {*first.tensors, *second.tensors}
    names = (f"{first.name}_{result}{number or ''}" for number in count())
    return next(name for name in names if name not in taken)


# Definitions


def fuse(
    name: str,
    first: Definition,
    second: Definition,
    *,
    title: str = "",
    source: str = "",
    into: str = "input",
    function: str = "",
    modules: tuple[ModuleFace, ...] | None = None,
    names: Mapping[str, str] | None = None,
) -> Definition:
    """A definition whose formulas compute those of ``second`` from those of ``first``.

    It takes the arguments of both, required ones first. Flags for in-place computation are left out, because they have
    no meaning here, and flags that add a result, because a composed layer has one. Axes, parameters and inner tensors
    that the two name alike get other names in ``second``.

    Args:
        name: of the definition.
        first: computed first; it must have one result.
        second: computed from it.
        title: one line of documentation; by default those of the parts.
        source: the source of the layer, for example a paper; by default those of the parts.
        into: the tensor argument of ``second`` that is replaced.
        function: name of the public function; that of the definition by default.
        modules: the layer as modules; by default one, if the modules of both parts are derived from their functions.
        names: new names of arguments of ``second``, by their names, where ``first`` has the same.

    Raises:
        ValueError: the formulas cannot be composed, arguments share a name, or a part returns its input unchanged for
            some arguments.
    """
    for part in (first, second):
        _check_results(name, part)
    first, second = _with_one_result(first), renamed_arguments(name, _with_one_result(second), names or {})
    if len(first.result) != 1 or into not in {argument.bound for argument in second.tensor_arguments}:
        raise ValueError(f"definition {name}: {first.name} must have one result and {second.name} a tensor {into!r}")
    first, second = _with_or_without_batch(first, second, into)
    older = tuple(one for part in (first, second) if part.translated for one in part.older)
    _check_arguments(name, [*_arguments(first, second, into), *older])
    _check_symbols(name, first, second)
    parts = (*(first.parts or (Part(first),)), *_later_parts(second, into))
    second = _apart(first, second, into)
    ours, theirs = _met(first, second, into)
    first, second = _followed(first, ours), _followed(second, theirs)
    variants = tuple(
        _variant(name, (first, one), (second, other), into) for one, other in product(first.variants, second.variants)
    )
    return Definition(
        name=name,
        title=title or f"{first.title.removesuffix('.')}. Then: {second.title}",
        source=source or "; ".join(dict.fromkeys(filter(None, (first.source, second.source)))),
        variants=variants,
        function=function or name,
        arguments=tuple(sorted(_arguments(first, second, into), key=lambda one: one.default is not REQUIRED)),
        result=second.result,
        extents={**first.extents, **second.extents},
        rules=(*first.rules, *second.rules),
        modules=_modules(function or name, first, second) if modules is None else modules,
        parts=parts,
        older=older,
        translated=(*first.translated, *second.translated),
    )


def _with_or_without_batch(first: Definition, second: Definition, into: str) -> tuple[Definition, Definition]:
    """Both parts, where arguments of the second may lack their first dimension if the replaced one lacks it.

    The first tensor of the first part may then lack it too, if the result has its dimensions; else none may.
    """
    if not next(one.unbatched for one in second.tensor_arguments if one.bound == into):
        return first, second
    head = first.tensor_arguments[0]
    layers = [variant.layer for variant in first.variants]
    if all(layer.tensors[head.bound].dims == layer.tensors[first.result[0]].dims for layer in layers):
        return _telling_batch(first, {head.name: True}), second
    return first, _telling_batch(second, {one.name: False for one in second.tensor_arguments})


def _telling_batch(part: Definition, unbatched: Mapping[str, bool]) -> Definition:
    """The definition with other arguments that may lack their first dimension."""
    told = (
        replace(one, unbatched=unbatched[one.name])
        if isinstance(one, TensorArgument) and one.name in unbatched
        else one
        for one in part.arguments
    )
    return replace(part, arguments=tuple(told))


def _arguments(first: Definition, second: Definition, into: str) -> list[Argument]:
    """The arguments of both, without the tensor that is replaced and flags for in-place computation."""
    others = (one for one in second.arguments if not isinstance(one, TensorArgument) or one.bound != into)
    return [one for one in (*first.arguments, *others) if not (isinstance(one, Flag) and one.in_place)]


def _met(first: Definition, second: Definition, into: str) -> tuple[Respelling, Respelling]:
    """How the axes of the two meet; all formulas of a definition have the same axes there."""
    before, behind = first.variants[0].layer, second.variants[0].layer
    return _meeting(before, before.tensors[first.result[0]], behind, behind.tensors[into])


def _apart(first: Definition, second: Definition, into: str) -> Definition:
    """The second definition without the names of axes, parameters and inner tensors that the first has too."""
    before, behind = ([variant.layer for variant in part.variants] for part in (first, second))
    _, theirs = _met(first, second, into)
    indices, own = ({index for layer in layers for index in indices_of(layer)} for layers in (before, behind))
    taken = {symbol.name for index in indices for symbol in index.extent.free_symbols}
    taken |= {symbol.name for symbol in parameters_of(first)}
    kept = {index.extent for index in theirs}
    clashing = {index for index in own if index.extent.name in taken and index.extent not in kept}
    names = {index.name for index in indices | own}
    axes = {index: _renamed_axis(index, names) for index in clashing if index.name.upper() == index.extent.name}
    spelling: Respelling = {index: ((new,),) for index, new in axes.items()}
    extents = {index.extent.name: new.extent for index, new in axes.items()}
    second = with_symbols(second, extents, lambda layer: _respelled(layer, spelling))
    second = parameters_apart(second, taken)
    return inner_apart(second, {name for layer in before for name in layer.tensors}, {into, *second.result})


def _renamed_axis(index: Index, names: set[str]) -> Index:
    return axis(fresh(index.name, names), index.meaning, many=index.many, batch=index.batch)


def _followed(definition: Definition, axes: Respelling) -> Definition:
    """The definition with the extents that its formulas have when they are composed."""
    extents = {old.extent: Mul(*(index.extent for dim in dims for index in dim)) for old, dims in axes.items()}
    return with_symbols(definition, {old.name: new for old, new in extents.items() if isinstance(old, Symbol)})


def _later_parts(second: Definition, into: str) -> tuple[Part, ...]:
    """The parts of the second definition; its own first part takes the result of the first definition."""
    head, *rest = second.parts or (Part(second),)
    return (Part(head.definition, into), *rest)


def _check_arguments(name: str, arguments: Sequence[Argument]) -> None:
    names = [argument.name for argument in arguments]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice:
        raise ValueError(
            f"definition {name}: two parts have an argument {twice!r}; rename that of the second: "
            f'fuse(..., names={{"{twice}": "second_{twice}"}})'
        )


def _check_symbols(name: str, first: Definition, second: Definition) -> None:
    """Refuse an argument of the second part that is named as a parameter of the first's formula."""
    known = {symbol.name for symbol in parameters_of(first)}
    for one in second.arguments:
        if one.name in known:
            raise ValueError(
                f"definition {name}: {second.name} has an argument {one.name!r}, and {first.name} a parameter; rename "
                f'the argument: fuse(..., names={{"{one.name}": "second_{one.name}"}})'
            )


def _check_results(name: str, part: Definition) -> None:
    """Refuse a part that computes nothing for some arguments.

    Raises:
        ValueError: it does.
    """
    for argument, value in part.identity_when.items():
        raise ValueError(
            f"definition {name}: {part.name} returns its input unchanged where {argument}={value}, and a fused formula "
            "cannot; fuse what stands before it and behind it, and call it between them"
        )


def _with_one_result(part: Definition) -> Definition:
    """The definition without the results that a flag adds, and without these flags."""
    if not part.optional_results:
        return part
    flags, added = set(part.optional_results), set(part.optional_results.values())

    def variant(one: Variant) -> Variant:
        when = {key: value for key, value in one.when.items() if key not in flags}
        return replace(one, layer=one.layer.only(tuple(o for o in one.layer.outputs if o not in added)), when=when)

    plain = (one for one in part.variants if not any(one.when.get(flag) for flag in flags))
    arguments = tuple(argument for argument in part.arguments if argument.name not in flags)
    return replace(part, variants=tuple(map(variant, plain)), arguments=arguments, optional_results={})


def _modules(function: str, first: Definition, second: Definition) -> tuple[ModuleFace, ...]:
    """One module with the parameters of both parts; none if a part's module is not derived from its function."""
    faces = [face for part in (first, second) for face in part.modules[:1]]
    if len(faces) < 2 or any(face != ModuleFace(face.name, parameters=face.parameters) for face in faces):
        return ()
    return (ModuleFace(module_name(function), parameters={k: v for face in faces for k, v in face.parameters.items()}),)


def _variant(name: str, first: tuple[Definition, Variant], second: tuple[Definition, Variant], into: str) -> Variant:
    parts = (first, second)
    suffix = "".join(variant.layer.name.removeprefix(definition.name) for definition, variant in parts)
    layer = compose(f"{name}{suffix}", first[1].layer, second[1].layer, into, first[0].result[0])
    when = {key: value for _, variant in parts for key, value in variant.when.items()}
    return Variant(layer, when, tuple(rule for _, variant in parts for rule in variant.rules))
