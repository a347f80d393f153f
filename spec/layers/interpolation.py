"""Resampling along spatial axes: the element nearest to each place, or the two around it, weighted by how near they are.

Places are ratios of whole numbers, so that which elements are read is decided without rounding. Output ``p`` lies at
``step p / parts`` elements of the input; ``step / parts`` is the ratio of the input's extent to the output's, or the
reciprocal of a scale factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import mul

from sympy import Eq, Expr, Ge, Integer, Le, Lt, Symbol, expand
from sympy.logic.boolalg import Or

from svertka.spec.definition import Definition, Flag, PerAxis, Rule, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers.windows import names, spatial_windows
from svertka.spec.notation import FloorDiv, Index, Select, Sum, Tensor, axis, boolean, integer

__all__ = ["DEFINITIONS"]

n = axis("n", "examples", batch=True)
c = axis("c", "channels")
exact, align_corners = boolean("exact"), boolean("align_corners")


@dataclass(frozen=True)
class _Axis:
    """One axis.

    Attributes:
        input, output, tap: indices along the input, along the output, and of the elements that an output reads.
    """

    input: Index
    output: Index
    tap: Index

    @property
    def step(self) -> Symbol:
        """From one output to the next, in parts of an element of the input."""
        return integer(f"step_{self.input.name}", positive=True)

    @property
    def parts(self) -> Symbol:
        """Number of parts of an element."""
        return integer(f"parts_{self.input.name}", positive=True)

    @property
    def nearest(self) -> Expr:
        """The element in which an output begins, or with ``exact`` the one in which its middle lies."""
        return FloorDiv(2 * self.step * self.output + exact * self.step, 2 * self.parts)

    @property
    def place(self) -> Expr:
        """Where an output lies, in halves of parts and from one element before the first: never negative.

        With ``align_corners`` the first elements of input and output have the same place, else the middles that are half a
        step and half an element behind.
        """
        shift = (1 - align_corners) * (self.step - self.parts)
        return expand(2 * self.step * self.output + shift + 2 * self.parts)

    @property
    def before(self) -> Expr:
        """The element before the place, or at it; -1 before the first."""
        return FloorDiv(self.place, 2 * self.parts) - 1

    @property
    def weight(self) -> Expr:
        """Weight of an element: how near the place is. Before the first element and behind the last it is 1."""
        behind = self.place - 2 * self.parts * (self.before + 1)
        near = Select(Eq(self.tap, 0), 2 * self.parts - behind, behind) / (2 * self.parts)
        return Select(Or(Lt(self.before, 0), Ge(self.before, self.input.extent - 1)), 1, near)

    @property
    def countable(self) -> Rule:
        """The rule that places fit into 32 bits."""
        return Rule(
            Le((self.step + self.parts) * (self.output.extent + 1), 2**29),
            "size",
            f"such that (step + parts) * (output {self.input.meaning} + 1) is at most 2**29",
            "interpolate in steps or in pieces",
        )

    @property
    def filled(self) -> Rule:
        """The rule that there is an element to read."""
        meaning = self.input.meaning
        return Rule(Ge(self.input.extent, 1), "input", f"of positive {meaning}", "leave empty inputs out")


def _axes(rank: int) -> tuple[_Axis, ...]:
    return tuple(_Axis(window.input, window.output, window.kernel) for window in spatial_windows(rank))


def _layer(name: str, axes: tuple[_Axis, ...], places: tuple[Expr, ...], weight: Expr) -> Layer:
    x = Tensor("input", n, c, *(one.input for one in axes))
    y = Tensor("output", n, c, *(one.output for one in axes))
    element = x[(n, c, *(place + one.tap for place, one in zip(places, axes, strict=True)))]
    value = Sum(element * weight, *(one.tap for one in axes))
    return Layer(name, (x,), (Equation(y, value),), ("output",))


def _nearest(rank: int) -> Layer:
    axes = _axes(rank)
    return _layer(f"nearest_interpolation_{rank}d", axes, tuple(one.nearest for one in axes), Integer(1))


def _linear(rank: int) -> Layer:
    axes = _axes(rank)
    weight = reduce(mul, (one.weight for one in axes))
    return _layer(f"linear_interpolation_{rank}d", axes, tuple(one.before for one in axes), weight)


def _definition(layer: Layer, rank: int, title: str, taps: int, flag: Flag) -> Definition:
    axes = _axes(rank)
    word = layer.name.partition("_")[0]
    return Definition(
        name=layer.name,
        title=f"{title} {rank} spatial axes.",
        source="torch.nn.functional.interpolate",
        variants=(Variant(layer),),
        function=f"interpolate_{word}{rank}d",
        arguments=(
            TensorArgument(name="input"),
            PerAxis(name="size", symbols=names(one.output for one in axes)),
            PerAxis(name="step", symbols=names(one.step for one in axes)),
            PerAxis(name="parts", symbols=names(one.parts for one in axes)),
            flag,
        ),
        extents={one.tap.extent.name: Integer(taps) for one in axes},
        rules=(*(one.filled for one in axes), *(one.countable for one in axes)),
    )


NEAREST = "Interpolation by the nearest element, over"
LINEAR = "Linear interpolation between the elements around each place, over"
RANKS = (2,)
DEFINITIONS = (
    *(_definition(_nearest(k), k, NEAREST, 1, Flag(name="exact", default=False, symbol="exact")) for k in RANKS),
    *(
        _definition(_linear(k), k, LINEAR, 2, Flag(name="align_corners", default=False, symbol="align_corners"))
        for k in RANKS
    ),
)
