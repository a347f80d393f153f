"""Prove that a definition's unmodified kernels compute its formula.

The kernels run in Triton's interpreter on expressions (``interpreter``). The formula and its adjoint, derived again,
are evaluated on the same expressions. The expressions of each output element are compared at random points of a prime
field (``point``). Memory is checked in the same run (``memory``).

Input: a definition's programs, a variant, loaded kernels, a case. Output: a ``Proof``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.equivalence import UNSAVED, named, run_backward, run_forward
from svertka.codegen.verify.symbolic.arithmetic import GraphArithmetic
from svertka.codegen.verify.symbolic.coverage import Coverage
from svertka.codegen.verify.symbolic.decide import decide
from svertka.codegen.verify.symbolic.graph import POISON, Graph
from svertka.codegen.verify.symbolic.memory import Memory, reach
from svertka.codegen.verify.symbolic.regions import REGIONS, Inputs, Region, in_parts, tiles
from svertka.spec import Layer, adjoint, evaluate, gradient_of
from svertka.spec.definition import Definition, Variant
from svertka.spec.notation import Tensor

__all__ = ["Proof", "SymbolicRun", "prove"]


@dataclass(frozen=True)
class Proof:
    """What was shown about a variant's kernels in one case.

    Attributes:
        layer: name of the formula.
        sizes: extents and parameters as text, by name; real parameters are samples of a symbol.
        shapes: of the inputs, by name.
        regions: the runs, up to the first that fails.
        kernels: names of the kernels that ran.
        elements: how many output elements were compared; ``certain``: how many of them exactly.
        nodes: how many expressions were built.
        points: how many random points each comparison used.
        error_probability: upper bound of the probability that a difference was accepted.
        failures: one line each; empty if all holds.
    """

    layer: str
    sizes: tuple[tuple[str, str], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    regions: tuple[str, ...]
    kernels: tuple[str, ...]
    elements: int
    certain: int
    nodes: int
    points: int
    error_probability: float
    failures: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def prove(
    module: KernelModule,
    variant: Variant,
    kernels: ModuleType,
    case: Case,
    points: int = 2,
    regions: Sequence[Region] = REGIONS,
    coverage: Coverage | None = None,
) -> Proof:
    """Run forward (with and without saved tensors) and backward in every region and compare with the formula.

    ``coverage`` notes which statements of the kernels ran.
    """
    coverage = Coverage() if coverage is None else coverage
    names = tuple(n for n in module.definition.differentiable(variant.layer) if n not in case.absent)
    results = module.definition.real_results(variant.layer)
    derived = adjoint(variant.layer, wrt=list(names), outputs=results)
    runs = []
    for region in regions:
        run = SymbolicRun(module.definition, variant.layer, derived, kernels, case, region, coverage)
        run.execute(results)
        run.decide(points)
        runs.append(run)
        if run.memory.failures:
            break
    shapes = {name: tuple(tensor.shape) for run in runs for name, tensor in run.inputs.tensors.items()}
    return Proof(
        layer=variant.layer.name,
        sizes=tuple((name, str(value)) for name, value in sorted(case.sizes.items())),
        shapes=tuple(shapes.items()),
        regions=tuple(run.region.name for run in runs),
        kernels=tuple(dict.fromkeys(kernel for run in runs for kernel in run.memory.launched)),
        elements=sum(run.elements for run in runs),
        certain=sum(run.certain for run in runs),
        nodes=sum(len(run.graph) for run in runs),
        points=points,
        error_probability=min(1.0, sum(run.error_probability for run in runs)),
        failures=tuple(f"{run.region.name}: {text}" for run in runs for text in run.memory.failures),
    )


class SymbolicRun:
    """One region of one case: the graph, the memory, and the pairs of expressions to compare."""

    def __init__(
        self,
        definition: Definition,
        layer: Layer,
        derived: Layer,
        kernels: ModuleType,
        case: Case,
        region: Region,
        coverage: Coverage,
    ) -> None:
        self.definition, self.layer, self.derived = definition, layer, derived
        self.kernels, self.region, self.coverage = kernels, region, coverage
        self.graph = Graph()
        self.memory = self.new_memory()
        self.inputs = Inputs(definition, layer, case, region, self.graph)
        self.case = Case(case.name, self.inputs.sizes, case.absent)
        self.elements = self.certain = 0
        self.error_probability = 0.0
        self.pairs: list[tuple[str, int, int]] = []

    def new_memory(self) -> Memory:
        """The memory that the kernels use."""
        return Memory()

    @contextmanager
    def executing(self, largest: int, farthest: int) -> Iterator[None]:
        """Where the kernels run: Triton's interpreter.

        Args:
            largest: elements of the largest tensor.
            farthest: the reach of the input that reaches farthest.
        """
        symbolic = importlib.import_module("svertka.codegen.verify.symbolic.interpreter").symbolic
        with (
            tiles(self.kernels, self.region, largest, farthest) as self.memory.wide_from,
            symbolic(self.graph, self.memory, self._primitives, self.coverage),
        ):
            yield

    def execute(self, results: Sequence[str]) -> None:
        """Run the kernels and the formula; a kernel that does not run is a failure with its reason."""
        for tensor in self.layer.inputs:
            if tensor.name not in self.case.absent:
                self.inputs.add(tensor, self.memory, self.region.ties)
        primal = dict(self.inputs.tensors)
        seeds = [Tensor(gradient_of(self.layer, name), *self.layer.tensors[name].dims) for name in results]
        gradients = [self.inputs.add(seed, self.memory, ties=False) for seed in seeds]
        arithmetic = GraphArithmetic(self.graph)
        known = self.inputs.arrays
        expected = evaluate(self.layer, known, self.case.sizes, arithmetic)
        expected |= evaluate(self.derived, known, self.case.sizes, arithmetic)
        try:
            largest = max(len(array.values) for array in (*known.values(), *expected.values()))
            with self.executing(largest, max(map(reach, primal.values()))), np.errstate(all="ignore"):
                self._run(primal, gradients, expected)
        except Exception as error:
            self.memory.fail(f"{self.memory.kernel}: the kernel does not run: {error!r}")
        self.memory.check_stores()

    @property
    def _primitives(self) -> ModuleType:
        """The module of functions that the kernels call."""
        return importlib.import_module(f"{self.kernels.__name__.rpartition('.')[0]}.primitives")

    def _run(
        self, primal: Mapping[str, torch.Tensor], gradients: Sequence[torch.Tensor], expected: Mapping[str, Any]
    ) -> None:
        saved = self._run_forward(primal, expected)
        names = self.definition.differentiable(self.layer)
        present = tuple(name in primal for name in names)
        self._run_backward(primal, gradients, saved, present, expected)
        with in_parts(self.kernels) if self.region.boxes else nullcontext():
            if self.region.boxes:
                saved = self._run_forward(primal, expected)
            self._run_unsaved(primal, expected)
            alone = [tuple(n == only for n in range(len(names))) for only, there in enumerate(present) if there]
            for wanted in alone if self.region.alone and (self.region.boxes or len(alone) > 1) else ():
                self._run_backward(primal, gradients, saved, wanted, expected)

    def _run_unsaved(self, primal: Mapping[str, torch.Tensor], expected: Mapping[str, Any]) -> None:
        """Run the forwards that save no tensors."""
        for skipped in dict.fromkeys([(), tuple(self.definition.optional_results.values())]):
            plain = run_forward(self.kernels, self.layer, self.case, primal, save=False, skipped=skipped)
            for name, output in named(self.layer, plain, skipped=skipped):
                self._pair(f"{name}{UNSAVED}", output, expected[name].values)

    def _run_forward(self, primal: Mapping[str, torch.Tensor], expected: Mapping[str, Any]) -> Sequence[Any]:
        """Run the forward that saves tensors; what it saves."""
        results = run_forward(self.kernels, self.layer, self.case, primal, save=True)
        for name, output in named(self.layer, results):
            self._pair(name, output, expected[name].values)
        return results[len(self.layer.outputs) :]

    def _run_backward(
        self,
        primal: Mapping[str, torch.Tensor],
        gradients: Sequence[torch.Tensor],
        saved: Sequence[Any],
        wanted: tuple[bool, ...],
        expected: Mapping[str, Any],
    ) -> None:
        back = run_backward(self.kernels, self.layer, self.case, primal, gradients, saved, wanted)
        for name, gradient, there in zip(self.definition.differentiable(self.layer), back, wanted, strict=True):
            if there and gradient is not None:
                self._pair(gradient_of(self.layer, name), gradient, expected[gradient_of(self.layer, name)].values)
            elif there:
                self.memory.fail(f"{gradient_of(self.layer, name)}: wanted, and not returned")

    def _pair(self, name: str, got: torch.Tensor, expected: Sequence[int]) -> None:
        """Record each element's two expressions; whole numbers are compared immediately."""
        real = got.dtype.is_floating_point
        values = self.memory.nodes_of(got) if real else got.reshape(-1).tolist()
        if len(values) != len(expected):
            self.memory.fail(f"{name}: {len(values)} elements instead of {len(expected)}")
            return
        self.elements += len(values)
        for place, (left, right) in enumerate(zip(values, expected, strict=True)):
            label = f"{name}{np.unravel_index(place, tuple(got.shape)) if got.dim() else ()}"
            label = label.replace("np.int64(", "").replace(")", "").replace("(", "[") + "]"
            if real and left == POISON:
                self.memory.fail(f"{label}: it depends on memory that nothing was stored in")
            elif real:
                self.pairs.append((label, left, right))
            elif left == right:
                self.certain += 1
            else:
                self.memory.fail(f"{label}: the kernel gives {left}, the formula {right}")

    def decide(self, points: int) -> None:
        """Compare all pairs at random points; the first that differs is a failure with both expressions."""
        seed = f"{self.case.name}/{self.region.name}"
        decided = decide(self.graph, self.pairs, points, seed, ("the kernel computes", "the formula"))
        for text in decided.failures:
            self.memory.fail(text)
        self.certain += decided.certain
        self.error_probability = decided.error_probability
