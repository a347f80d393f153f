"""Index notation: axes, tensors, reductions and the few functions that SymPy lacks or defines differently.

A layer is written as equations over named axes, as on a slide::

    n, k, c, h, w, p, q, r, s = axes("n k c h w p q r s")
    output[n, k, p, q] = Sum(image[n, c, p + r, q + s] * kernel[k, c, r, s], c, r, s)

Three rules make the notation exact:

* A reduction runs over the index values for which every tensor read in its body lies inside its tensor. Padding is
  therefore absent: it adds nothing to a sum and is never the maximum.
* A read outside its tensor, in no reduction, has the value 0.
* Reductions, selections and comparisons are node types of svertka. SymPy never rewrites them, so that relu'(0), ties
  and NaN follow the conventions stated here and not SymPy's defaults.

Input: Python expressions in a layer's file. Output: ``Tensor``s; ``Read`` and ``Reduction`` nodes.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from sympy import Expr, Integer, Symbol, Tuple, sympify
from sympy.core.symbol import Str
from sympy.logic.boolalg import Boolean, BooleanFunction, true

from svertka.spec.functions import FloorDiv, Select, Uniform, maximum, minimum, sigmoid, softplus

__all__ = [
    "ArgMax",
    "Divides",
    "FloorDiv",
    "InRange",
    "Index",
    "Max",
    "Prod",
    "Read",
    "Reduction",
    "Select",
    "Sum",
    "Tensor",
    "Uniform",
    "axes",
    "axis",
    "boolean",
    "inside",
    "integer",
    "maximum",
    "minimum",
    "number",
    "sigmoid",
    "softplus",
]


class Index(Symbol):  # type: ignore[misc]
    """A named axis used as an index; it runs over ``0 <= index < extent``.

    Attributes:
        extent: the number of index values, a non-negative integer expression.
        many: whether the axis stands for any number of adjacent tensor dimensions, flattened.
        batch: whether the axis counts independent examples: no bound of its extent is assumed.
        meaning: what the axis counts, for error messages.
    """

    __slots__ = ("_size", "batch", "extent", "many", "meaning")

    def __new__(cls, name: str, extent: Expr, many: bool = False, batch: bool = False, meaning: str = "") -> Index:
        """Make the node."""
        index: Index = Symbol.__xnew__(cls, name, integer=True, nonnegative=True)
        index.extent = extent
        index._size = str(extent)  # comparing indices takes most of the time of a derivation
        index.many = many
        index.batch = batch
        index.meaning = meaning or name
        return index

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.name, self.extent, self.many, self.batch, self.meaning), {}

    def _hashable_content(self) -> tuple[Any, ...]:
        content: tuple[Any, ...] = Symbol._hashable_content(self)
        return (*content, self._size, self.many, self.batch)

    def twin(self, name: str) -> Index:
        """Another index over the same axis, for a reduction beside a free index."""
        return Index(_checked(name), self.extent, self.many, self.batch, self.meaning)


def _checked(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(
            f"name {name!r}: a name in a formula must be a Python identifier, not a keyword, and must not "
            "start with an underscore; rename it"
        )
    return name


def axis(name: str, meaning: str = "", *, many: bool = False, batch: bool = False) -> Index:
    """An axis with an extent of its own, named by the same name in capitals.

    Args:
        name: the index's name, for example ``"h"``; its extent is then the symbol ``H``.
        meaning: what the axis counts, for error messages.
        many: whether it stands for any number of adjacent tensor dimensions, flattened.
        batch: whether it counts independent examples.

    Raises:
        ValueError: the name is no identifier, or has no lower-case form distinct from its extent.
    """
    _checked(name)
    if name == name.upper():
        raise ValueError(f"name {name!r}: an axis is named in lower case, its extent in capitals; use {name.lower()!r}")
    return Index(name, Symbol(name.upper(), integer=True, nonnegative=True), many, batch, meaning)


def axes(names: str) -> tuple[Index, ...]:
    """Several axes at once, named by the words of ``names``."""
    return tuple(axis(name) for name in names.split())


def integer(name: str, *, positive: bool = False) -> Symbol:
    """An integer parameter (stride, padding, ...); it is a compile-time constant of the kernels."""
    return Symbol(_checked(name), integer=True, **({"positive": True} if positive else {}))


def number(name: str, *, positive: bool = False) -> Symbol:
    """A real parameter (epsilon, momentum, probability, ...)."""
    return Symbol(_checked(name), real=True, **({"positive": True} if positive else {}))


def boolean(name: str) -> Symbol:
    """A parameter that is 0 or 1 and switches a term on."""
    return Symbol(_checked(name), integer=True, nonnegative=True)


class Read(Expr):  # type: ignore[misc]
    """The element of a tensor at some indices: ``Read(name, kind, indices, extents)``."""

    is_commutative = True
    is_real = True

    def __new__(cls, name: Str, kind: Str, indices: Tuple, extents: Tuple) -> Read:
        """Make the node."""
        node: Read = Expr.__new__(cls, name, kind, indices, extents)
        return node

    @property
    def tensor(self) -> str:
        """Name of the tensor that is read."""
        return str(self.args[0].name)

    @property
    def indices(self) -> tuple[Expr, ...]:
        """Index expressions, one per axis."""
        return tuple(self.args[2])

    @property
    def extents(self) -> tuple[Expr, ...]:
        """Extents of the tensor, one per axis."""
        return tuple(self.args[3])

    def _eval_is_integer(self) -> bool | None:
        return True if self.args[1].name == "integer" else None

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        return Integer(0)

    def _sympystr(self, printer: Any) -> str:
        return f"{self.tensor}[{', '.join(printer._print(index) for index in self.indices)}]"


@dataclass(frozen=True)
class Tensor:
    """A tensor over axes.

    Attributes:
        name: its name in formulas, kernels and error messages.
        dims: one entry per tensor dimension, the axes whose product it is: ``(g, c)`` for g groups of c.
        kind: ``"real"`` or ``"integer"`` (labels and window positions).
        default: its value when the tensor is not given (0 for a bias); None if it must be given.
        above, below: bounds of the elements that a real tensor may have, themselves excluded; None for no bound. Calls
            do not check them: the formula need not have a value, or a gradient, outside.
    """

    name: str
    dims: tuple[tuple[Index, ...], ...]
    kind: str = "real"
    default: Expr | None = None
    above: float | None = None
    below: float | None = None

    def __init__(
        self,
        name: str,
        *dims: Index | tuple[Index, ...],
        kind: str = "real",
        default: Any = None,
        above: float | None = None,
        below: float | None = None,
    ) -> None:
        object.__setattr__(self, "name", _checked(name))
        object.__setattr__(self, "dims", tuple(d if isinstance(d, tuple) else (d,) for d in dims))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "default", None if default is None else sympify(default))
        object.__setattr__(self, "above", None if above is None else float(above))
        object.__setattr__(self, "below", None if below is None else float(below))
        self._check_bounds()
        if len(set(self.axes)) != len(self.axes):
            raise ValueError(
                f"tensor {name!r}: axes {self.axes} repeat; a tensor's axes must differ, use axis.twin(...)"
            )

    def _check_bounds(self) -> None:
        bounds = [bound for bound in (self.above, self.below) if bound is not None]
        if bounds and self.kind != "real":
            raise ValueError(
                f"tensor {self.name!r}: above and below are for real tensors, it is {self.kind}; drop them"
            )
        if not all(map(isfinite, bounds)) or bounds != sorted(set(bounds)):
            raise ValueError(
                f"tensor {self.name!r}: above={self.above}, below={self.below} must be finite, above less than below; "
                "leave a bound out where there is none"
            )

    def like(self, name: str = "", dims: Iterable[Index | tuple[Index, ...]] | None = None) -> Tensor:
        """The tensor under another name, or over other axes."""
        return Tensor(
            name or self.name,
            *(self.dims if dims is None else dims),
            kind=self.kind,
            default=self.default,
            above=self.above,
            below=self.below,
        )

    __iter__ = None  # a tensor has no iterator; Python would index it from 0 without end

    @property
    def axes(self) -> tuple[Index, ...]:
        """All axes in memory order of a contiguous tensor."""
        return tuple(index for dim in self.dims for index in dim)

    def __getitem__(self, indices: Any) -> Read:
        indices = indices if isinstance(indices, tuple) else (indices,)
        if len(indices) != len(self.axes):
            raise ValueError(
                f"tensor {self.name!r}: read with {len(indices)} indices {indices}, but it has "
                f"{len(self.axes)} axes {self.axes}; give one index an axis"
            )
        extents = Tuple(*(index.extent for index in self.axes))
        return Read(Str(self.name), Str(self.kind), Tuple(*map(sympify, indices)), extents)


class Reduction(Expr):  # type: ignore[misc]
    """``Reduction(operation, body, guard, indices)``: over all index values that satisfy the guard."""

    is_commutative = True
    is_real = True

    def __new__(cls, operation: Str, body: Expr, guard: Boolean, indices: Tuple) -> Reduction:
        """Make the node."""
        node: Reduction = Expr.__new__(cls, operation, body, guard, indices)
        return node

    @property
    def operation(self) -> str:
        """``"sum"``, ``"product"``, ``"max"`` or ``"argmax"``."""
        return str(self.args[0].name)

    @property
    def body(self) -> Expr:
        """What is reduced."""
        return self.args[1]

    @property
    def guard(self) -> Boolean:
        """Condition under which an element is included."""
        return self.args[2]

    @property
    def indices(self) -> tuple[Index, ...]:
        """The bound indices, slowest first."""
        return tuple(self.args[3])

    @property
    def free_symbols(self) -> set[Symbol]:
        """Symbols of body and guard except the bound indices."""
        free: set[Symbol] = (self.body.free_symbols | self.guard.free_symbols) - set(self.indices)
        return free

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        raise TypeError("a reduction is differentiated by svertka.spec.adjoint, never by SymPy")

    def _sympystr(self, printer: Any) -> str:
        bound = ", ".join(index.name for index in self.indices)
        where = "" if self.guard == true else f" | {printer._print(self.guard)}"
        return f"{self.operation}({bound}{where}: {printer._print(self.body)})"


def _reduction(operation: str, body: Any, indices: tuple[Any, ...], where: Any) -> Reduction:
    if not indices:
        raise ValueError(f"{operation} of {body}: no index to reduce over; name at least one axis")
    for index in indices:
        if not isinstance(index, Index):
            raise TypeError(f"{operation}: {index!r} is not an axis; make it with axis(...)")
    guard = sympify(where)
    if not isinstance(guard, Boolean):
        raise TypeError(f"{operation}: where={guard} is no condition; compare, as in where={indices[0]} <= ...")
    return Reduction(Str(operation), sympify(body), guard, Tuple(*indices))


def Sum(body: Any, *indices: Index, where: Any = True) -> Reduction:  # noqa: N802 - stands for the letter Σ
    """Sum of ``body`` over ``indices``, restricted to reads inside their tensors and to ``where``."""
    return _reduction("sum", body, indices, where)


def Prod(body: Any, *indices: Index, where: Any = True) -> Reduction:  # noqa: N802 - stands for the letter Π
    """Product of ``body`` over one index, restricted as a sum is; 1 over an empty range.

    Raises:
        ValueError: there are several indices.
    """
    if len(indices) > 1:
        named = ", ".join(str(index) for index in indices)
        inner = f"Prod(..., {indices[-1]})"
        raise ValueError(f"product over {named}: a product has one index; nest them, Prod({inner}, {indices[0]})")
    return _reduction("product", body, indices, where)


def Max(body: Any, *indices: Index, where: Any = True) -> Reduction:  # noqa: N802
    """Largest value of ``body`` over ``indices``; NaN if any value is NaN; minus infinity over an empty range."""
    return _reduction("max", body, indices, where)


def ArgMax(body: Any, *indices: Index, where: Any = True) -> Reduction:  # noqa: N802
    """Position of the first maximal element, or of the last NaN if there is one, in row-major order of ``indices``."""
    return _reduction("argmax", body, indices, where)


class InRange(BooleanFunction):  # type: ignore[misc]
    """``InRange(e, extent)``: 0 <= e < extent; true at construction if e is an index with that extent."""

    nargs = 2

    @classmethod
    def eval(cls, expression: Expr, extent: Expr) -> Boolean | None:
        """Evaluate numbers, and an index within its own extent."""
        if isinstance(expression, Index) and expression.extent == extent:
            return true
        if expression.is_Integer and extent.is_Integer:
            return sympify(0 <= int(expression) < int(extent))
        return None

    def _sympystr(self, printer: Any) -> str:
        return f"0 <= {printer._print(self.args[0])} < {printer._print(self.args[1])}"


class Divides(BooleanFunction):  # type: ignore[misc]
    """``Divides(d, e)``: e is a multiple of d."""

    nargs = 2

    @classmethod
    def eval(cls, divisor: Expr, expression: Expr) -> Boolean | None:
        """Evaluate numbers and the divisor 1."""
        if divisor == 1:
            return true
        if divisor.is_Integer and expression.is_Integer:
            return sympify(int(expression) % int(divisor) == 0)
        return None

    def _sympystr(self, printer: Any) -> str:
        return f"{printer._print(self.args[0])} divides {printer._print(self.args[1])}"


def inside(expression: Any, extent: Any) -> Boolean:
    """The condition 0 <= expression < extent, for ``where=``."""
    return InRange(sympify(expression), sympify(extent))
