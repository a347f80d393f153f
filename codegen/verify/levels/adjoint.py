"""Level "adjoint": the derived gradient equals differentiation of the formula's own expressions.

The formula is evaluated on variables. Reverse accumulation, which uses no indices, differentiates the result. The
derived adjoint is evaluated on the same variables. The two are compared, polynomials term by term and others at random
points of a prime field, in a region without ties and in one with many.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from svertka.codegen.verify.cases import Case, label
from svertka.codegen.verify.levels.target import Outcome, Subject
from svertka.codegen.verify.symbolic.arithmetic import GraphArithmetic
from svertka.codegen.verify.symbolic.decide import decide
from svertka.codegen.verify.symbolic.derivative import gradients
from svertka.codegen.verify.symbolic.graph import Graph
from svertka.codegen.verify.symbolic.regions import parameters
from svertka.spec import Array, adjoint, evaluate, gradient_of
from svertka.spec.evaluate import shape_of
from svertka.spec.notation import Tensor

__all__ = ["check"]

NAME = "adjoint"
POINTS = 2
SIDES = ("the adjoint gives", "the derivative is")


def check(subject: Subject) -> Outcome:
    """Compare every element of every derived gradient."""
    elements, certain, probability, failures = 0, 0, 0.0, list[str]()
    for case in subject.small_cases:
        for ties in (False, True):
            ground = _Ground(subject, case, ties)
            pairs = list(ground.pairs())
            decided = decide(
                ground.graph, pairs, POINTS, f"{case.name} {ties}", ("the adjoint gives", "the derivative")
            )
            elements += len(pairs)
            certain += decided.certain
            probability += decided.error_probability
            failures += [f"{case.name}{' with ties' if ties else ''}: {text}" for text in decided.failures]
    figures = {"certain": certain, "points": POINTS, "error_probability": probability}
    return Outcome(NAME, subject.layer.name, 2 * len(subject.small_cases), elements, figures, tuple(failures))


class _Ground:
    """One case as variables, each with a sample value."""

    def __init__(self, subject: Subject, case: Case, ties: bool) -> None:
        self.subject, self.case, self.ties = subject, case, ties
        self.graph = Graph()
        self.sizes = parameters(subject.layer, case.sizes, self.graph)
        self.draw = random.Random(f"{case.name}/{ties}")
        self.arrays: dict[str, Array] = {}
        for tensor in subject.layer.inputs:
            if tensor.name not in case.absent:
                self.arrays[tensor.name] = self._array(tensor)

    def _array(self, tensor: Tensor) -> Array:
        def element(indices: tuple[int, ...]) -> int:
            if tensor.kind == "integer":
                return label(self.subject.module.definition, tensor, self.case, self.draw)
            sample = float(self.draw.randint(-1, 1)) if self.ties else self.draw.uniform(-3.0, 3.0)
            if tensor.default == 1 or tensor.name.endswith("var"):
                sample = abs(sample) + 0.5
            return self.graph.variable(f"{tensor.name}{list(indices)}", sample)

        return Array.filled(shape_of(tensor, self.case.sizes), element)

    def pairs(self) -> Iterator[tuple[str, int, int]]:
        """Label, derived gradient and derivative of every element."""
        layer, definition = self.subject.layer, self.subject.module.definition
        names = [name for name in definition.differentiable(layer) if name in self.arrays]
        results = definition.real_results(layer)
        arithmetic: Any = GraphArithmetic(self.graph)
        outputs = evaluate(layer.only(results), self.arrays, self.sizes, arithmetic)
        seeds = {}
        for name in results:
            seed = Tensor(gradient_of(layer, name), *layer.tensors[name].dims)
            seeds[seed.name] = self._array(seed)
        derived = evaluate(adjoint(layer, names, results), {**self.arrays, **seeds}, self.sizes, arithmetic)
        variables = [node for name in names for node in self.arrays[name].values]
        found = gradients(
            self.graph,
            [node for name in results for node in outputs[name].values],
            [node for array in seeds.values() for node in array.values],
            variables,
        )
        got = [node for name in names for node in derived[gradient_of(layer, name)].values]
        for variable, left, right in zip(variables, got, found, strict=True):
            yield str(self.graph.arguments[variable][0]), left, right
