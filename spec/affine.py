"""Affine functions of loop indices with known coefficients, and their Python source.

Input: constants and slopes by index name. Output: ``Affine``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    def source(self, names: Mapping[str, str]) -> str:
        """Python source of the value, with the names of the loop indices there."""
        terms = [f"{names[name]} * {slope}" for name, slope in self.slopes.items() if slope]
        return f"({' + '.join([*terms, str(self.constant)])})"
