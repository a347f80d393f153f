"""Hypothesis strategies for the geometry of windows."""

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@dataclass(frozen=True)
class Convolution:
    """One convolution's shapes and options."""

    rank: int
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    with_bias: bool
    options: dict[str, Any]
    seed: int


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Draw a convolution over 1 to 3 axes, with all argument forms."""
    rank = draw(st.integers(1, 3))
    axes = range(rank)

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in axes)

    groups, inside, outside = (draw(st.integers(1, 3)) for _ in range(3))
    kernel, dilation = per_axis(1, 3), per_axis(1, 2)
    padding = draw(st.sampled_from(["same", "valid", 1, per_axis(0, 2), tuple((a, a) for a in per_axis(0, 2))]))
    stride = (1,) * rank if padding == "same" else per_axis(1, 3)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    extents = tuple(span + extra for span, extra in zip(spans, per_axis(0, 3), strict=True))
    batch = (draw(st.integers(0, 3)),) if draw(st.booleans()) else ()
    options = {
        "stride": draw(st.sampled_from([stride, stride[0]])) if rank == 1 else stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    return Convolution(
        rank,
        (*batch, groups * inside, *extents),
        (groups * outside, inside, *kernel),
        draw(st.booleans()),
        options,
        draw(st.integers(0, 1000)),
    )


@dataclass(frozen=True)
class Pooling:
    """One pooling's input shape and options."""

    rank: int
    input_shape: tuple[int, ...]
    options: dict[str, Any]
    seed: int


@st.composite
def poolings(draw: st.DrawFn, dilated: bool) -> Pooling:
    """Draw a pooling over 1 to 3 axes whose every window holds an input element."""
    rank = draw(st.integers(1, 3))
    axes = range(rank)
    kernel = tuple(draw(st.integers(1, 4)) for _ in axes)
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    dilation = tuple(draw(st.integers(1, 2 if dilated else 1)) for _ in axes)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    extents = tuple(span + draw(st.integers(0, 4)) for span in spans)
    batch = (draw(st.integers(0, 2)),) if draw(st.booleans()) else ()
    strides = tuple(draw(st.integers(1, 3)) for _ in axes)
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": draw(st.sampled_from([None, strides])),
        "padding": padding,
        "ceil_mode": draw(st.booleans()),
    }
    if dilated:
        options["dilation"] = dilation
    seed = draw(st.integers(0, 1000))
    return Pooling(rank, (*batch, draw(st.integers(1, 3)), *extents), options, seed)
