"""The input layer, slide 2: a photograph of any size becomes 224 x 224, zero-centred or standardised.

Resizing is two sums of weights, one an axis. The weights are triangles around the output pixel's centre, seen
in the input (half-pixel centres); with ``antialias`` a triangle is as wide as the reduction, so that every
pixel counts.
"""

from __future__ import annotations

from sympy import Abs, Expr, Ge, Le, Rational, Symbol

from svertka.spec.definition import Definition, Flag, ModuleFace, PerAxis, Rule, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import FloorDiv, Index, Sum, Tensor, axis, boolean, integer, maximum

__all__ = ["DEFINITIONS"]

n = axis("n", "images", batch=True)
c = axis("c", "channels")
h, w = axis("h", "height"), axis("w", "width")
p, q = axis("p", "output height"), axis("q", "output width")
m = axis("m", "pixels", many=True)
x, y = Tensor("input", n, c, h, w), Tensor("output", n, c, p, q)
vertical, horizontal = Tensor("vertical", p, h), Tensor("horizontal", q, w)
wide, resized = Tensor("wide", n, c, h, q), Tensor("resized", n, c, p, q)
mean, std = Tensor("mean", c, default=0), Tensor("std", c, default=1)
antialias, crop = boolean("antialias"), boolean("crop")
scaled_h, scaled_w = integer("scaled_h", positive=True), integer("scaled_w", positive=True)
top, left = integer("top"), integer("left")


def _triangle(output: Expr, index: Index, extent: Expr) -> Expr:
    """Weight of an input pixel for an output pixel when the axis is resized to ``extent`` pixels."""
    scale = index.extent / extent
    support = maximum(antialias * scale, 1)
    distance = Abs(index + Rational(1, 2) - (output + Rational(1, 2)) * scale)
    return maximum(0, 1 - distance / support)


def _weights(target: Tensor, output: Expr, extent: Expr) -> Equation:
    """The triangles, each divided by its sum over the pixels there are."""
    index = target.axes[1]
    twin = index.twin("i")
    total = Sum(_triangle(output, twin, extent), twin)
    return Equation(target, _triangle(output, index, extent) / total)


def _resizing(rows: Equation, columns: Equation, target: Tensor) -> tuple[Equation, ...]:
    """First along the width, then along the height."""
    return (
        columns,
        rows,
        Equation(wide, Sum(x[n, c, h, w] * horizontal[q, w], w)),
        Equation(target, Sum(wide[n, c, h, q] * vertical[p, h], h)),
    )


def _middle(inner: Expr, outer: Expr) -> Expr:
    """Where a piece from the middle begins: half of what is cut, rounded to even as torchvision does."""
    cut = outer - inner
    half = FloorDiv(cut, 2)
    return FloorDiv(cut + half - 2 * FloorDiv(half, 2), 2)


RESIZE = Layer(
    "resize",
    (x,),
    _resizing(_weights(vertical, p, p.extent), _weights(horizontal, q, q.extent), y),
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
# Resizing to scaled_h x scaled_w and cropping the middle, but nothing is computed that the crop throws away.
IMAGE_INPUT = Layer(
    "image_input",
    (x, mean, std),
    (
        *_resizing(
            _weights(vertical, top + p, scaled_h),
            _weights(horizontal, left + q, scaled_w),
            resized,
        ),
        Equation(y, (resized[n, c, p, q] - mean[c]) / std[c]),
    ),
    ("output",),
)


def _covering(output: Index, index: Index, other_output: Index, other: Index) -> Expr:
    """Extent when the image just covers the output with its proportions kept, else the output's."""
    return maximum(output.extent, crop * FloorDiv(index.extent * other_output.extent, other.extent))


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
        rules=NOT_EMPTY,
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
        },
        rules=NOT_EMPTY,
        modules=(ModuleFace("ImageInput", buffers=("mean", "std")),),
    ),
)
