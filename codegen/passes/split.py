"""Reductions of few rows over many elements, in two steps, so that enough programs run at once to occupy a GPU.

Such a reduction runs over independent examples and over other indices, and its result has no index that counts
examples. It is computed for each example first, then over the examples: ``total[c] = Σ_n part[n, c]``,
``part[n, c] = Σ_m x[n, c, m]``. A formula's error bound holds for any order of additions, so it holds for this one.

A sum of squares of deviations from the row's own mean can only start when that mean is known. Therefore each example
sums squares of deviations from its own mean, and these sums are merged (Chan, Golub and LeVeque, 1979), which is the
same polynomial:

    Σ_n Σ_m (x - mean)**2 = Σ_n [Σ_m (x - mean_n)**2 + M (mean_n - mean)**2]

It rounds differently from the formula and has an error bound of its own, which is computed from the layer that
``merging`` gives.

Input: a ``Layer`` after ``inline_maps`` and ``stabilize``. Output: the same, with tensors of parts added.
"""

from __future__ import annotations

from typing import Any

from sympy import Basic, Expr, Tuple
from sympy.logic.boolalg import true

from svertka.codegen.ir.loop_patterns import LoopPattern, loop_pattern
from svertka.codegen.passes.centered_sums import count, matched, of_squares
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Index, Reduction, Tensor, maximum
from svertka.spec.rewrite import substitute

__all__ = ["merging", "split"]


def split(layer: Layer) -> Layer:
    """Reduce a few long rows in two steps."""
    return _Splitting(layer).result()


def merging(layer: Layer) -> Layer | None:
    """The layer as ``split`` leaves it, if squares of deviations are merged there; else None."""
    splitting = _Splitting(layer)
    result = splitting.result()
    return result if splitting.merges else None


class _Splitting:
    """The equations so far, and the parts of those that were split."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.merges = False
        self.done: list[Equation] = []
        self.whole: list[Equation] = []  # equations before they were split, over the shared indices
        self.parts: dict[str, Tensor] = {}
        self.same: dict[tuple[Any, ...], Tensor] = {}
        self.taken = set(layer.tensors)

    def result(self) -> Layer:
        """The layer with every equation split that can be."""
        for equation in self.layer.equations:
            if not _is_few_rows(equation) or not self._split(self._renamed(equation)):
                self.done.append(equation)
        return Layer(self.layer.name, self.layer.inputs, tuple(self.done), self.layer.outputs)

    def _renamed(self, equation: Equation) -> Equation:
        """The reduction over the indices of an earlier one of the same extents, so that the two may share a kernel."""
        value = equation.value
        for earlier in self.whole:
            mapping = matched(value.indices, earlier.value.indices)
            if mapping and set(earlier.target.axes) == set(equation.target.axes):
                body, guard = substitute(value.body, mapping), substitute(value.guard, mapping)
                return Equation(equation.target, Reduction(value.args[0], body, guard, earlier.value.args[3]))
        return equation

    def _split(self, equation: Equation) -> bool:
        """Add the two steps of an equation, unless the first step would belong to another loop pattern."""
        total, body = next(
            ((t, body) for t in self.whole if (body := self._own_deviations(equation, t)) is not None),
            (None, equation.value.body),
        )
        part = self._part(equation, body)
        if part is None:
            return False
        value, target = equation.value, equation.target
        outer, _ = _steps(value)
        combined = part[part.axes]
        if total is not None:
            combined += self._between(equation, total)
            self.merges = True
        self.done.append(Equation(target, Reduction(value.args[0], combined, true, Tuple(*outer))))
        self.whole.append(equation)
        self.parts[target.name] = part
        return True

    def _own_deviations(self, equation: Equation, total: Equation) -> Expr | None:
        """Squares of deviations from the mean of one's own part, if the equation sums squares of deviations."""
        factor = of_squares(equation, total)
        if not factor:
            return None
        part = self.parts[total.target.name]
        _, inner = _steps(equation.value)
        element = substitute(total.value.body, matched(total.value.indices, equation.value.indices))
        return factor * (element - part[part.axes] / count(inner)) ** 2

    def _between(self, equation: Equation, total: Equation) -> Expr:
        """What a part adds because its mean is not the mean of all; a part without elements adds 0, not 0 * (0 / 0)."""
        outer, inner = _steps(equation.value)
        part, whole = self.parts[total.target.name], total.target
        elements = maximum(count(inner), 1)
        apart = part[part.axes] / elements - whole[whole.axes] / (count(outer) * elements)
        return of_squares(equation, total) * count(inner) * apart**2

    def _part(self, equation: Equation, body: Expr) -> Tensor | None:
        """The tensor of parts; an existing tensor of the same elements is used again."""
        outer, inner = _steps(equation.value)
        value = Reduction(equation.value.args[0], body, equation.value.guard, Tuple(*inner))
        key = (value, equation.target.axes)
        if key not in self.same:
            target = Tensor(self._fresh(f"{equation.target.name}_part"), *outer, *equation.target.dims)
            step = Equation(target, value)
            if loop_pattern(step) != LoopPattern.ROW:
                return None
            self.done.append(step)
            self.same[key] = target
        return self.same[key]

    def _fresh(self, stem: str) -> str:
        name = stem
        while name in self.taken:
            name = f"{name}_again"
        self.taken.add(name)
        return name


def _is_few_rows(equation: Equation) -> bool:
    """Whether a reduction runs over examples and other indices, and its result has no index that counts examples."""
    value = equation.value
    if not isinstance(value, Reduction) or value.operation == "argmax" or loop_pattern(equation) != LoopPattern.ROW:
        return False
    outer, inner = _steps(value)
    return bool(outer) and bool(inner) and not any(axis.batch for axis in equation.target.axes)


def _steps(value: Basic) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
    """Indices of the second step, which count examples, and indices of the first step."""
    outer = tuple(index for index in value.indices if index.batch)
    return outer, tuple(index for index in value.indices if not index.batch)
