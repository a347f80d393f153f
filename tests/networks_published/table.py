"""The table of published networks: ``python -m tests.networks_published.table`` writes it from the tests' records.

Every run of ``test_numbers`` records its measurements, one line per network and mode; the last line counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .catalogue import NETWORKS

__all__ = ["NOTES", "TABLE", "Row", "note", "rows", "text"]

NOTES = Path("build/networks_published.jsonl")
TABLE = Path(__file__).parent / "TABLE.md"

HEAD = """# Published networks with their layers swapped

Built unchanged by their packages, weights drawn, in float64 on the CPU; every layer that svertka has is swapped by
`svertka.convert`. Differences are the largest over all elements of all outputs, and of all gradients (the input's and
every parameter's), from torch's own; the last columns are the largest share of what rounding alone may explain
(`agreement.py`), fused and not. `python -m tests.networks_published.table` writes this file from the last run of the
tests.

| network | package | parameters | converted | left | fused | mode | outputs | gradients | of the bound |
|---|---|--:|--:|--:|--:|---|--:|--:|--:|
"""


@dataclass(frozen=True)
class Row:
    """The measurements of one test for a network in one mode."""

    name: str
    mode: str
    fuse: bool
    parameters: int
    converted: int
    left: int
    fused: int
    outputs: float
    gradients: float
    share: float


def note(row: Row) -> None:
    """Record a row."""
    NOTES.parent.mkdir(exist_ok=True)
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def rows() -> dict[tuple[str, str, bool], Row]:
    """The last row of each network, mode and kind."""
    lines = NOTES.read_text(encoding="utf-8").splitlines()
    found = (Row(**json.loads(line)) for line in lines)
    return {(row.name, row.mode, row.fuse): row for row in found}


def text(found: Mapping[tuple[str, str, bool], Row]) -> str:
    """The table."""
    lines = []
    for network in NETWORKS:
        for mode in ("evaluation", "training"):
            kinds = [found[key] for fuse in (False, True) if (key := (network.name, mode, fuse)) in found]
            if kinds:
                outputs, gradients, share = (
                    max(getattr(row, part) for row in kinds) for part in ("outputs", "gradients", "share")
                )
                first, last = kinds[0], kinds[-1]
                counts = f"{first.parameters:,} | {first.converted} | {first.left} | {last.fused}"
                numbers = f"{outputs:.1e} | {gradients:.1e} | {share:.2g}"
                lines.append(f"| {network.name} | {network.package} | {counts} | {mode} | {numbers} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(text(rows()), encoding="utf-8")
    print(TABLE)
