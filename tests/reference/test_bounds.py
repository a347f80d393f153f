"""The bound itself: which differences it accepts and which it refuses."""

import numpy as np
import pytest

from .bounds import within


def test_bound_is_sharp() -> None:
    step = 2.0**-52
    assert within(1 + 3 * step, 1.0, 1.0, 3)
    with pytest.raises(AssertionError, match="bound"):
        within(1 + 4 * step, 1.0, 1.0, 3)


def test_no_magnitude_demands_equality() -> None:
    assert within([0.0, 1.0], [0.0, 1.0], 0.0, 100)
    with pytest.raises(AssertionError):
        within([0.0, 5e-324], [0.0, 0.0], 0.0, 100)


@pytest.mark.parametrize("other", [0.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_special_values_agree_with_themselves_alone(value: float, other: float) -> None:
    assert within(value, value, 1.0, 1)
    if not (value == other or (np.isnan(value) and np.isnan(other))):
        with pytest.raises(AssertionError):
            within(value, other, 1e300, 1e6)


def test_shapes_must_agree() -> None:
    with pytest.raises(AssertionError, match="shape"):
        within(np.zeros(3), np.zeros((3, 1)), 1.0, 1)
