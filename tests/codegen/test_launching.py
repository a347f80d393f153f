"""Offsets have 64 bits if some element lies beyond the range of 32 bits."""

from __future__ import annotations

import pytest
import torch
import triton.language as tl

from svertka.generated import launching

FAR = launching.INT32_ELEMENTS


def index_type(*tensors: torch.Tensor) -> object:
    how = launching.prepare(torch.empty(3, 2, device="meta"))
    return launching.constants_of(how, (*tensors, 5))["INDEX"]


@pytest.mark.parametrize(
    ("shape", "strides", "wide"),
    [
        ((7, 5), (5, 1), False),
        ((FAR - 1,), (1,), False),
        ((FAR,), (1,), True),
        ((2, 3), (FAR // 4, FAR // 4), False),
        ((2, 3), (FAR, 1), True),  # six elements, far apart
        ((1, 3), (FAR, 1), False),
        ((0, 3), (FAR, 1), False),
    ],
)
def test_reach_decides(shape: tuple[int, ...], strides: tuple[int, ...], wide: bool) -> None:
    tensor = torch.empty_strided(shape, strides, device="meta")
    assert index_type(torch.empty(3, device="meta"), tensor) == (tl.int64 if wide else tl.int32)
