"""Convolution: a stack of kernels slides over a stack of maps, slides 3 to 10.

As on the slides, and as everywhere in deep learning, the kernel is not flipped: this is a cross-correlation.
"""

from __future__ import annotations

from svertka.spec.definition import Definition, ModuleFace, Padding, PerAxis, TensorArgument, Variant, Whole
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers.windows import names, spatial_windows
from svertka.spec.notation import Sum, Tensor, axis

__all__ = ["DEFINITIONS", "convolution"]

n = axis("n", "examples", batch=True)
g = axis("g", "groups")
k = axis("k", "kernels of a group")
c = axis("c", "channels of a group")


def convolution(rank: int, *, biased: bool = True) -> Layer:
    """The formula: y[n, k, p, q] = Σ x[n, c, stride p + dilation r - padding, ...] w[k, c, r, s] + b[k]."""
    windows = spatial_windows(rank)
    places = tuple(window.place for window in windows)
    outputs = tuple(window.output for window in windows)
    kernels = tuple(window.kernel for window in windows)
    x = Tensor("input", n, (g, c), *(window.input for window in windows))
    w = Tensor("weight", (g, k), c, *kernels)
    b = Tensor("bias", (g, k), default=0)
    y = Tensor("output", n, (g, k), *outputs)
    value = Sum(x[(n, g, c, *places)] * w[(g, k, c, *kernels)], c, *kernels)
    inputs, value = ((x, w, b), value + b[g, k]) if biased else ((x, w), value)
    return Layer(f"convolution_{rank}d", inputs, (Equation(y, value),), ("output",))


def _definition(rank: int) -> Definition:
    windows = spatial_windows(rank)
    kernels = names(window.kernel for window in windows)
    strides = names(window.stride for window in windows)
    dilations = names(window.dilation for window in windows)
    low, high = names(window.low for window in windows), names(window.high for window in windows)
    return Definition(
        name=f"convolution_{rank}d",
        title=f"Convolution over {rank} spatial {'axis' if rank == 1 else 'axes'}.",
        source="slides 3 to 10",
        variants=(Variant(convolution(rank)),),
        function=f"conv{rank}d",
        arguments=(
            TensorArgument(name="input", unbatched=True),
            TensorArgument(name="weight"),
            TensorArgument(name="bias", default=None),
            PerAxis(name="stride", default=1, symbols=strides),
            Padding(name="padding", low=low, high=high, named=(kernels, dilations, strides)),
            PerAxis(name="dilation", default=1, symbols=dilations),
            Whole(name="groups", default=1, symbol="G", minimum=1),
        ),
        extents={window.output.extent.name: window.windows for window in windows},
        rules=tuple(window.fits(window.windows) for window in windows),
        modules=(ModuleFace(f"Conv{rank}d", base=f"torch.nn.Conv{rank}d", fixed={"padding_mode": "zeros"}),),
    )


DEFINITIONS = tuple(_definition(rank) for rank in (1, 2, 3))
