"""Running errors at the ends of a format's range: of results that underflow, and of results that it does not hold."""

from __future__ import annotations

import math

import pytest

from svertka.spec import FORMATS, RunningError


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_a_product_that_underflows_has_an_error(name: str) -> None:
    """Its own rounding is half of the smallest number, also where float64 cannot hold the product itself."""
    arithmetic = RunningError(FORMATS[name])
    tiny = FORMATS[name].compute_tiny
    small = arithmetic.multiply(arithmetic.exact(tiny), arithmetic.exact(tiny))
    smallest = tiny * 2 * FORMATS[name].compute
    assert smallest / 2 <= small.error <= 2 * smallest
    assert arithmetic.multiply(small, arithmetic.exact(1024.0)).error >= 1024 * small.error
    assert arithmetic.multiply(arithmetic.exact(0.0), arithmetic.exact(tiny)).error == 0


def test_nothing_is_known_of_a_result_beyond_the_largest_number() -> None:
    large = RunningError(FORMATS["float32"]).multiply(
        *(RunningError(FORMATS["float32"]).exact(2.0**70) for _ in range(2))
    )
    assert large.error == math.inf
