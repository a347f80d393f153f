"""Predicted times against measured ones: whether they order calls alike, and how far the worst is off.

Input: predicted seconds, and the JSON that ``svertka bench`` writes on a GPU. Output: an ``Agreement``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Agreement", "agreement", "read"]

Key = tuple[str, str, str, str]  # name, dtype, layout, direction


@dataclass(frozen=True)
class Agreement:
    """How predictions agree with measurements.

    Attributes:
        calls: how many have both.
        correlation: of the ranks (Spearman), 1 if they order all calls alike.
        worst: the key whose measured over predicted time is farthest from 1; ``ratio``: that ratio.
    """

    calls: int
    correlation: float
    worst: Key
    ratio: float

    def __str__(self) -> str:
        return (
            f"{self.calls} calls: rank correlation {self.correlation:.3f}; "
            f"worst {' '.join(self.worst)}: measured / predicted {self.ratio:.2f}"
        )


def read(path: Path) -> dict[Key, float]:
    """Measured seconds of svertka by call; without the host's.

    Raises:
        ValueError: the file is none of a benchmark on a GPU.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in data["rows"] if row["direction"] != "host"]
        found = {
            (row["name"], row["dtype"], row["layout"], row["direction"]): float(row["seconds"]["svertka"])
            for row in rows
        }
        capability = data["settings"]["capability"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"--against {path}: no result of `svertka bench` ({error!r}); give its JSON file") from error
    if not capability or not found:
        raise ValueError(f"--against {path}: it was not measured on a GPU; run `svertka bench` on one")
    return found


def agreement(predicted: Mapping[Key, float], measured: Mapping[Key, float]) -> Agreement:
    """Compare the calls that have both times.

    Raises:
        ValueError: fewer than two calls have both.
    """
    both = [key for key in predicted if key in measured]
    if len(both) < 2:
        raise ValueError(f"{len(both)} calls are both predicted and measured; at least 2 are needed")
    ratios = {key: measured[key] / predicted[key] for key in both}
    worst = max(both, key=lambda key: abs(float(np.log(ratios[key]))))
    ranks = [_ranks([times[key] for key in both]) for times in (predicted, measured)]
    spread = [float(np.std(one)) for one in ranks]
    together = float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())))
    correlation = together / (spread[0] * spread[1]) if all(spread) else 0.0
    return Agreement(len(both), correlation, worst, ratios[worst])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Places in order; equal values share the mean of theirs."""
    given = np.asarray(values)
    return np.array([(given < one).sum() + ((given == one).sum() - 1) / 2 for one in given], dtype=np.float64)
