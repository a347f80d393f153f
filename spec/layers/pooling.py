"""Subsampling (pooling): the largest or the mean element of each window, slides 12 to 16.

Padding is never the maximum. The divisor of the mean counts the window's elements inside the input, or, with
``count_include_pad``, inside the padded input; ``divisor_override`` replaces it.
"""

from __future__ import annotations

from sympy import Expr, Ge, Integer, Mul, Ne

from svertka.spec.definition import (
    Argument,
    Definition,
    Flag,
    ModuleFace,
    PerAxis,
    Rule,
    TensorArgument,
    Variant,
    Whole,
)
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers.windows import Window, names, spatial_windows
from svertka.spec.notation import (
    ArgMax,
    FloorDiv,
    Max,
    Read,
    Select,
    Sum,
    Tensor,
    axis,
    boolean,
    integer,
    maximum,
    minimum,
)

__all__ = ["DEFINITIONS", "average_pooling", "max_pooling"]

n = axis("n", "examples", batch=True)
c = axis("c", "channels")
count_include_pad = boolean("count_include_pad")
divisor_override = integer("divisor_override")


def max_pooling(rank: int) -> Layer:
    """The formula: y[p, q] = max over r, s of x[stride p + dilation r - padding, ...], and its position."""
    windows, x, y, element = _window_of(rank)
    kernels = tuple(window.kernel for window in windows)
    position = Tensor("position", *y.dims, kind="integer")
    indices = Tensor("indices", *y.dims, kind="integer")
    plane: Expr = Integer(0)
    for window, within in zip(windows, _places_within(position[y.axes], windows), strict=True):
        place = window.stride * window.output + window.dilation * within - window.low
        plane = plane * window.input.extent + place
    return Layer(
        f"max_pooling_{rank}d",
        (x,),
        (
            Equation(y, Max(element, *kernels)),
            Equation(position, ArgMax(element, *kernels)),
            Equation(indices, plane),
        ),
        ("output", "indices"),
    )


def _places_within(position: Expr, windows: tuple[Window, ...]) -> tuple[Expr, ...]:
    """Position within the window along each axis, from the position that counts the window in row-major order."""
    if len(windows) == 1:
        return (position,)
    row = FloorDiv(position, windows[-1].kernel.extent)
    return (*_places_within(row, windows[:-1]), position - row * windows[-1].kernel.extent)


def average_pooling(rank: int) -> Layer:
    """The formula: y[p, q] = Σ over r, s of x[stride p + r - padding, ...] / count."""
    windows, x, y, element = _window_of(rank, dilated=False)
    count = Mul(*(_counted(window) for window in windows))
    divisor = Select(Ne(divisor_override, 0), divisor_override, count) if rank > 1 else count
    value = Sum(element, *(window.kernel for window in windows)) / divisor
    return Layer(f"average_pooling_{rank}d", (x,), (Equation(y, value),), ("output",))


def _counted(window: Window) -> Expr:
    """Number of a window's elements that count: those in the input, extended by the padding that is included."""
    first = window.stride * window.output - window.low
    widened = count_include_pad * window.low
    return minimum(first + window.kernel.extent, window.input.extent + widened) - maximum(first, -widened)


def _window_of(rank: int, dilated: bool = True) -> tuple[tuple[Window, ...], Tensor, Tensor, Read]:
    """The windows, input and output of a pooling layer, and the element of a window."""
    windows = spatial_windows(rank, one_padding=True, dilated=dilated)
    x = Tensor("input", n, c, *(window.input for window in windows))
    y = Tensor("output", n, c, *(window.output for window in windows))
    return windows, x, y, x[(n, c, *(window.place for window in windows))]


def _geometry(windows: tuple[Window, ...]) -> tuple[Argument, Argument, Argument]:
    return (
        PerAxis(name="kernel_size", symbols=names(window.kernel for window in windows)),
        PerAxis(name="stride", default="<kernel_size>", symbols=names(window.stride for window in windows)),
        PerAxis(name="padding", default=0, symbols=names(window.low for window in windows), minimum=0),
    )


def _rules(windows: tuple[Window, ...]) -> tuple[Rule, ...]:
    fitting = (window.fits(window.windows_or_more) for window in windows)
    return (*fitting, *(window.half_padded for window in windows))


CHANNELS = Rule(Ge(c.extent, 1), "input", "of at least one channel", "leave inputs without channels out")


def _max_definition(rank: int) -> Definition:
    windows = spatial_windows(rank, one_padding=True)
    return Definition(
        name=f"max_pooling_{rank}d",
        title="Max pooling: the largest element of each window.",
        source="slides 12 to 16",
        variants=(Variant(max_pooling(rank)),),
        function=f"max_pool{rank}d",
        arguments=(
            TensorArgument(name="input", unbatched=True, integers=True),
            *_geometry(windows),
            PerAxis(name="dilation", default=1, symbols=names(window.dilation for window in windows)),
            Flag(name="ceil_mode", default=False, symbol="ceil_mode"),
            Flag(name="return_indices", default=False),
        ),
        extents={window.output.extent.name: window.windows_or_more for window in windows},
        rules=(CHANNELS, *_rules(windows)),
        modules=(ModuleFace(f"MaxPool{rank}d", base=f"torch.nn.MaxPool{rank}d"),),
        optional_results={"return_indices": "indices"},
    )


def _average_definition(rank: int) -> Definition:
    windows = spatial_windows(rank, one_padding=True, dilated=False)
    override = Whole(name="divisor_override", default=None, symbol="divisor_override", optional=True, missing=0)
    return Definition(
        name=f"average_pooling_{rank}d",
        title="Average pooling: the mean of each window.",
        source="slides 12 to 16",
        variants=(Variant(average_pooling(rank)),),
        function=f"avg_pool{rank}d",
        arguments=(
            TensorArgument(name="input", unbatched=True),
            *_geometry(windows),
            Flag(name="ceil_mode", default=False, symbol="ceil_mode"),
            Flag(name="count_include_pad", default=True, symbol="count_include_pad"),
            *((override,) if rank > 1 else ()),
        ),
        extents={window.output.extent.name: window.windows_or_more for window in windows},
        rules=_rules(windows),
        modules=(ModuleFace(f"AvgPool{rank}d", base=f"torch.nn.AvgPool{rank}d"),),
        row_major=rank == 3,  # torch keeps channels last in images alone
    )


DEFINITIONS = (
    *(_max_definition(rank) for rank in (1, 2, 3)),
    *(_average_definition(rank) for rank in (1, 2, 3)),
)
