"""A comparison reports its result correctly, and does not pass where it could not fail."""

from __future__ import annotations

import math

import pytest
import torch

from svertka.codegen.verify.equivalence import compared
from svertka.spec.running_error import Bounded


def bounded(values: list[float], errors: list[float]) -> Bounded:
    return Bounded(torch.tensor(values, dtype=torch.float64), torch.tensor(errors, dtype=torch.float64))


@pytest.mark.parametrize(
    ("got", "value", "error", "holds"),
    [
        (1.0, 1.0, 0.0, True),
        (1.5, 1.0, 0.5, True),
        (1.5, 1.0, 0.25, False),
        (1.5, 1.0, math.inf, False),  # an infinite bound proves nothing
        (1.0, 1.0, math.inf, True),
        (math.nan, math.nan, 0.0, True),
        (math.nan, 1.0, 0.5, False),
        (1.0, math.nan, 0.5, False),
        (math.inf, math.inf, 0.0, True),
        (-math.inf, math.inf, math.inf, False),
        (3.4e38, math.inf, math.inf, False),
    ],
)
def test_one_element(got: float, value: float, error: float, holds: bool) -> None:
    others = [7.0, 8.0]
    found = compared(
        "y", torch.tensor([*others, got], dtype=torch.float64), bounded([*others, value], [0.1, 0.1, error])
    )
    assert found.holds == holds
    if not holds:
        assert found.worst == (2,)
        assert found.ratio > 1


def test_another_number_of_elements() -> None:
    assert not compared("y", torch.ones(3), bounded([1.0, 1.0], [1.0, 1.0])).holds


def test_nothing_to_compare() -> None:
    assert compared("y", torch.ones(0), bounded([], [])).elements == 0
