"""The input layer, slide 2: a photograph of any size becomes 224 x 224, zero-centred or standardised.

Resizing is two weighted sums, one per axis. The weights are triangles around the output pixel's centre, in coordinates
of the input (half-pixel centres). With ``antialias`` a triangle is as wide as the reduction factor, so that every pixel
counts. A sum runs over the window of the pixels that the triangle covers and leaves out those whose weight is 0: a NaN
pixel changes only results in which its weight is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Abs, Expr, Ge, Gt, Le, Rational, Symbol

from svertka.spec.definition import Definition, Flag, ModuleFace, PerAxis, Rule, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import FloorDiv, Index, Select, Sum, Tensor, axis, boolean, inside, integer, maximum
from svertka.spec.rewrite import substitute

__all__ = ["DEFINITIONS"]

n = axis("n", "images", batch=True)
c = axis("c", "channels")
h, w = axis("h", "height"), axis("w", "width")
p, q = axis("p", "output height"), axis("q", "output width")
m = axis("m", "pixels", many=True)
x, y = Tensor("input", n, c, h, w), Tensor("output", n, c, p, q)
u, v = axis("u", "rows of a window"), axis("v", "columns of a window")
vertical, horizontal = Tensor("vertical", p, u), Tensor("horizontal", q, v)
wide, resized = Tensor("wide", n, c, h, q), Tensor("resized", n, c, p, q)
mean, std = Tensor("mean", c, default=0), Tensor("std", c, default=1, above=0)
antialias, crop = boolean("antialias"), boolean("crop")
scaled_h, scaled_w = integer("scaled_h", positive=True), integer("scaled_w", positive=True)
top, left = (Symbol(name, integer=True, nonnegative=True) for name in ("top", "left"))  # a crop lies inside


@dataclass(frozen=True)
class _Resized:
    """One axis resized.

    Attributes:
        output: place along the resized axis.
        index: along the input.
        extent: of the resized axis.
        window: index within the window of an output pixel.
    """

    output: Expr
    index: Index
    extent: Expr
    window: Index

    @property
    def reach(self) -> Expr:
        """Half of the triangle's width, in pixels of the input times ``extent``."""
        shrunk = antialias * self.index.extent
        return Select(Gt(shrunk, self.extent), shrunk, self.extent)

    @property
    def place(self) -> Expr:
        """A pixel of the window; the last one is the last whose centre lies within the triangle."""
        last = FloorDiv(self.centre + 2 * self.reach - self.extent - 1, 2 * self.extent)
        return last + 1 - self.window.extent + self.window

    @property
    def centre(self) -> Expr:
        """The output pixel's centre in the input, times ``2 * extent``."""
        return (2 * self.output + 1) * self.index.extent

    def triangle(self, window: Index) -> Expr:
        """Weight of a pixel before it is divided by the sum of all."""
        scale = self.index.extent / self.extent
        support = maximum(antialias * scale, 1)
        place = substitute(self.place, {self.window: window})
        return maximum(0, 1 - Abs(place + Rational(1, 2) - (self.output + Rational(1, 2)) * scale) / support)

    def weights(self, target: Tensor) -> Equation:
        """The triangles, each divided by its sum over the pixels there are."""
        twin = self.window.twin("i")
        within = inside(substitute(self.place, {self.window: twin}), self.index.extent)
        return Equation(target, self.triangle(self.window) / Sum(self.triangle(twin), twin, where=within))

    def sum(self, element: Expr, weights: Tensor) -> Expr:
        """The weighted sum over the pixels whose weight is not 0."""
        # In whole numbers: whether a pixel is covered is decided without rounding.
        covered = Gt((2 * self.place + 1) * self.extent + 2 * self.reach, self.centre)
        return Sum(Select(covered, element * weights[weights.axes], 0), self.window)


def _resizing(rows: _Resized, columns: _Resized, target: Tensor) -> tuple[Equation, ...]:
    """First along the width, then along the height."""
    return (
        columns.weights(horizontal),
        rows.weights(vertical),
        Equation(wide, columns.sum(x[n, c, h, columns.place], horizontal)),
        Equation(target, rows.sum(wide[n, c, rows.place, q], vertical)),
    )


def _middle(inner: Expr, outer: Expr) -> Expr:
    """Index at which the middle piece begins: half of what is cut, rounded to even as in torchvision."""
    cut = outer - inner
    half = FloorDiv(cut, 2)
    return FloorDiv(cut + half - 2 * FloorDiv(half, 2), 2)


RESIZE = Layer(
    "resize",
    (x,),
    _resizing(_Resized(p, h, p.extent, u), _Resized(q, w, q.extent, v), y),
    ("output",),
)
CENTER_CROP = Layer(
    "center_crop",
    (x,),
    (Equation(y, x[n, c, top + p, left + q]),),
    ("output",),
)
pixel, normalised = Tensor("input", n, c, m), Tensor("output", n, c, m)
NORMALIZE = Layer(
    "normalize",
    (pixel, mean, std),
    (Equation(normalised, (pixel[n, c, m] - mean[c]) / std[c]),),
    ("output",),
)
# Resizing to scaled_h x scaled_w and cropping the middle; pixels outside the crop are not computed.
IMAGE_INPUT = Layer(
    "image_input",
    (x, mean, std),
    (
        *_resizing(_Resized(top + p, h, scaled_h, u), _Resized(left + q, w, scaled_w, v), resized),
        Equation(y, (resized[n, c, p, q] - mean[c]) / std[c]),
    ),
    ("output",),
)


def _covering(output: Index, index: Index, other_output: Index, other: Index) -> Expr:
    """With ``crop`` the smallest extent that covers the output with the proportions kept; else the output's extent."""
    return maximum(output.extent, crop * FloorDiv(index.extent * other_output.extent, other.extent))


def _taps(index: Index, extent: Expr) -> Expr:
    """Maximum number of pixels that a triangle covers when an axis is resized."""
    return FloorDiv(2 * maximum(antialias * index.extent, extent) + extent - 1, extent)


def _countable(index: Index, extent: Expr) -> Rule:
    """The rule that positions of pixels fit into 32 bits."""
    return Rule(
        Le(index.extent * extent, 2**29),
        "size",
        f"such that {index.meaning} before times {index.meaning} after is at most 2**29",
        "resize in steps or in pieces",
    )


def _not_larger(output: Symbol, extent: Symbol, meaning: str) -> Rule:
    return Rule(
        Le(output, extent),
        "size",
        f"at most the image's {meaning}",
        "ask for a smaller piece or resize the image",
    )


NOT_EMPTY = tuple(
    Rule(Ge(index.extent, 1), "input", f"an image of positive {index.meaning}", "leave empty images out")
    for index in (h, w)
)
SIZE = PerAxis(name="size", symbols=("P", "Q"))
ANTIALIAS = Flag(name="antialias", default=True, symbol="antialias")
IMAGE = TensorArgument(name="input", unbatched=True)

DEFINITIONS = (
    Definition(
        name="resize",
        title="Bilinear resizing with half-pixel centres.",
        source="slide 2; torch.nn.functional.interpolate, mode bilinear, antialias",
        variants=(Variant(RESIZE),),
        function="resize",
        arguments=(IMAGE, SIZE, ANTIALIAS),
        extents={"U": _taps(h, p.extent), "V": _taps(w, q.extent)},
        rules=(*NOT_EMPTY, _countable(h, p.extent), _countable(w, q.extent)),
    ),
    Definition(
        name="center_crop",
        title="The middle of an image.",
        source="slide 2; torchvision.transforms.functional.center_crop",
        variants=(Variant(CENTER_CROP),),
        function="center_crop",
        arguments=(IMAGE, SIZE),
        extents={"top": _middle(p.extent, h.extent), "left": _middle(q.extent, w.extent)},
        rules=(_not_larger(p.extent, h.extent, "height"), _not_larger(q.extent, w.extent, "width")),
    ),
    Definition(
        name="normalize",
        title="Zero-centre (mean) or standardise (mean and std) every channel.",
        source="slide 2",
        variants=(Variant(NORMALIZE),),
        function="normalize",
        arguments=(
            TensorArgument(name="input"),
            TensorArgument(name="mean", default=None, differentiable=False),
            TensorArgument(name="std", default=None, differentiable=False),
        ),
    ),
    Definition(
        name="image_input",
        title="An image of any size, resized (or covered and centre-cropped) and normalised, in one formula.",
        source="slide 2",
        variants=(Variant(IMAGE_INPUT),),
        function="image_input",
        arguments=(
            IMAGE,
            TensorArgument(name="mean", default=None, differentiable=False),
            TensorArgument(name="std", default=None, differentiable=False),
            PerAxis(name="size", default=224, symbols=("P", "Q")),
            Flag(name="crop", default=False, symbol="crop"),
            ANTIALIAS,
        ),
        extents={
            "scaled_h": _covering(p, h, q, w),
            "scaled_w": _covering(q, w, p, h),
            "top": _middle(p.extent, scaled_h),
            "left": _middle(q.extent, scaled_w),
            "U": _taps(h, scaled_h),
            "V": _taps(w, scaled_w),
        },
        rules=(*NOT_EMPTY, _countable(h, scaled_h), _countable(w, scaled_w)),
        modules=(ModuleFace("ImageInput", buffers=("mean", "std")),),
    ),
)
