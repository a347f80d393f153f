"""Resampling along spatial axes: the element nearest to each place, or the two around it, weighted by their nearness.

Places are ratios of whole numbers, so that which elements are read is decided without rounding. Output ``p`` lies at
``(step p + lead) / parts`` elements of the input; ``step / parts`` is the ratio of the input's extent to the output's,
or the reciprocal of a scale factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import mul

from sympy import Eq, Expr, Ge, Integer, Le, Lt, Symbol
from sympy.logic.boolalg import Or

from svertka.spec.definition import (
    Choice,
    Definition,
    Facade,
    ModuleFace,
    PerAxis,
    Rule,
    Setting,
    TensorArgument,
    Variant,
)
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers.windows import names, spatial_windows
from svertka.spec.notation import FloorDiv, Index, Select, Sum, Tensor, axis, integer

__all__ = ["DEFINITIONS"]

n = axis("n", "examples", batch=True)
c = axis("c", "channels")


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
    def lead(self) -> Symbol:
        """Where the first output lies, in parts; for linear weights from one element before the first, not below 0."""
        return Symbol(f"lead_{self.input.name}", integer=True, nonnegative=True)  # see ``minimum`` of the argument

    @property
    def place(self) -> Expr:
        """Where an output lies, in parts."""
        return self.step * self.output + self.lead

    @property
    def nearest(self) -> Expr:
        """The element in which an output lies."""
        return FloorDiv(self.place, self.parts)

    @property
    def before(self) -> Expr:
        """The element before the place, or at it; -1 before the first."""
        return FloorDiv(self.place, self.parts) - 1

    @property
    def weight(self) -> Expr:
        """Weight of an element: how near the place is. Before the first element and behind the last it is 1."""
        behind = self.place - self.parts * (self.before + 1)
        near = Select(Eq(self.tap, 0), self.parts - behind, behind) / self.parts
        return Select(Or(Lt(self.before, 0), Ge(self.before, self.input.extent - 1)), 1, near)

    @property
    def countable(self) -> Rule:
        """The rule that places fit into 32 bits."""
        last = self.step * (self.output.extent + 1) + self.lead
        return Rule(
            Le(last + self.parts * (self.input.extent + 2), 2**30),
            "size",
            f"such that {self.input.meaning} before times {self.input.meaning} after is at most about 2**28",
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


def _definition(layer: Layer, rank: int, title: str, taps: int, facades: tuple[Facade, ...]) -> Definition:
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
            PerAxis(name="lead", symbols=names(one.lead for one in axes), minimum=0),
            PerAxis(name="parts", symbols=names(one.parts for one in axes)),
        ),
        extents={one.tap.extent.name: Integer(taps) for one in axes},
        rules=(*(one.filled for one in axes), *(one.countable for one in axes)),
        facades=facades,
    )


MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "area")
BODY = """
real_tensor("input", input)
choice("mode", mode, MODES)
if antialias:
    remedy = "call resize(input, size), or torch.nn.functional.interpolate"
    raise invalid("antialias", antialias, "must be False, the formula has no antialiasing", remedy)
axes, linear = input.dim() - 2, mode.endswith("linear")
if not 1 <= axes <= 3:
    rule = "must have 3 to 5 dimensions, (examples, channels, *extents)"
    raise invalid("input.shape", input.shape, rule, "reshape input")
if linear and mode != ("linear", "bilinear", "trilinear")[axes - 1]:
    rule = f"must be for an input of {axes + 2} dimensions"
    raise invalid("mode", mode, rule, "pass 'linear', 'bilinear' or 'trilinear' for 3, 4 or 5")
if align_corners is not None and not linear:
    raise invalid("align_corners", align_corners, f"must be None in mode {mode!r}", "leave it out")
if (size is None) == (scale_factor is None):
    raise invalid("size", size, f"is for calls without scale_factor, which is {scale_factor}", "give one of the two")
if size is not None and recompute_scale_factor:
    raise invalid("recompute_scale_factor", True, "is for calls with scale_factor", "leave it out")
extents = tuple(input.shape[2:])
if 0 in extents:
    raise invalid("input.shape", input.shape, "must have positive extents", "leave empty inputs out")
factors = ratios("scale_factor", scale_factor, axes)
if size is None:
    told = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor or 0.0,) * axes
    size = tuple(math.floor(extent * float(factor)) for extent, factor in zip(extents, told, strict=True))
sizes = per_axis("size", size, axes, 1)
if mode == "area":
    return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[axes - 1](input, sizes)
pairs = list(zip(extents, sizes, strict=True))
if align_corners:
    places = [reduced(e - 1, s - 1) if e > 1 and s > 1 else (1, s) for e, s in pairs]
elif factors and not recompute_scale_factor:
    doubled = mode == "nearest" and axes == 2  # as torch: what keeps its extent, or doubles it, is not resampled
    kept = linear or doubled
    places = [
        (1, 1)
        if kept and b < a < 2 * b and e * (a - b) < b
        else (1, 2)
        if doubled and 2 * b < a < 3 * b and e * (a - 2 * b) < b
        else (b, a)
        for e, (a, b) in zip(extents, factors, strict=True)
    ]
else:
    places = [reduced(*pair) for pair in pairs]
if axes == 1:
    input, sizes, places = input.unsqueeze(2), (1, *sizes), [(1, 1), *places]
step, parts = [2 * above for above, _ in places], [2 * below for _, below in places]
if linear:
    lead = parts if align_corners else [above + below for above, below in places]
    output = (interpolate_linear3d if axes == 3 else interpolate_linear2d)(input, sizes, step, lead, parts)
else:
    lead = [above if mode == "nearest-exact" else 0 for above, _ in places]
    output = (interpolate_nearest3d if axes == 3 else interpolate_nearest2d)(input, sizes, step, lead, parts)
return output.squeeze(2) if axes == 1 else output
"""
"""Torch's spelling of what to compute: from a size or a factor to places."""


def _face(name: str) -> ModuleFace:
    return ModuleFace(name, base=f"torch.nn.{name}", call={"antialias": "False"})


INTERPOLATE = Facade(
    function="interpolate",
    title="Interpolation to another size, as torch.nn.functional.interpolate.",
    source="torch.nn.functional.interpolate",
    arguments=(
        TensorArgument(name="input"),
        Setting(
            name="size",
            default=None,
            annotation="int | Sequence[int] | None",
            meaning="extents of the output, one for all axes or one an axis; None with scale_factor.",
        ),
        Setting(
            name="scale_factor",
            default=None,
            annotation="float | Sequence[float] | None",
            meaning="by what the input's extents are multiplied, one for all axes or one an axis: a ratio of whole "
            "numbers, to 24 bits, of which the lower is at most 1024; None with size.",
            check="ratios",
        ),
        Choice(name="mode", default="nearest", choices=MODES),
        Setting(
            name="align_corners",
            default=None,
            annotation="bool | None",
            meaning="in linear modes, whether the first elements of input and output have the same place, as the last.",
        ),
        Setting(
            name="recompute_scale_factor",
            default=None,
            annotation="bool | None",
            meaning="whether places follow from the ratio of the extents where scale_factor is given.",
        ),
        Setting(name="antialias", default=False, annotation="bool", meaning="must be False."),
    ),
    shape="(examples, channels, *extents) with one to three extents",
    calls=(
        "interpolate_nearest2d",
        "interpolate_nearest3d",
        "interpolate_linear2d",
        "interpolate_linear3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
    ),
    helpers=("choice", "invalid", "per_axis", "ratios", "real_tensor", "reduced"),
    body=tuple(BODY.replace("MODES", repr(MODES)).strip().splitlines()),
    modules=(_face("Upsample"), _face("UpsamplingNearest2d"), _face("UpsamplingBilinear2d")),
)
NEAREST = "Interpolation by the nearest element, over"
LINEAR = "Linear interpolation between the elements around each place, over"
RANKS = (2, 3)
DEFINITIONS = (
    *(_definition(_nearest(rank), rank, NEAREST, 1, (INTERPOLATE,)) for rank in RANKS),
    *(_definition(_linear(rank), rank, LINEAR, 2, ()) for rank in RANKS),
)
