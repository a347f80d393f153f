"""Rows that would be read more than once fit a larger tile: which kernels read them so, and which tiles they have."""

from __future__ import annotations

import pytest
import torch

from svertka.codegen.lowering.build import build
from svertka.generated import schedule
from svertka.spec.layers import DEFINITIONS

rows = schedule.rows.__wrapped__


@pytest.fixture(autouse=True)
def of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "INTERPRETING", False)


@pytest.mark.parametrize(
    ("name", "kernel", "read"),
    [
        ("softmax", "softmax_output", 1),
        ("softmax", "softmax_grad_input", 2),
        ("layer_normalization", "layer_normalization_grad_input", 3),
        ("cross_entropy", "cross_entropy_labels_sum_loss", 0),  # once, but for a sum that mostly nothing uses
        ("batch_normalization", "batch_normalization_training_output", 0),
        ("relu", "relu_output", 0),
    ],
)
def test_kernels_that_read_a_row_again(name: str, kernel: str, read: int) -> None:
    found = {one.name: one.read_again for one in build(DEFINITIONS[name]).kernels}
    assert found[kernel] == read


@pytest.mark.parametrize(
    ("length", "again", "columns"),
    [
        (8192, 1, 8192),
        (8193, 1, 16384),
        (32768, 1, 32768),
        (32769, 1, 8192),  # does not fit either way
        (16384, 2, 16384),
        (16385, 2, 8192),
        (8193, 3, 8192),
        (16384, 3, 8192),
        (32768, 0, 8192),
    ],
)
def test_a_tile_is_as_long_as_a_row_that_fits(length: int, again: int, columns: int) -> None:
    for target in ("sm_80", "sm_90"):
        _, tiles = rows(8, length, False, torch.float32, target, again=again)
        assert (tiles["COLUMNS"], tiles["SINGLE"]) == (columns, columns >= length)
        _, wide = rows(8, -(-length // 2), False, torch.float64, target, again=again)
        assert wide["COLUMNS"] == columns // 2


def test_rows_side_by_side_stay_as_they_are() -> None:
    before, after = (rows(64, 20000, True, torch.float32, "sm_90", again=again) for again in (0, 1))
    assert before == after
