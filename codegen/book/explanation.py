"""The explanation of a definition as data: the terminal prints it and the book's pages show it.

``Definition`` -> ``build`` -> formulas, derived gradient, kernels with their equations, saved tensors, what is proven.

Input: a ``Definition``, a generated package's folder. Output: an ``Explanation``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sympy import Tuple
from sympy.core.symbol import Str

from svertka.codegen.book.evidence import Evidence, evidence
from svertka.codegen.book.line import Line, axes_of, line, lines_of
from svertka.codegen.driver.generate import PACKAGE
from svertka.codegen.lowering.build import KernelModule, Launch, Program
from svertka.codegen.lowering.built import built
from svertka.codegen.passes.inline import at
from svertka.codegen.torch_api.function_source import signature_of
from svertka.spec import adjoint, gradient_name
from svertka.spec.definition import Definition, Variant
from svertka.spec.layer import Equation, Layer, reads, walk
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Index, Read, Tensor
from svertka.spec.rewrite import replace

__all__ = ["Explanation", "Formula", "Run", "Step", "derived_gradient", "explain", "without_copies"]


@dataclass(frozen=True)
class Step:
    """One kernel of a run.

    Attributes:
        name: of the kernel; ``others``: other functions that compute the same, on another path.
        pattern: its loop pattern.
        lines: its equations, in order.
        stored: tensors that it stores.
        serves: the only gradients that need it; empty if it always runs.
    """

    name: str
    others: tuple[str, ...]
    pattern: str
    lines: tuple[Line, ...]
    stored: tuple[str, ...]
    serves: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """The kernels that a program launches, in order."""

    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Formula:
    """One formula of a definition.

    Attributes:
        layer: the formula; ``when``: the arguments that select it, in words.
        lines: its equations.
        derived: the gradient layer, without equations that only rename.
        again: equations of the gradient that recompute quantities of the forward.
        gradient: its other equations.
        runs: forward, forward with saved tensors if it differs, backward.
        saved: tensors that the forward saves for the backward.
        proven: what validation showed, level by level.
    """

    layer: Layer
    when: str
    lines: tuple[Line, ...]
    derived: Layer
    again: tuple[Line, ...]
    gradient: tuple[Line, ...]
    runs: tuple[Run, ...]
    saved: tuple[str, ...]
    proven: Mapping[str, str]

    @property
    def indices(self) -> tuple[tuple[str, str], ...]:
        """Letters of the formula's indices and what they count, if that says more than the letter."""
        tensors = self.layer.tensors.values()
        found = [index for tensor in tensors for index in tensor.axes]
        found += [n for e in self.layer.equations for n in walk(e.value) if isinstance(n, Index)]
        meanings = {i.name: i.meaning for i in found if i.meaning != i.name}
        return tuple(meanings.items())

    @property
    def tensors(self) -> tuple[tuple[Tensor, str], ...]:
        """The inputs, and the defaults of those that may be left out."""
        return tuple((t, "" if t.default is None else f"{t.default} if left out") for t in self.layer.inputs)


@dataclass(frozen=True)
class Explanation:
    """The explanation of a definition.

    Attributes:
        definition: the definition.
        signature: parameters of its function; ``package``: the package to import it from.
        formulas: its formulas.
        evidence: state of its certificate.
    """

    definition: Definition
    signature: str
    package: str
    formulas: tuple[Formula, ...]
    evidence: Evidence


def explain(definition: Definition, package: Path) -> Explanation:
    """Explain a definition; what is proven is read from the package's certificate."""
    module = built(definition)
    found = evidence(definition, package)
    formulas = tuple(_formula(module, variant, found) for variant in definition.variants)
    return Explanation(definition, signature_of(definition), _imported(definition, package), formulas, found)


def _imported(definition: Definition, package: Path) -> str:
    """The import name of a definition's package; a user's own layers have a package of their own."""
    if package != PACKAGE:
        return package.resolve().name
    return "svertka.generated" if definition.name in DEFINITIONS else "my_package"


def _formula(module: KernelModule, variant: Variant, found: Evidence) -> Formula:
    layer = variant.layer
    place = module.definition.variants.index(variant)
    forward, saving, backward = module.programs[place]
    kept = (
        (Run("forward, where a gradient will be wanted", _steps(saving)),)
        if saving.launches != forward.launches
        else ()
    )
    derived = derived_gradient(module.definition, layer, backward)
    lines = {one.left.tensor: one for one in lines_of(derived)}
    tainted = _depending(derived, [t.name for t in derived.inputs if t.name not in layer.tensors])
    return Formula(
        layer,
        _when(variant),
        lines_of(layer),
        derived,
        tuple(one for name, one in lines.items() if name not in tainted),
        tuple(one for name, one in lines.items() if name in tainted),
        (Run("forward", _steps(forward)), *kept, Run("backward", _steps(backward))),
        module.saved[layer.name],
        found.levels(layer.name),
    )


def derived_gradient(definition: Definition, layer: Layer, backward: Program) -> Layer:
    """The derived gradient with respect to the inputs of the backward program's gradients."""
    wrt = [t.name for t in layer.inputs if gradient_name(t.name) in backward.results]
    return without_copies(adjoint(layer, wrt=wrt, outputs=definition.real_results(layer)))


def without_copies(layer: Layer) -> Layer:
    """The layer without equations that only give another name to an element."""
    copies: dict[str, Equation] = {}
    kept: list[Equation] = []
    for equation in layer.equations:
        found = {
            r: at(copies[r.tensor].target, copies[r.tensor].value, r)
            for r in reads(equation.value)
            if r.tensor in copies
        }
        value = replace(equation.value, found)
        one = Equation(equation.target, value)
        if isinstance(value, Read) and equation.target.name not in layer.outputs:
            copies[equation.target.name] = one
        else:
            kept.append(one)
    return Layer(layer.name, layer.inputs, tuple(kept), layer.outputs)


def _depending(layer: Layer, names: Iterable[str]) -> set[str]:
    """Tensors that depend on some tensors, including these; results always count."""
    found = {*names, *layer.outputs}
    for equation in layer.equations:
        if any(read.tensor in found for read in reads(equation.value)):
            found.add(equation.target.name)
    return found


def _when(variant: Variant) -> str:
    """The arguments that select a formula, in words."""
    words = {None: "not given", "integer": "of whole numbers", "real": "given"}
    tensors = {tensor.name for tensor in variant.layer.inputs}
    parts = []
    for name, value in variant.when.items():
        tensor = name in tensors or value is None
        parts.append(f"{name} {words[value]}" if tensor else f"{name}={value!r}")
    return ", ".join(parts)


def _steps(program: Program) -> tuple[Step, ...]:
    return tuple(_step(launch, program) for launch in program.launches)


def _step(launch: Launch, program: Program) -> Step:
    kernel, group = launch.kernel, launch.group
    axes = {t.name: t.axes for t in kernel.tensors} | axes_of(program.layer)
    made = {equation.target.name: equation for equation in group.reductions}
    shown = [line(e.target[e.target.axes], e.value, axes) for e in made.values()]
    for result in group.results:
        if result.name not in made:
            extents = Tuple(*(index.extent for index in result.indices))
            left = Read(Str(result.name), Str("real"), Tuple(*result.indices), extents)
            shown.append(line(left, result.value, axes))
    wanted = tuple(name for n, name in enumerate(program.results) if n in launch.serves and name)
    return Step(kernel.name, kernel.functions[1:], str(kernel.pattern), tuple(shown), kernel.stored, wanted)
