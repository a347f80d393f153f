"""Results and gradients of images with channels last lie in memory as torch's: code behind them may take views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from svertka.generated import functional

from .cases import CASES, Case
from .oracles import OWN, oracle

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
SHAPES = {4: (2, 3, 4, 5), 5: (2, 3, 2, 4, 5)}

ROW_MAJOR_IN_TORCH = {
    "conv3d": "torch on the CPU; with cuDNN, channels stay last",
    "conv_transpose3d": "torch on the CPU; with cuDNN, channels stay last",
}
"""Functions whose results and gradients keep the format of volumes, which torch's do on GPUs alone."""
GRADIENT_KEEPS_THE_FORMAT = {
    "interpolate": "of volumes, and of images to one element, torch's gradient is row-major, and its result is not",
    "adaptive_avg_pool2d": "of one output a channel torch takes the mean, whose gradient is row-major",
    "cross_entropy": "torch's has log_softmax's; a row-major one would cost a copy of the scores",
}
"""Functions whose gradient has the format of the image, torch's not always; their results have torch's."""


def batched(case: Case) -> bool:
    """Whether a case has images or volumes with examples: torch has no channels-last format without."""
    rank = len(case.shapes["input"])
    return rank in LAST and not (case.function[-2:] in ("2d", "3d") and rank != int(case.function[-2]) + 2)


def widened(case: Case) -> list[Case]:
    """A case of one tensor of any rank, on images and on volumes."""
    return [Case(case.function, {"input": shape}, case.options) for shape in SHAPES.values()]


def normalizations() -> list[Case]:
    """Of the last dimensions, one or several, and of groups."""
    found = []
    for shape in SHAPES.values():
        for last in (shape[-1:], shape[-2:], shape[1:]):
            told = {"normalized_shape": last, "eps": 0.25}
            found.append(Case("layer_norm", {"input": shape, "weight": last, "bias": last}, told))
            found.append(Case("rms_norm", {"input": shape, "weight": last}, told))
        found.append(Case("group_norm", {"input": shape, "weight": (3,), "bias": (3,)}, {"num_groups": 3}))
        found += [Case(name, {"input": shape}, {"dim": dim}) for name in ("softmax", "log_softmax") for dim in (1, -1)]
        found.append(Case("linear", {"input": shape, "weight": (4, 5)}))
    return found


TORCHS = [case for case in CASES if case.function not in OWN]
ANY_RANK = [case for case in TORCHS if case.shapes == {"input": (2, 3, 4)} and "normalized_shape" not in case.options]
ALL = [
    *(case for case in TORCHS if batched(case)),
    *(one for case in ANY_RANK for one in widened(case)),
    *normalizations(),
    *widened(Case("dropout", {}, {"p": 0.25})),
]
EVERY = {str(case): case for case in ALL}


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides of the dimensions that have more than one element: others mean nothing."""
    return tuple(stride for stride, extent in zip(tensor.stride(), tensor.shape, strict=True) if extent > 1)


def formats(function: Callable[..., Any], case: Case) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """Strides of the results, and of the image's gradient."""
    tensors = case.tensors()
    given = tensors["input"].to(memory_format=LAST[tensors["input"].dim()]).requires_grad_()
    results = function(**tensors | {"input": given}, **case.others())
    results = results if isinstance(results, tuple) else (results,)
    (gradient,) = torch.autograd.grad(results[0], given, torch.ones_like(results[0]))
    return [strides(result) for result in results], strides(gradient)


def test_every_function_of_torch_is_among_them() -> None:
    """But those that take no images or volumes with examples."""
    missing = {case.function for case in TORCHS} - {case.function for case in EVERY.values()}
    assert missing == {name for name in missing if name.endswith("1d")}


@pytest.mark.thinned(4)
@pytest.mark.parametrize("case", EVERY.values(), ids=EVERY)
def test_channels_last(case: Case, road: str) -> None:
    ours, theirs = (formats(function, case) for function in (getattr(functional, case.function), oracle(case.function)))
    if case.function in ROW_MAJOR_IN_TORCH:
        assert ours[1] != theirs[1]
        return
    assert ours[0] == theirs[0]
    if case.function not in GRADIENT_KEEPS_THE_FORMAT:
        assert ours[1] == theirs[1]


@pytest.mark.parametrize("name", ["layer_norm", "instance_norm"])
def test_views_follow(name: str, road: str) -> None:
    """What a model does behind such a layer: flatten without a copy."""
    options: dict[str, Any] = {"normalized_shape": (5,)} if name == "layer_norm" else {}
    for shape in SHAPES.values():
        image = torch.ones(shape).to(memory_format=LAST[len(shape)])
        assert getattr(functional, name)(image, **options).view(-1).shape == (image.numel(),)
