"""A layer: equations between tensors, checked at construction.

Input: tensors and ``Equation``s. Output: a frozen ``Layer``, the input and output of every later stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

from sympy import Basic, Expr, Symbol, sympify

from svertka.spec.notation import Index, Read, Reduction, Tensor

__all__ = ["Equation", "Layer", "reads", "symbols_of", "text_of", "walk"]


@dataclass(frozen=True)
class Equation:
    """``target[axes] = value`` for every value of the target's axes."""

    target: Tensor
    value: Expr

    def __post_init__(self) -> None:
        if isinstance(self.value, Tensor):
            raise TypeError(
                f"equation of {self.target.name}: {self.value.name} stands without indices; read it at its axes, "
                f"{self.value.name}[{', '.join(index.name for index in self.value.axes)}]"
            )
        value = sympify(self.value)
        if not isinstance(value, Expr):
            raise TypeError(f"equation of {self.target.name}: {value!r} is no number; choose one with Select(...)")
        object.__setattr__(self, "value", value)


@lru_cache(maxsize=1 << 14)
def walk(node: Basic) -> tuple[Basic, ...]:
    """The distinct nodes of a tree, parents first, in a fixed order; that of ``atoms`` changes with the hash seed."""
    found: dict[Basic, None] = {}
    pending = [node]
    while pending:
        part = pending.pop()
        if part not in found:
            found[part] = None
            pending += reversed(part.args)
    return tuple(found)


@lru_cache(maxsize=1 << 14)
def reads(node: Basic) -> tuple[Read, ...]:
    """The distinct tensor reads of an expression, sorted by their text."""
    return tuple(sorted((n for n in walk(node) if isinstance(n, Read)), key=text_of))


@lru_cache(maxsize=1 << 16)
def text_of(node: Basic) -> str:
    """An expression as SymPy prints it; the key by which expressions are sorted."""
    return str(node)


@lru_cache(maxsize=1 << 14)
def _free_indices(node: Basic) -> frozenset[Index]:
    """The indices of an expression that no reduction binds."""
    return frozenset(symbol for symbol in node.free_symbols if isinstance(symbol, Index))


@lru_cache(maxsize=1 << 14)
def symbols_of(node: Basic) -> tuple[Symbol, ...]:
    """The distinct symbols of an expression except indices and extents of reads, sorted by name."""
    found: set[Symbol] = set()

    def visit(part: Basic) -> None:
        if isinstance(part, Read):
            for index in part.indices:
                visit(index)
        elif isinstance(part, Symbol):
            found.add(part)
        else:
            for child in part.args:
                visit(child)

    visit(node)
    return tuple(sorted((s for s in found if not isinstance(s, Index)), key=lambda s: s.name))


@dataclass(frozen=True)
class Layer:
    """A set of equations, in an order in which each can be computed from the inputs and the equations before it.

    Attributes:
        name: name of the layer, an identifier.
        inputs: tensors that are given.
        equations: one per intermediate or output tensor.
        outputs: names of the tensors that are results.

    Raises:
        ValueError: an equation reads what is not defined before it or has a free index that its target lacks, or two
            symbols of one name differ in their assumptions.
    """

    name: str
    inputs: tuple[Tensor, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        self._check_parts()
        known = {tensor.name: tensor for tensor in self.inputs}
        if len(known) != len(self.inputs):
            raise ValueError(f"layer {self.name}: two inputs share a name; rename one")
        for equation in self.equations:
            self._check(equation, known)
            known[equation.target.name] = equation.target
        for output in self.outputs:
            if output not in known:
                raise ValueError(f"layer {self.name}: output {output!r} has no equation; add one or drop it")
        self._check_symbols()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the fields, without what was found out about them."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def _check_parts(self) -> None:
        """Refuse arguments that are no tuple of tensors, of equations, of names."""
        for what, parts, kind, example in (
            ("inputs", self.inputs, Tensor, "(x,)"),
            ("equations", self.equations, Equation, "(Equation(y, ...),)"),
            ("outputs", self.outputs, str, '("output",)'),
        ):
            if not isinstance(parts, tuple) or not all(isinstance(part, kind) for part in parts):
                raise TypeError(
                    f"layer {self.name}: {what} must be a tuple of {kind.__name__}, as in {example}; it is {parts!r}"
                )
        if self.equations and not self.outputs:  # the adjoint of positions has neither
            raise ValueError(f"layer {self.name}: it has no output; name at least one")

    def _check(self, equation: Equation, known: dict[str, Tensor]) -> None:
        target = equation.target
        where = f"layer {self.name}, equation of {target.name}"
        if target.name in known:
            raise ValueError(f"{where}: the tensor is defined twice; rename one")
        for read in reads(equation.value):
            if read.tensor not in known:
                raise ValueError(f"{where}: it reads {read.tensor!r}, which is neither an input nor defined before it")
            if len(known[read.tensor].axes) != len(read.indices):
                raise ValueError(f"{where}: {read} has another number of indices than the tensor has axes")
        free = _free_indices(equation.value) - set(target.axes)
        if free:
            names = ", ".join(sorted(s.name for s in free))
            raise ValueError(f"{where}: index {names} is neither an axis of {target.name} nor summed; add it or sum")
        for node in walk(equation.value):
            if isinstance(node, Reduction) and set(node.indices) & set(target.axes):
                raise ValueError(f"{where}: {node} reduces over an axis of its own target; use axis.twin(...)")
        named: dict[str, Index] = {}
        for index in (*target.axes, *(node for node in walk(equation.value) if isinstance(node, Index))):
            if named.setdefault(index.name, index) != index:
                raise ValueError(f"{where}: two axes named {index.name!r} differ in extent; rename one")

    def _check_symbols(self) -> None:
        seen: dict[str, Symbol] = {}
        for equation in self.equations:
            for symbol in symbols_of(equation.value):
                if seen.setdefault(symbol.name, symbol) != symbol:
                    raise ValueError(
                        f"layer {self.name}: two symbols named {symbol.name!r} differ in their assumptions; "
                        "make each parameter once"
                    )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name: inputs, intermediates, outputs."""
        return {t.name: t for t in (*self.inputs, *(e.target for e in self.equations))}

    @cached_property
    def parameters(self) -> tuple[Symbol, ...]:
        """Scalar parameters: symbols that are neither indices nor extents of axes, sorted by name."""
        extents = {s for t in self.tensors.values() for i in t.axes for s in i.extent.free_symbols}
        for equation in self.equations:
            for node in walk(equation.value):
                if isinstance(node, Reduction):
                    extents |= {s for index in node.indices for s in index.extent.free_symbols}
        found = {s for e in self.equations for s in symbols_of(e.value)}
        return tuple(sorted(found - extents, key=lambda s: s.name))

    def only(self, outputs: Iterable[str], name: str | None = None) -> Layer:
        """The same layer with fewer results and without the equations and inputs that these do not need."""
        wanted = tuple(outputs)
        needed = set(wanted)
        kept: list[Equation] = []
        for equation in reversed(self.equations):
            if equation.target.name in needed:
                kept.append(equation)
                needed |= {read.tensor for read in reads(equation.value)}
        inputs = tuple(t for t in self.inputs if t.name in needed)
        return Layer(name or self.name, inputs, tuple(reversed(kept)), wanted)

    def given(self, tensors: Iterable[str]) -> Layer:
        """The same layer with some intermediates given as inputs instead of computed."""
        names = set(tensors)
        moved = tuple(e.target for e in self.equations if e.target.name in names)
        rest = tuple(e for e in self.equations if e.target.name not in names)
        return Layer(self.name, self.inputs + moved, rest, self.outputs).only(self.outputs)
