"""Level "adjoint": the derived gradient equals differentiation of the formula's own expressions.

The formula is evaluated on variables. Reverse accumulation, which uses no indices, differentiates the result. The
derived adjoint is evaluated on the same variables. The two are compared, polynomials term by term and others at random
points of a prime field, in a region without ties and in one with many.

Where ties meet a point at which the formula has no derivative, as 1 / x at 0, others are drawn. Where samples without
ties meet one, the formula does not say what elements its tensors have, and the level fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from svertka.codegen.verify.cases import Case, label, within
from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject
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
SIDES = ("the adjoint gives", "the derivative")
SHOWN = 3  # variables in a message


Draw = Callable[[random.Random, int], float]
"""From the place of an element among all."""


def _distinct(draw: random.Random, place: int) -> float:
    """Of either sign in turn: where negative numbers have no logarithm, some sample meets one."""
    return draw.uniform(0.0, 3.0) * (1 if place % 2 else -1)


def _tied(draw: random.Random, place: int) -> float:
    return float(draw.randint(-1, 1))


def _tied_without_zero(draw: random.Random, place: int) -> float:
    return draw.choice((-2.0, -1.0, 1.0, 2.0))


DRAWS: Mapping[str, tuple[Draw, ...]] = {
    "": (_distinct,),
    " with ties": (_tied, _tied_without_zero, _tied_without_zero),
}
"""Regions, and how their samples are drawn; in the next way if a sample meets a point without derivative."""


def check(subject: Subject) -> Outcome:
    """Compare every element of every derived gradient."""
    if not subject.module.definition.differentiable(subject.layer):
        return Outcome(NAME, subject.layer.name, inapplicable="it has no gradient")
    regions, elements, certain, probability, failures = 0, 0, 0, 0.0, list[str]()
    for case in subject.small_cases:
        for name, draws in DRAWS.items():
            grounds = [_Ground(subject, case, f"{case.name}{name}", draws[0], 0)]
            while grounds[-1].graph.singular and len(grounds) < len(draws):
                grounds.append(_Ground(subject, case, f"{case.name}{name}", draws[len(grounds)], len(grounds)))
            ground = grounds[-1]
            if ground.graph.singular:
                failures += [] if name else [f"{case.name}: {ground.without_derivative()}"]
                continue
            pairs = list(ground.pairs())
            decided = decide(ground.graph, pairs, POINTS, ground.name, SIDES)
            regions += 1
            elements += len(pairs)
            certain += decided.certain
            probability += decided.error_probability
            failures += [f"{ground.name}: {text}" for text in decided.failures]
    figures = {"certain": certain, "points": POINTS, "error_probability": probability}
    return Outcome(NAME, subject.layer.name, regions, elements, figures, tuple(failures))


class _Ground:
    """One case as variables, each with a sample value, and the formula's results for them."""

    def __init__(self, subject: Subject, case: Case, name: str, draw_real: Draw, attempt: int) -> None:
        self.subject, self.case, self.name, self.draw_real = subject, case, name, draw_real
        self.graph = Graph()
        self.sizes = parameters(subject.layer, case.sizes, self.graph)
        self.draw = random.Random(f"{name}/{attempt}")
        self.arithmetic: Any = GraphArithmetic(self.graph)
        self.arrays: dict[str, Array] = {}
        for tensor in subject.layer.inputs:
            if tensor.name not in case.absent:
                self.arrays[tensor.name] = self._array(tensor)
        self.results = subject.module.definition.real_results(subject.layer)
        self.outputs = evaluate(subject.layer.only(self.results), self.arrays, self.sizes, self.arithmetic)

    def _array(self, tensor: Tensor) -> Array:
        def element(indices: tuple[int, ...]) -> int:
            if tensor.kind == "integer":
                return label(self.subject.module.definition, tensor, self.case, self.draw)
            sample = within(tensor, self.draw_real(self.draw, len(self.graph)))
            return self.graph.variable(f"{tensor.name}{list(indices)}", sample)

        return Array.filled(shape_of(tensor, self.case.sizes), element)

    def pairs(self) -> Iterator[tuple[str, int, int]]:
        """Label, derived gradient and derivative of every element."""
        layer, definition = self.subject.layer, self.subject.module.definition
        names = [name for name in definition.differentiable(layer) if name in self.arrays]
        seeds = {}
        for name in self.results:
            seed = Tensor(gradient_of(layer, name), *layer.tensors[name].dims)
            seeds[seed.name] = self._array(seed)
        derived = evaluate(adjoint(layer, names, self.results), {**self.arrays, **seeds}, self.sizes, self.arithmetic)
        variables = [node for name in names for node in self.arrays[name].values]
        found = gradients(
            self.graph,
            [node for name in self.results for node in self.outputs[name].values],
            [node for array in seeds.values() for node in array.values],
            variables,
        )
        got = [node for name in names for node in derived[gradient_of(layer, name)].values]
        for variable, left, right in zip(variables, got, found, strict=True):
            yield str(self.graph.arguments[variable][0]), left, right

    def without_derivative(self) -> str:
        """Where the formula has no derivative, and what the formula should say."""
        graph = self.graph
        operation, node = graph.singular[0]
        used = graph.variables(node)
        names = [name for name, array in self.arrays.items() if not set(used).isdisjoint(array.values)]
        where = ", ".join(f"{graph.text(one)} = {graph.samples[one]:.3g}" for one in used[:SHOWN])
        more = ", ..." if len(used) > SHOWN else ""
        bounds = ", ".join(f'Tensor("{name}", ..., above=0)' for name in names)
        return (
            f"the formula has no value or no derivative at {where}{more}: it has {operation} {graph.text(node)}, "
            f"which is {graph.samples[node]:.3g} there; if elements are never there, say so with above= and below=, "
            f"as in {bounds}; if they may be, choose another value with Select(condition, a, b)"
        )
