"""Affine functions of loop indices with known coefficients, compiled to closures.

Input: constants and slopes by index name. Output: ``Affine``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Affine"]


@dataclass(frozen=True)
class Affine:
    """``constant + sum of slope * index``: most indices of a formula, once its parameters are known."""

    constant: int
    slopes: Mapping[str, int]

    @classmethod
    def sum(cls, terms: Iterable[tuple[int, Affine]]) -> Affine:
        """The sum of multiples."""
        constant, slopes = 0, dict[str, int]()
        for factor, part in terms:
            constant += factor * part.constant
            for name, slope in part.slopes.items():
                slopes[name] = slopes.get(name, 0) + factor * slope
        return cls(constant, slopes)

    def at(self, here: Mapping[str, int]) -> Callable[[], int]:
        """Compile to a closure over the loop indices; short sums are written without a loop, for speed."""
        constant, terms = self.constant, tuple(self.slopes.items())
        if not terms:
            return lambda: constant
        if len(terms) == 1:
            ((name, slope),) = terms
            return lambda: here[name] * slope + constant
        if len(terms) == 2:
            (first, a), (second, b) = terms
            return lambda: here[first] * a + here[second] * b + constant
        return lambda: sum((here[name] * slope for name, slope in terms), constant)
