"""What an adapter answers: results, and how far rounding may have moved them; or the reason for none."""

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
        value: what the road computed.
        magnitude: the same computation on absolute values, in float64; None asks for equality.
        roundings: on the longest way from an input to the result.
        printed: what ONNX's own rounding to a few decimals, of inputs and outputs, may come to.
    """

    value: Array
    magnitude: Array | None = None
    roundings: int = 0
    printed: Array | float = 0.0


@dataclass(frozen=True)
class Lacking:
    """Why a case cannot run: a function that svertka has not, or an argument that the function has not.

    Attributes:
        text: what ONNX asks for.
        function: the public function that would compute it.
        argument: the argument that would ask for it; empty if the function itself is lacking.
    """

    text: str
    function: str
    argument: str = ""

    def holds(self) -> bool:
        """Whether it is lacking still."""
        found = getattr(functional, self.function, None)
        return found is None or (bool(self.argument) and self.argument not in inspect.signature(found).parameters)


class NotRun(Exception):  # noqa: N818
    """An adapter's refusal; ``reason`` is a key of ``REASONS``."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def agree(answer: Answer, expected: Array, road: Road) -> None:
    """Ask an answer to differ from what ONNX expects by rounding alone.

    ONNX computes what it expects in float32 (some in float64, rounded once; some written down as the shortest decimals
    that name the float32). Every operation errs by at most a share u = 2**-24 of its result, so that what it expects
    lies within ``roundings * u * magnitude`` of the true value: ``tests.reference.bounds.within`` has the reasoning.
    The reference computes in float64, where the same count of roundings is 2**29 times smaller: the counts are rounded
    up by more. Over the generated functions, in float32 as well, the answer has the same bound as the expected output
    has, and the two may differ by twice that. A float32 of an attribute (ONNX stores no other) is one more rounding.
    """
    if answer.magnitude is None:
        assert answer.value.shape == expected.shape
        np.testing.assert_array_equal(answer.value, expected)
        return
    if road.single:
        assert answer.value.dtype == np.float32
    bound = answer.roundings * SINGLE * (2 if road.single else 1) * answer.magnitude + answer.printed
    assert within(answer.value.astype(np.float64), expected.astype(np.float64), bound / ROUNDINGS_OF_TWO, 1)
