"""From a layer's definition to the kernels and launchers of its module.

``Definition`` -> ``adjoint`` -> the passes of ``passes.pipeline`` -> ``partition`` -> ``lower``; then the order of
launches, with what each allocates.

Input: a ``Definition``. Output: a ``KernelModule``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from svertka.codegen.frontend.names import check_names
from svertka.codegen.ir.chains import inner_products
from svertka.codegen.ir.kernel import Kernel
from svertka.codegen.ir.loop_patterns import LoopPattern, constant_extents, extent_names, loop_pattern
from svertka.codegen.lowering.fusion import FusionGroup, partition
from svertka.codegen.lowering.ignored_nan import ignored
from svertka.codegen.lowering.lower import lower
from svertka.codegen.passes.inline import is_selection, without_maps_of
from svertka.codegen.passes.pipeline import through
from svertka.codegen.passes.saved_conditions import answers_of, recalled
from svertka.spec import adjoint, gradient_name, gradient_of, normal_form
from svertka.spec.definition import Definition, Real, Seed
from svertka.spec.layer import Equation, Layer, reads
from svertka.spec.notation import Reduction, Tensor

__all__ = [
    "Allocation",
    "KernelModule",
    "Launch",
    "Program",
    "accumulated_of",
    "build",
    "keywords_of",
    "saved_by",
]


@dataclass(frozen=True)
class Allocation:
    """A tensor that a program makes.

    Attributes:
        name: its name in kernels.
        tensor: a tensor with its axes; for a gradient, the tensor that it is the gradient of.
        like: tensor whose device and dtype it takes.
        role: ``"gradient"`` (with the strides of ``like`` too), ``"result"`` (also a tensor that only copies elements
            of tensors or is 0), ``"temporary"`` (in the accumulator's precision), ``"integer"`` (int64) or
            ``"position"`` (small integers).
        optional: whether a caller may leave it out.
    """

    name: str
    tensor: Tensor
    like: str
    role: str
    optional: bool = False


@dataclass(frozen=True)
class Launch:
    """A kernel, its fusion group, what is allocated, and which gradients need it (empty: it always runs)."""

    kernel: Kernel
    group: FusionGroup
    allocations: tuple[Allocation, ...]
    serves: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """A launcher: a function that runs kernels in order.

    Attributes:
        name: function name.
        layer: the layer it computes.
        arguments: tensors it takes, in order.
        keywords: extents and parameters it takes.
        launches: what it runs.
        results: names of tensors it returns.
        wanted: whether it has the argument ``wanted``: which gradients are to be computed.
        leading: the tensor whose dtype, device and memory format the results follow.
    """

    name: str
    layer: Layer
    arguments: tuple[Tensor, ...]
    keywords: tuple[str, ...]
    launches: tuple[Launch, ...]
    results: tuple[str, ...]
    wanted: bool
    leading: str


@dataclass(frozen=True)
class KernelModule:
    """All kernels and programs of a definition.

    Attributes:
        saved: by layer name, what the forward keeps for the backward.
        read: by layer name, the tensors that the gradient reads if nothing is kept.
        answers: by layer name, inputs that a result may replace in the backward, and that result.
        needed: by layer name, what the formula of the gradient is given.
    """

    definition: Definition
    kernels: tuple[Kernel, ...]
    programs: tuple[tuple[Program, Program, Program], ...]
    saved: dict[str, tuple[str, ...]]
    read: dict[str, frozenset[str]]
    answers: dict[str, dict[str, str]]
    needed: dict[str, frozenset[str]]


def build(definition: Definition) -> KernelModule:
    """Derive everything for a definition."""
    builder = _Builder(definition)
    programs = tuple(builder.programs(variant.layer) for variant in definition.variants)
    return KernelModule(
        definition, tuple(builder.kernels), programs, builder.saved, builder.read, builder.answers, builder.needed
    )


def keywords_of(layer: Layer) -> tuple[str, ...]:
    """Parameters, and extents that are not the size of one dimension of a required input; sorted."""
    extents = extent_names(normal_form(layer))
    shown = {str(dim[0].extent) for t in layer.inputs if t.default is None for dim in t.dims if len(dim) == 1}
    return tuple(sorted((extents - shown) | {symbol.name for symbol in layer.parameters}))


def accumulated_of(definition: Definition, layer: Layer) -> tuple[str, ...]:
    """Gradients that the formula of a gradient returns in the accumulator's type; the caller converts them.

    A tensor with fewer dimensions than the others may be float32 while these have half precision. If such a tensor is
    not an input of the gradient's formula, its type is not known there.
    """
    own = {gradient_name(tensor.name) for tensor in layer.inputs}
    rank = max(len(tensor.dims) for tensor in layer.inputs)
    lost = (name for name in layer.outputs if name not in own and len(layer.tensors[name].dims) < rank)
    return tuple(lost) if definition.gradient else ()


def saved_by(backward: Layer, gradients: Iterable[str], begun: Iterable[str] = ()) -> tuple[Equation, ...]:
    """Reductions that the backward needs and the forward can keep: those that depend on no gradient.

    They have one element for a whole row, window or product; computed again they would cost another pass over it. A row
    reduction that has an element for every place of the row is as large as the row, and is computed again. A product
    that a recurrence has in it is never computed alone, and a sum of one term is cheaper than its load. Nor is an inner
    product stored; ``begun`` are those of the forward.
    """
    inner = inner_products(without_maps_of(backward, {*begun}), {*begun})
    tainted, computed = set(gradients), through(backward, "single terms", first="recurrences").tensors
    kept = []
    for equation in backward.equations:
        if any(read.tensor in tainted for read in reads(equation.value)):
            tainted.add(equation.target.name)
        elif equation.target.name in inner:
            continue
        elif isinstance(equation.value, Reduction) and equation.target.name in computed and not _as_large(equation):
            kept.append(equation)
    return tuple(kept)


def _as_large(equation: Equation) -> bool:
    """Whether a reduction of a bounded row has a result for every element of the row."""
    indices = equation.value.indices
    if loop_pattern(equation) != LoopPattern.ROW or any(index.batch for index in indices):
        return False
    return bool({index.extent for index in indices} & {axis.extent for axis in equation.target.axes})


class _Builder:
    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.kernels: list[Kernel] = []
        self.saved: dict[str, tuple[str, ...]] = {}
        self.read: dict[str, frozenset[str]] = {}
        self.answers: dict[str, dict[str, str]] = {}
        self.needed: dict[str, frozenset[str]] = {}
        self.scalars = [a.symbol for a in definition.arguments if isinstance(a, Real) and a.varies]
        self.scalars += [a.symbol for a in definition.arguments if isinstance(a, Seed)]
        self.optional = tuple(definition.optional_results.values())

    def programs(self, layer: Layer) -> tuple[Program, Program, Program]:
        """Forward, forward that saves tensors, backward."""
        wrt = self.definition.differentiable(layer)
        results = self.definition.real_results(layer)
        primal = normal_form(layer)
        formula = adjoint(layer, wrt=wrt, outputs=results)
        self.needed[layer.name] = frozenset(tensor.name for tensor in formula.inputs)
        derivative = normal_form(formula)
        gradients = [gradient_of(layer, name) for name in results]
        self.answers[layer.name] = answers_of(derivative, primal, set(results) - set(self.optional))
        plain = _folded(derivative)
        inner = inner_products(through(primal, "single terms", first="outer conditions"))
        self.read[layer.name] = frozenset(read.tensor for e in plain.equations for read in reads(e.value))
        derived, kept = self._kept(primal, derivative, plain, gradients, results, inner)
        shifted = through(derived, "stabilize", first="stabilize")
        if any(e.target.name not in shifted.tensors for e in kept):  # as they stand they would overflow
            derived, kept = shifted, saved_by(shifted, gradients, inner)
        names = tuple(e.target.name for e in kept)
        self.saved[layer.name] = names
        forward = self._program(f"{layer.name}_forward", layer, primal, layer.outputs)
        keeping = _saving_shifted(primal, kept, derived) if kept and derived is shifted else _saving(primal, kept)
        backward = derived.given(names)
        unseen = ignored(_lowered(backward, derived is shifted, inner), kept) - {*layer.outputs}
        saving = self._program(f"{layer.name}_forward", layer, keeping, (*layer.outputs, *names), unseen)
        seeds = [t for t in derived.inputs if t.name in gradients] or [
            Tensor(gradient_of(layer, n), *layer.tensors[n].dims) for n in results
        ]
        ordered = (*seeds, *layer.inputs, *(e.target for e in kept))
        outputs = tuple(gradient_of(layer, name) for name in wrt)
        return forward, saving, self._backward(layer, backward, ordered, outputs, derived is shifted, inner)

    def _kept(
        self,
        primal: Layer,
        derivative: Layer,
        plain: Layer,
        gradients: list[str],
        results: Sequence[str],
        inner: Collection[str],
    ) -> tuple[Layer, tuple[Equation, ...]]:
        """The adjoint as it is computed, and what the forward keeps for it.

        Conditions on intermediates become conditions on results if fewer tensors are then kept.
        """
        kept = saved_by(plain, gradients, inner)
        other, asked = recalled(derivative, primal, results)
        if asked:
            asking = _folded(other.given(e.target.name for e in asked))
            rest = saved_by(asking, gradients, inner)
            if len(rest) < len(kept):
                return asking, (*asked, *rest)
        return plain, kept

    def _program(
        self, name: str, layer: Layer, whole: Layer, results: tuple[str, ...], unseen: frozenset[str] | None = None
    ) -> Program:
        """A forward; one that saves tensors is given the names of those whose NaN the backward does not see."""
        launches = self._launches(layer, _lowered(whole), "" if unseen is None else "_saving", (), unseen or ())
        return Program(name, layer, layer.inputs, keywords_of(layer), launches, results, False, _leading(layer.inputs))

    def _backward(
        self,
        layer: Layer,
        whole: Layer,
        arguments: tuple[Tensor, ...],
        results: tuple[str, ...],
        shifted: bool,
        inner: Collection[str],
    ) -> Program:
        launches = self._launches(layer, _lowered(whole, shifted, inner), "", results, inner=inner)
        name = f"{layer.name}_backward"
        return Program(name, layer, arguments, keywords_of(layer), launches, results, True, _leading(layer.inputs))

    def _launches(
        self,
        primal: Layer,
        lowered: Layer,
        suffix: str,
        results: tuple[str, ...],
        unseen: Iterable[str] = (),
        inner: Collection[str] | None = None,
    ) -> tuple[Launch, ...]:
        check_names(lowered)
        ignoring = ignored(lowered, stored=frozenset(unseen))
        constants = constant_extents(normal_form(primal))
        kernels = []
        groups = partition(lowered, inner)
        channels = len(primal.tensors[_leading(primal.inputs)].dims) > 2  # the format of results is this one's
        for group in groups:
            name = f"{primal.name}_{group.results[0].name}"
            optional = (*self.optional, *_separable(group, primal))
            kernel = lower(group, lowered, name, constants, self.scalars, optional, channels, ignoring)
            kernels.append(self._unique(kernel, suffix))
        serves = _serving(kernels, results)
        return tuple(
            Launch(kernel, group, tuple(self._allocations(kernel, primal, lowered)), served)
            for kernel, group, served in zip(kernels, groups, serves, strict=True)
        )

    def _unique(self, kernel: Kernel, suffix: str) -> Kernel:
        """The kernel, or an equal kernel that another program of this module runs already."""
        for other in self.kernels:
            if replace(other, name=kernel.name) == kernel:
                return other
        names = {other.name for other in self.kernels}
        while kernel.name in names:
            kernel = replace(kernel, name=f"{kernel.name}{suffix or '_again'}")
        self.kernels.append(kernel)
        return kernel

    def _allocations(self, kernel: Kernel, primal: Layer, lowered: Layer) -> Iterable[Allocation]:
        leading = _leading(primal.inputs)
        state = {a.updated_by: a.bound for a in self.definition.tensor_arguments if a.updated_by}
        own = {gradient_name(t.name): t.name for t in primal.inputs if self.definition.gradient}
        by_gradient = {gradient_of(primal, t.name): t.name for t in primal.inputs}
        for store in kernel.stored:
            tensor = lowered.tensors[store]
            if store in by_gradient:
                optional = any(t.name == store and t.optional for t in kernel.tensors)
                yield Allocation(store, primal.tensors[by_gradient[store]], by_gradient[store], "gradient", optional)
            elif tensor.kind == "integer":
                role = "integer" if store in primal.outputs else "position"
                yield Allocation(store, tensor, leading, role, store in self.optional)
            else:
                exact = store in primal.outputs or is_selection(_value(lowered, store))
                like = state.get(store, own.get(store, leading))
                role = "result" if exact and store not in accumulated_of(self.definition, primal) else "temporary"
                yield Allocation(store, tensor, like, role, store in self.optional)


def _lowered(whole: Layer, shifted: bool = False, inner: Collection[str] = ()) -> Layer:
    """Equations as they are divided among kernels.

    Args:
        whole: all of them.
        shifted: whether their exponents are shifted already.
        inner: inner products that no kernel stores.
    """
    lowered = through(whole, "row factors", first="split" if shifted else "outer conditions")
    computed = {equation.target.name for equation in lowered.equations}
    return without_maps_of(lowered, computed.intersection(inner))


def _folded(normal: Layer) -> Layer:
    """A gradient's equations before their exponents are shifted: what they read decides what is kept for them."""
    return through(normal, "drop vanishing sums", first="outer conditions")


def _value(layer: Layer, name: str) -> Any:
    return next(equation.value for equation in layer.equations if equation.target.name == name)


def _saving(primal: Layer, kept: tuple[Equation, ...]) -> Layer:
    """The forward with saved tensors among its outputs."""
    known = {e.target.name for e in primal.equations}
    extra = tuple(e for e in kept if e.target.name not in known)
    outputs = (*primal.outputs, *(e.target.name for e in kept))
    return Layer(primal.name, primal.inputs, (*primal.equations, *extra), outputs)


def _saving_shifted(primal: Layer, kept: tuple[Equation, ...], derived: Layer) -> Layer:
    """The forward with saved tensors that are shifted, and with their shifts, each as early as possible.

    The forward's own sums come after them, so they use the shifts and sums that are kept.
    """
    names = tuple(e.target.name for e in kept)
    known = {e.target.name for e in primal.equations}
    made = derived.only(names, primal.name).given(known)
    waiting = [*(e for e in made.equations if e.target.name not in known), *primal.equations]
    equations: list[Equation] = []
    ready = {tensor.name for tensor in primal.inputs}
    while waiting:
        place = next(n for n, e in enumerate(waiting) if {read.tensor for read in reads(e.value)} <= ready)
        equations.append(waiting.pop(place))
        ready.add(equations[-1].target.name)
    return Layer(primal.name, primal.inputs, tuple(equations), (*primal.outputs, *names))


def _separable(group: FusionGroup, primal: Layer) -> tuple[str, ...]:
    """Gradients that a kernel computes together with others; a caller may leave out each of them."""
    gradients = {gradient_of(primal, tensor.name) for tensor in primal.inputs}
    stored = [result.name for result in group.results]
    return tuple(name for name in stored if name in gradients) if len(stored) > 1 else ()


def _leading(inputs: tuple[Tensor, ...]) -> str:
    """The first real input."""
    return next(t.name for t in inputs if t.kind == "real")


def _serving(kernels: list[Kernel], results: tuple[str, ...]) -> list[tuple[int, ...]]:
    """For each kernel, the results that need it, directly or through later kernels."""
    needs: dict[str, set[int]] = {name: {n} for n, name in enumerate(results)}
    served: list[tuple[int, ...]] = []
    for kernel in reversed(kernels):
        wanted = set().union(*(needs.get(name, set()) for name in kernel.stored))
        served.append(tuple(sorted(wanted)))
        for tensor in kernel.tensors:
            if not tensor.output:
                needs.setdefault(tensor.name, set()).update(wanted)
    everything = tuple(sorted({n for n, name in enumerate(results)}))
    return [() if one == everything else one for one in reversed(served)]
