"""Convolutions: over one and three axes, depthwise, and transposed as the adjoint of convolution."""

from svertka.spec import Equation, FloorDiv, Layer, Sum, Tensor, adjoint, axis, define, integer, renamed

n = axis("n", "examples", batch=True)
c, k = axis("c", "in channels"), axis("k", "out channels")
d, h, w = axis("d", "depth"), axis("h", "height"), axis("w", "width")
z, p, q = axis("z", "output depth"), axis("p", "output height"), axis("q", "output width")
t, r, s = axis("t", "kernel depth"), axis("r", "kernel height"), axis("s", "kernel width")
stride, padding, dilation = integer("stride", positive=True), integer("padding"), integer("dilation", positive=True)
usual = {"stride": 1, "padding": 0, "dilation": 1}


def place(output, kernel):
    """Where an element of a window lies in the input."""
    return stride * output + dilation * kernel - padding


def windows(extent, kernel):
    """How many windows there are."""
    return FloorDiv(extent + 2 * padding - dilation * (kernel - 1) - 1, stride) + 1


# One axis, three axes

x, weight, bias = Tensor("input", n, c, w), Tensor("weight", k, c, s), Tensor("bias", k, default=0)
y = Tensor("output", n, k, q)
conv1d = define(
    Layer(
        "conv1d",
        (x, weight, bias),
        (Equation(y, Sum(x[n, c, place(q, s)] * weight[k, c, s], c, s) + bias[k]),),
        ("output",),
    ),
    defaults=usual,
    extents={"Q": windows(w.extent, s.extent)},
    parameters=("weight", "bias"),
)

x, weight, y = Tensor("input", n, c, d, h, w), Tensor("weight", k, c, t, r, s), Tensor("output", n, k, z, p, q)
element = x[n, c, place(z, t), place(p, r), place(q, s)]
conv3d = define(
    Layer(
        "conv3d",
        (x, weight, bias),
        (Equation(y, Sum(element * weight[k, c, t, r, s], c, t, r, s) + bias[k]),),
        ("output",),
    ),
    defaults=usual,
    extents={"Z": windows(d.extent, t.extent), "P": windows(h.extent, r.extent), "Q": windows(w.extent, s.extent)},
    parameters=("weight", "bias"),
)

# Depthwise: every channel with a kernel of its own

x, weight, bias = Tensor("input", n, c, h, w), Tensor("weight", c, r, s), Tensor("bias", c, default=0)
y = Tensor("output", n, c, p, q)
element = x[n, c, place(p, r), place(q, s)]
depthwise_conv2d = define(
    Layer(
        "depthwise_conv2d",
        (x, weight, bias),
        (Equation(y, Sum(element * weight[c, r, s], r, s) + bias[c]),),
        ("output",),
    ),
    defaults=usual,
    extents={"P": windows(h.extent, r.extent), "Q": windows(w.extent, s.extent)},
    parameters=("weight", "bias"),
)

# Transposed: what the gradient of a convolution does to the gradient of its output

x, weight, y = Tensor("image", n, c, h, w), Tensor("weight", k, c, r, s), Tensor("maps", n, k, p, q)
element = x[n, c, place(p, r), place(q, s)]
_convolution = Layer("convolution", (x, weight), (Equation(y, Sum(element * weight[k, c, r, s], c, r, s)),), ("maps",))
_transposed = renamed(adjoint(_convolution, wrt=["image"]), "conv_transpose2d", grad_maps="input", grad_image="output")


def reached(extent, kernel):
    """How far the windows reach."""
    return (extent - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding


conv_transpose2d = define(
    _transposed,
    defaults=usual,
    extents={"H": reached(p.extent, r.extent), "W": reached(q.extent, s.extent)},
    parameters=("weight",),
    module="ConvTranspose2d",
)
