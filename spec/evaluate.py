"""Evaluate a layer literally, equation by equation, in any arithmetic.

Each equation becomes nested Python loops over its indices (``python_loops``), and nothing is rewritten. This defines
the meaning of a formula; gradients, references and kernels are compared with it.

Input: a ``Layer``, its tensors as ``Array``s, extents and parameters by name, an ``Arithmetic``. Output: ``Array``s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

from sympy import Basic, Expr

from svertka.spec.arithmetic import Arithmetic, Float
from svertka.spec.layer import Layer, text_of
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import Index, Tensor
from svertka.spec.python_loops import PythonLoops, missing

__all__ = ["Array", "Places", "evaluate", "extents_of", "holds", "values_of", "whole"]


@dataclass(frozen=True)
class Array:
    """Values over axes, in row-major order.

    Attributes:
        shape: extents of the formula's axes.
        values: elements; the last axis varies fastest.
    """

    shape: tuple[int, ...]
    values: list[Any]

    def __post_init__(self) -> None:
        if prod(self.shape) != len(self.values):
            raise ValueError(f"array of shape {self.shape}: {len(self.values)} values given, {prod(self.shape)} needed")

    def __getitem__(self, indices: Sequence[int]) -> Any:
        return self.values[_offset(indices, self.shape)]

    def map(self, function: Callable[[Any], Any]) -> Array:
        """The array of ``function`` of each element."""
        return Array(self.shape, [function(value) for value in self.values])

    @classmethod
    def filled(cls, shape: Iterable[int], make: Callable[[tuple[int, ...]], Any]) -> Array:
        """The array whose element at ``indices`` is ``make(indices)``."""
        extents = tuple(shape)
        return cls(extents, [make(indices) for indices in product(*map(range, extents))])


def _offset(indices: Sequence[int], shape: Sequence[int]) -> int:
    offset = 0
    for index, extent in zip(indices, shape, strict=True):
        offset = offset * extent + index
    return offset


def extents_of(layer: Layer, arrays: Mapping[str, Array]) -> dict[str, int]:
    """Extents that follow from the shapes of a layer's inputs.

    Raises:
        ValueError: two inputs disagree about an extent.
    """
    sizes: dict[str, int] = {}
    for tensor in layer.inputs:
        if tensor.name not in arrays:
            continue
        for index, extent in zip(tensor.axes, arrays[tensor.name].shape, strict=True):
            name = str(index.extent)
            if sizes.setdefault(name, extent) != extent:
                raise ValueError(
                    f"tensor {tensor.name!r}: axis {index.name} has {extent} elements, another input says "
                    f"{sizes[name]}; make them agree"
                )
    return sizes


def evaluate(
    layer: Layer, arrays: Mapping[str, Array], sizes: Mapping[str, Any], arithmetic: Arithmetic
) -> dict[str, Array]:
    """Evaluate all outputs of a layer.

    Args:
        layer: the layer.
        arrays: its input tensors by name, values of the arithmetic (integers for integer tensors); a tensor with a
            default may be left out.
        sizes: extents that no input's shape gives (``P``, ``Q``, ...) and parameters, by name.
        arithmetic: how to compute.

    Raises:
        ValueError: an extent, a parameter or a tensor without default is missing.
    """
    loops = PythonLoops(arithmetic, {**extents_of(layer, arrays), **sizes})
    for tensor in layer.inputs:
        if tensor.name in arrays:
            loops.know(tensor.name, arrays[tensor.name].shape, arrays[tensor.name].values)
        elif tensor.default is not None:
            loops.leave_out(tensor.name, arithmetic.number(tensor.default))
        else:
            raise ValueError(f"layer {layer.name}: tensor {tensor.name!r} is missing; give it in arrays")
    found = {}
    for equation in normal_form(layer).equations:
        shape = tuple(loops.size(index.extent) for index in equation.target.axes)
        found[equation.target.name] = Array(shape, loops.elements(equation))
        loops.know(equation.target.name, shape, found[equation.target.name].values)
    return {name: found[name] for name in layer.outputs}


def whole(expression: Expr, sizes: Mapping[str, Any]) -> int:
    """Value of an integer expression over extents and parameters."""
    return int(_at(expression, sizes))


def holds(condition: Basic, sizes: Mapping[str, Any]) -> bool:
    """Whether a condition over extents and parameters is true."""
    return bool(_at(condition, sizes))


def _at(node: Basic, sizes: Mapping[str, Any]) -> Any:
    try:
        return _of_sizes(node)(sizes)
    except KeyError as error:
        raise ValueError(missing(error.args[0], sizes)) from None


@lru_cache(maxsize=4096)
def _of_sizes(node: Basic) -> Callable[[Mapping[str, Any]], Any]:
    """The node as a function of extents and parameters; tests of a definition's sizes ask the same ones many times."""
    return PythonLoops(Float(), None).asked(node)


def values_of(expression: Expr, sizes: Mapping[str, Any]) -> set[int]:
    """All values that an integer expression takes over the ranges of its indices."""
    asked, indices = Places(sizes), sorted(expression.atoms(Index), key=text_of)
    names = [index.name for index in indices]
    every = product(*(range(whole(index.extent, sizes)) for index in indices))
    return {asked.position(expression, dict(zip(names, place, strict=True))) for place in every}


class Places:
    """Conditions and positions that read no tensor, asked at many places: each is compiled once.

    Args:
        sizes: extents and parameters by name.
    """

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        self._loops = PythonLoops(Float(), sizes)
        self._compiled: dict[Basic, Callable[[Mapping[str, int]], Any]] = {}

    def holds(self, condition: Basic, here: Mapping[str, int]) -> bool:
        """Whether a condition is true where indices have these values."""
        return bool(self._asked(condition, here))

    def position(self, expression: Expr, here: Mapping[str, int]) -> int:
        """Value of an integer expression where indices have these values."""
        return int(self._asked(expression, here))

    def _asked(self, node: Basic, here: Mapping[str, int]) -> Any:
        if node not in self._compiled:
            self._compiled[node] = self._loops.asked(node)
        return self._compiled[node](here)


def shape_of(tensor: Tensor, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Extents of a tensor's axes at concrete sizes."""
    return tuple(whole(index.extent, sizes) for index in tensor.axes)
