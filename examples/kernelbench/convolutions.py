"""A depthwise separable convolution: each channel by a kernel of its own, then every channel from all."""

from svertka.spec import Equation, FloorDiv, Layer, Sum, Tensor, axis, define, integer

n, c, k = axis("n", "examples", batch=True), axis("c", "channels"), axis("k", "out channels")
h, w, p, q = axis("h", "height"), axis("w", "width"), axis("p", "output height"), axis("q", "output width")
r, s = axis("r", "kernel height"), axis("s", "kernel width")
stride, padding, dilation = integer("stride", positive=True), integer("padding"), integer("dilation", positive=True)
x, depthwise, pointwise = Tensor("input", n, c, h, w), Tensor("depthwise", c, r, s), Tensor("pointwise", k, c)
maps, y = Tensor("maps", n, c, p, q), Tensor("output", n, k, p, q)
element = x[n, c, stride * p + dilation * r - padding, stride * q + dilation * s - padding]


def _windows(extent, kernel):
    """How many windows there are."""
    return FloorDiv(extent + 2 * padding - dilation * (kernel - 1) - 1, stride) + 1


separable_conv2d = define(
    Layer(
        "separable_conv2d",
        (x, depthwise, pointwise),
        (
            Equation(maps, Sum(element * depthwise[c, r, s], r, s)),
            Equation(y, Sum(maps[n, c, p, q] * pointwise[k, c], c)),
        ),
        ("output",),
    ),
    defaults={"stride": 1, "padding": 0, "dilation": 1},
    extents={"P": _windows(h.extent, r.extent), "Q": _windows(w.extent, s.extent)},
    parameters=("depthwise", "pointwise"),
    module="SeparableConv2d",
)
