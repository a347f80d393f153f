"""The answer of an adapter: results, and a bound of their rounding error; or the reason why there is none."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np

from svertka.generated import functional

from ..reference.bounds import ROUNDINGS_OF_TWO, within
from .roads import Road
from .suite import Array

__all__ = ["Answer", "Lacking", "NotRun", "agree"]

SINGLE = 2.0**-24


@dataclass(frozen=True, eq=False)
class Answer:
    """One output.

    Attributes:
        value: the result on the road.
        magnitude: the same computation on absolute values, in float64; None asks for equality.
        roundings: number on the longest way from an input to the result.
        printed: largest error from ONNX's own rounding of inputs and outputs to a few decimals.
    """

    value: Array
    magnitude: Array | None = None
    roundings: int = 0
    printed: Array | float = 0.0


@dataclass(frozen=True)
class Lacking:
    """Why a case cannot run: a function that svertka does not have, or an argument that the function does not have.

    Attributes:
        text: what ONNX asks for.
        function: the public function that would compute it.
        argument: the argument that would ask for it; empty if the function itself is missing.
    """

    text: str
    function: str
    argument: str = ""

    def holds(self) -> bool:
        """Whether it is still missing."""
        found = getattr(functional, self.function, None)
        return found is None or (bool(self.argument) and self.argument not in inspect.signature(found).parameters)


class NotRun(Exception):  # noqa: N818
    """An adapter's refusal; ``reason`` is a key of ``REASONS``."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def agree(answer: Answer, expected: Array, road: Road) -> None:
    """Check that an answer differs from ONNX's expected output only by rounding.

    ONNX computes the expected output in float32 (some in float64, rounded once; some are written as the shortest
    decimals that identify the float32). Every operation errs by at most a share u = 2**-24 of its result, so the
    expected output lies within ``roundings * u * magnitude`` of the true value: ``tests.reference.bounds.within`` has
    the reasoning. The reference computes in float64, where the same count of roundings is 2**29 times smaller: the
    counts are rounded up by more. For the generated functions, which compute in float32 too, the answer has the same
    bound as the expected output, and the two may differ by twice that. A float32 of an attribute (ONNX stores no other
    type) is one more rounding.
    """
    if answer.magnitude is None:
        assert answer.value.shape == expected.shape
        np.testing.assert_array_equal(answer.value, expected)
        return
    if road.single:
        assert answer.value.dtype == np.float32
    bound = answer.roundings * SINGLE * (2 if road.single else 1) * answer.magnitude + answer.printed
    assert within(answer.value.astype(np.float64), expected.astype(np.float64), bound / ROUNDINGS_OF_TWO, 1)
