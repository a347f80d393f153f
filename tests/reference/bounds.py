"""The bound for comparisons of floating-point results."""

import numpy as np
from numpy.typing import ArrayLike

ROUNDINGS_OF_TWO = 2.0**-52
ROUNDINGS_OF_ACTIVATION = 64
"""No activation rounds more often, each time a number that is at most of the size of the element or of 1."""


def within(actual: ArrayLike, expected: ArrayLike, magnitude: ArrayLike, operations: float) -> bool:
    """Whether two float64 computations of one quantity differ by rounding alone.

    The bound is `operations` * 2**-52 * `magnitude`. Every float64 operation errs by at most a share u = 2**-53 of its
    result. A sum of n products, in whatever order, errs by at most n u / (1 - n u) times the sum of the products'
    absolute values (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). So let `magnitude` be the
    same computation carried out on absolute values, every minus a plus, and `operations` the number of roundings on the
    longest way from an input to the result: then each of the two computations errs by at most operations * u *
    magnitude, and they differ by at most twice that. Functions such as exp count with their own error, in units of u; a
    function f maps a relative error e of x to x f'(x) / f(x) e, and where that factor matters it goes into the
    magnitude. Terms in u**2 are left out: n stays below 10**4 in the tests, and the counts are rounded up by more than
    that.

    NaN agrees only with NaN, an infinity only with itself, and where the magnitude is 0 the results must be equal.

    Args:
        actual: The result under test.
        expected: The result it should have, of the same shape.
        magnitude: The computation on absolute values; broadcasts.
        operations: Roundings on the longest way.

    Returns:
        True.

    Raises:
        AssertionError: Shapes differ, or an element lies outside; the message shows the worst.
    """
    left, right = np.asarray(actual), np.asarray(expected)
    assert left.shape == right.shape, f"shape {left.shape} in place of {right.shape}"
    bound = operations * ROUNDINGS_OF_TWO * np.broadcast_to(magnitude, left.shape)
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    excess = np.where(same, 0.0, difference - bound)
    excess = np.where(np.isnan(excess), np.inf, excess)
    if np.any(excess > 0):
        worst = np.unravel_index(np.argmax(excess), left.shape)
        raise AssertionError(
            f"at {tuple(map(int, worst))}: {left[worst]!r} in place of {right[worst]!r}, bound {bound[worst]!r}"
        )
    return True
