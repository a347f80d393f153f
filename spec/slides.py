"""The lecture's worked numbers, slide by slide, as data.

Every implementation of a layer (formula, reference, kernel) must reproduce them exactly. Figures of some slides are
lost; the examples that replace them are marked as ours, with values computed exactly from the formula. Layers for which
the lecture has no numbers have ``ILLUSTRATIONS``: calls of small size whose results are computed, not stated.

Output: ``EXAMPLES``, ``ILLUSTRATIONS``, ``WORKED_SUMS``, ``POOLING_STEPS``, ``IMAGE_SIZE``, ``NETWORK_SIZE``,
``REMARKS``, ``LOST``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

__all__ = [
    "EXAMPLES",
    "ILLUSTRATIONS",
    "IMAGE_SIZE",
    "LOST",
    "NETWORK_SIZE",
    "POOLING_STEPS",
    "REMARKS",
    "WORKED_SUMS",
    "A",
    "B",
    "C",
    "D",
    "E",
    "Example",
    "Illustration",
    "PoolingStep",
    "WorkedSum",
]

A = ((1, 3, -1, 0), (2, -2, 0, 5), (4, 1, -1, 3), (-3, 0, 1, 2))
B = ((1, 0), (2, -1))
C = ((7, -1, -6), (9, 1, -5), (-2, 0, -1))
D = ((2, 4, 9), (-5, 1, 7), (-2, 0, -1))
E = ((7, 0, 0), (9, 1, 0), (0, 0, 0))

IMAGE_SIZE = (1365, 2048)
"""Slide 2: height and width of the photograph."""

NETWORK_SIZE = (224, 224)
"""Slide 2: height and width that the network takes."""

REMARKS: Mapping[int, str] = {
    2: f"A photograph of {IMAGE_SIZE[1]} x {IMAGE_SIZE[0]} comes in; the network takes "
    f"{NETWORK_SIZE[1]} x {NETWORK_SIZE[0]}.",
    18: "With a_k = ln p(x|C_k) p(C_k), softmax is the posterior probability of the class: an identity, proven under "
    "errata.",
}
"""Remarks of the slides in addition to their worked numbers."""

LOST: Mapping[int, str] = {
    1: "the figure of the architecture",
    7: "what is done with D; only the matrix is left",
    8: "what is done with D; only the matrix is left",
    9: "what is done with D; only the matrix is left",
    10: "what is done with D; only the matrix is left",
    17: "the figure of the fully connected layer",
    19: "the figure of dropout",
}
"""Slides with a lost figure, and what it probably showed."""


@dataclass(frozen=True)
class Example:
    """A call of a layer and its exact result.

    Attributes:
        slide: number of the slide.
        title: what it shows.
        definition: name of the definition.
        inputs: tensors by argument, nested tuples of integers and rationals.
        arguments: the other arguments of the public function.
        expected: the result, nested tuples.
        ours: whether the numbers are ours and not the slide's.
    """

    slide: int
    title: str
    definition: str
    inputs: Mapping[str, Any]
    expected: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = False


@dataclass(frozen=True)
class Illustration:
    """A call of a layer with numbers of ours; the result is computed from the formula.

    Attributes:
        slide, title, definition, inputs, arguments: as in ``Example``.
    """

    slide: int
    title: str
    definition: str
    inputs: Mapping[str, Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = True


@dataclass(frozen=True)
class WorkedSum:
    """A sum that a slide writes out: the products of image and kernel elements, in the slide's order."""

    slide: int
    row: int
    column: int
    products: tuple[tuple[int, int], ...]
    result: int


@dataclass(frozen=True)
class PoolingStep:
    """The pooled matrix as far as a slide has filled it in; None where it is empty."""

    slide: int
    filled: tuple[tuple[int | None, ...], ...]


WORKED_SUMS = (
    WorkedSum(4, 0, 0, ((1, 1), (3, 0), (2, 2), (-2, -1)), 7),
    WorkedSum(5, 0, 1, ((3, 1), (-1, 0), (-2, 2), (0, -1)), -1),
)

POOLING_STEPS = (
    PoolingStep(12, ((None, None), (None, None))),
    PoolingStep(13, ((3, None), (None, None))),
    PoolingStep(14, ((3, 5), (None, None))),
    PoolingStep(15, ((3, 5), (4, None))),
    PoolingStep(16, ((3, 5), (4, 3))),
)

_IMAGE = ((A,),)
_KERNEL = ((B,),)
_TURNED = ((-1, 2), (0, 1))
_STACK = ((B,), (_TURNED,), (((0, 0), (0, 1)),), (((1, 1), (1, 1)),), (((1, -1), (0, 0)),))
_STACK_OF_MAPS = (
    C,
    ((3, -5, 6), (-5, 1, 13), (-2, -2, 9)),
    ((-2, 0, 5), (1, -1, 3), (0, 1, 2)),
    ((4, 0, 4), (5, -2, 7), (2, 1, 5)),
    ((-2, 4, -1), (4, -2, -5), (3, 2, -4)),
)


def _quarters(*rows: tuple[int, ...]) -> tuple[tuple[Fraction, ...], ...]:
    return tuple(tuple(Fraction(element, 4) for element in row) for row in rows)


EXAMPLES = (
    Example(
        2,
        "the middle of an image",
        "center_crop",
        {"input": _IMAGE},
        ((((-2, 0), (1, -1)),),),
        {"size": 2},
        ours=True,
    ),
    Example(
        2,
        "zero-centred and standardised",
        "normalize",
        {"input": _IMAGE, "mean": (1,), "std": (2,)},
        (
            (
                tuple(
                    tuple(Fraction(element, 2) for element in row)
                    for row in ((0, 2, -2, -1), (1, -3, -1, 4), (3, 0, -2, 2), (-4, -1, 0, 1))
                ),
            ),
        ),
        ours=True,
    ),
    Example(3, "one image, one kernel, one map", "convolution_2d", {"input": _IMAGE, "weight": _KERNEL}, ((C,),)),
    Example(
        6,
        "a stack of 5 kernels makes a stack of 5 maps; the front ones are B and C, the others are ours",
        "convolution_2d",
        {"input": _IMAGE, "weight": _STACK},
        (_STACK_OF_MAPS,),
        ours=True,
    ),
    Example(
        7,
        "stride 2 with padding 1",
        "convolution_2d",
        {"input": ((D,),), "weight": _KERNEL},
        ((((-2, -1), (2, 2)),),),
        {"stride": 2, "padding": 1},
        ours=True,
    ),
    Example(
        8,
        "padding 1",
        "convolution_2d",
        {"input": ((D,),), "weight": _KERNEL},
        ((((-2, 0, -1, 18), (5, -9, -1, 23), (2, -9, 2, 5), (0, -2, 0, -1)),),),
        {"padding": 1},
        ours=True,
    ),
    Example(
        9,
        "dilation 2",
        "convolution_2d",
        {"input": ((D,),), "weight": _KERNEL},
        ((((-1,),),),),
        {"dilation": 2},
        ours=True,
    ),
    Example(
        10,
        "two groups: D under B, and C under B turned round",
        "convolution_2d",
        {"input": ((D, C),), "weight": ((B,), (_TURNED,))},
        ((((-9, -1), (-9, 2)), ((-8, -16), (-7, -12))),),
        {"groups": 2},
        ours=True,
    ),
    Example(11, "rectification", "relu", {"input": C}, E),
    Example(
        16,
        "2 x 2 windows, stride 2",
        "max_pooling_2d",
        {"input": _IMAGE},
        ((((3, 5), (4, 3)),),),
        {"kernel_size": 2},
    ),
    Example(
        16,
        "the same windows, averaged",
        "average_pooling_2d",
        {"input": _IMAGE},
        ((_quarters((4, 4), (2, 5)),),),
        {"kernel_size": 2},
        ours=True,
    ),
    Example(
        17,
        "three outputs from a row of E",
        "linear",
        {"input": (E[1],), "weight": ((1, 0, 0), (1, -1, 2), (0, 3, 1)), "bias": (0, 1, -1)},
        ((9, 9, 2),),
        ours=True,
    ),
    Example(
        20,
        "a batch of mean 3 and variance 4, scaled by 5 and shifted by 1",
        "batch_normalization",
        {
            "input": ((1,), (5,), (1,), (5,)),
            "running_mean": None,
            "running_var": None,
            "weight": (5,),
            "bias": (1,),
        },
        ((-4,), (6,), (-4,), (6,)),
        {"training": True, "eps": 0},
        ours=True,
    ),
    Example(
        21,
        "MATLAB's documented case: all ones, 3 channels, window 3",
        "cross_channel_normalization",
        {"input": ((1, 1, 1),)},
        ((Fraction(300000, 200003), Fraction(100000, 100001), Fraction(300000, 200003)),),
        {"window_channel_size": 3, "k": Fraction(1, 100000), "alpha": 1, "beta": 1},
    ),
)

_LINE = ((A[0],),)
_PAIR = ((D, C),)

ILLUSTRATIONS = (
    Illustration(2, "half as high and half as wide", "resize", {"input": _IMAGE}, {"size": 2}),
    Illustration(
        2,
        "a wide image, its middle, zero-centred",
        "image_input",
        {"input": ((A[:2],),), "mean": (1,), "std": None},
        {"size": 2, "crop": True},
    ),
    Illustration(3, "a row of A under a row of B", "convolution_1d", {"input": _LINE, "weight": ((B[1],),)}),
    Illustration(
        3, "D above C, under two kernels", "convolution_3d", {"input": (_PAIR,), "weight": (((B, _TURNED),),)}
    ),
    Illustration(
        11,
        "C is computed and rectified in one step",
        "convolution_2d_relu",
        {"input": _IMAGE, "weight": _KERNEL},
    ),
    Illustration(16, "a row of A in windows of 2", "max_pooling_1d", {"input": _LINE}, {"kernel_size": 2}),
    Illustration(
        16, "D above C, in overlapping cubes", "max_pooling_3d", {"input": (_PAIR,)}, {"kernel_size": 2, "stride": 1}
    ),
    Illustration(
        16, "a row of A in windows of 2, averaged", "average_pooling_1d", {"input": _LINE}, {"kernel_size": 2}
    ),
    Illustration(
        16,
        "D above C, averaged over overlapping cubes",
        "average_pooling_3d",
        {"input": (_PAIR,)},
        {"kernel_size": 2, "stride": 1},
    ),
    Illustration(18, "a row of A as scores", "softmax", {"input": A[0]}, {"dim": 0}),
    Illustration(18, "a row of A as scores", "log_softmax", {"input": A[0]}, {"dim": 0}),
    Illustration(
        18, "two rows of A as scores, the classes 1 and 3", "cross_entropy", {"input": A[:2], "target": (1, 3)}
    ),
    Illustration(
        19, "C with every other element dropped, on average", "dropout", {"input": C}, {"p": Fraction(1, 2), "seed": 1}
    ),
    Illustration(
        21,
        "a window of 4 of 5 channels",
        "local_response_normalization",
        {"input": ((1, 2, 3, 4, 5),)},
        {"size": 4, "alpha": 1, "beta": 1, "k": 2},
    ),
    Illustration(
        20,
        "a batch of mean 3 and variance 4, normalised and rectified",
        "batch_normalization_relu",
        {"input": ((1,), (5,), (1,), (5,)), "running_mean": None, "running_var": None},
        {"training": True, "eps": 0},
    ),
    Illustration(
        20,
        "the same batch with a residual",
        "batch_normalization_add_relu",
        {
            "input": ((1,), (5,), (1,), (5,)),
            "running_mean": None,
            "running_var": None,
            "residual": ((2,), (0,), (0,), (-3,)),
        },
        {"training": True, "eps": 0},
    ),
    Illustration(
        21,
        "a row of C over a window of 3 channels",
        "relu_cross_channel_normalization",
        {"input": (C[1],)},
        {"window_channel_size": 3, "alpha": 1, "beta": 1, "k": 1},
    ),
)
