"""Which kernels' lanes access neighbouring elements, by structure, and how the schedule uses it."""

from __future__ import annotations

import importlib
from unittest import mock

import pytest

from svertka.codegen.ir.coalescing import hindrances, is_side_by_side
from svertka.codegen.ir.kernel import Kernel
from svertka.generated import schedule

from .harness import module_of


def kernel(name: str) -> Kernel:
    definition = next(d for d in ("max_pooling_2d", "cross_channel_normalization", "softmax") if name.startswith(d))
    return next(kernel for kernel in module_of(definition).kernels if kernel.name == name)


@pytest.mark.parametrize(
    ("name", "row_major", "last"),
    [
        ("max_pooling_2d_output", False, True),
        ("max_pooling_2d_grad_input", False, True),
        ("cross_channel_normalization_output", True, False),
        ("cross_channel_normalization_grad_input", True, False),
    ],
)
def test_a_window_along_the_fastest_index_is_not_side_by_side(name: str, row_major: bool, last: bool) -> None:
    rows = kernel(name).rows
    assert is_side_by_side(kernel(name), rows.order[-1].index) is row_major
    assert is_side_by_side(kernel(name), rows.last[-1].index) is last


def test_what_hinders_wide_accesses() -> None:
    pooling, softmax = kernel("max_pooling_2d_output"), kernel("softmax_output")
    along_rows = {tensor.name: tensor.axes[-1] for tensor in pooling.tensors}
    along_channels = {tensor.name: tensor.axes[1] for tensor in pooling.tensors}
    assert hindrances(pooling, False, along_rows, wide=False) == ["steps or shifts"]
    assert hindrances(pooling, True, along_channels, wide=False) == ["extents that 16 bytes do not divide"]
    assert hindrances(pooling, True, {}, wide=True) == ["neighbours far apart"]
    assert "one value a row" not in hindrances(softmax, False, {}, wide=True)


@pytest.mark.parametrize(("itemsize", "block"), [(2, 1024), (4, 512), (8, 256)])
def test_a_lane_of_a_window_side_by_side_has_16_bytes(itemsize: int, block: int) -> None:
    lanes = schedule.lanes.__wrapped__
    with mock.patch.object(importlib.import_module("svertka.generated.schedule"), "INTERPRETING", False):
        programs, tiles = lanes(5000, 9, True, itemsize, "sm_90")
        assert tiles["BLOCK"] == block
        assert tiles["BLOCK"] * itemsize == 16 * 32 * tiles["num_warps"]
        assert programs == -(-5000 // block)
        assert lanes(5000, 9, False, itemsize, "sm_90")[1]["BLOCK"] == 256
        assert lanes(5000, 1, True, itemsize, "sm_90")[1]["BLOCK"] == 1024
