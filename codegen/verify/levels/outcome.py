"""The result of a validation level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a level showed about a formula.

    Attributes:
        level: its name.
        layer: the formula's name.
        cases: how many cases ran; ``elements``: how many elements were compared.
        figures: further numbers of the level, as JSON values.
        failures: one line each; empty if the level holds.
        inapplicable: why the level does not apply to this formula; empty if it does.
    """

    level: str
    layer: str
    cases: int = 0
    elements: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    inapplicable: str = ""

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing failed."""
        return self.elements > 0 and not self.failures
