"""Transposed convolutions, which are adjoints of convolutions, and a depthwise separable one."""

from svertka.spec import Equation, FloorDiv, Layer, Sum, Tensor, adjoint, axis, define, integer, renamed

n = axis("n", "examples", batch=True)
g, c, k = axis("g", "channel groups"), axis("c", "out channels of a group"), axis("k", "in channels of a group")
INPUT = (axis("d", "depth"), axis("h", "height"), axis("w", "width"))
OUTPUT = (axis("z", "input depth"), axis("p", "input height"), axis("q", "input width"))
KERNEL = (axis("t", "kernel depth"), axis("r", "kernel height"), axis("s", "kernel width"))


class _Steps:
    """How windows lie along one axis."""

    def __init__(self, suffix):
        self.stride = integer(f"stride{suffix}", positive=True)
        self.dilation = integer(f"dilation{suffix}", positive=True)
        self.padding, self.more = integer(f"padding{suffix}"), integer(f"output_padding{suffix}")

    def place(self, window, element):
        """Where an element of a window lies."""
        return self.stride * window + self.dilation * element - self.padding

    def reached(self, window, element):
        """How far the windows reach."""
        reach = (window.extent - 1) * self.stride + self.dilation * (element.extent - 1) + 1
        return reach - 2 * self.padding + self.more

    @property
    def usual(self):
        """The parameters' defaults."""
        return {self.stride.name: 1, self.padding.name: 0, self.dilation.name: 1, self.more.name: 0}


def _transposed(rank):
    """The adjoint of a convolution over some axes."""
    large, small, window = INPUT[-rank:], OUTPUT[-rank:], KERNEL[-rank:]
    steps = [_Steps(f"_{axis.name}" if rank > 1 else "") for axis in large]
    image, weight = Tensor("image", n, (g, c), *large), Tensor("weight", (g, k), c, *window)
    places = [step.place(q, s) for step, q, s in zip(steps, small, window, strict=True)]
    value = Sum(image[(n, g, c, *places)] * weight[(g, k, c, *window)], c, *window)
    convolution = Layer(
        "convolution", (image, weight), (Equation(Tensor("maps", n, (g, k), *small), value),), ("maps",)
    )
    name = f"conv_transpose{rank}d"
    return define(
        renamed(adjoint(convolution, wrt=["image"]), name, grad_maps="input", grad_image="output"),
        defaults={name: value for step in steps for name, value in step.usual.items()} | {"G": 1},
        extents={a.extent.name: st.reached(q, s) for a, st, q, s in zip(large, steps, small, window, strict=True)},
        arguments={"G": "groups"},
        parameters=("weight",),
    )


conv_transpose1d, conv_transpose2d, conv_transpose3d = map(_transposed, (1, 2, 3))

# Depthwise separable: each channel by a kernel of its own, then every channel from all

h, w, p, q, r, s = *INPUT[1:], *OUTPUT[1:], *KERNEL[1:]
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
