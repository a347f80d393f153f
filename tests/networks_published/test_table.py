"""The table has every network of the catalogue in every mode, each within its bound."""

from __future__ import annotations

from .catalogue import NETWORKS
from .table import TABLE


def test_the_table_has_every_network() -> None:
    lines = [line.split("|")[1:-1] for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines[1:]]
    expected = [
        (network.name, mode)
        for network in NETWORKS
        for mode in ("evaluation", "training")
        if not (network.large and mode == "training")
    ]
    assert [(row[0], row[6]) for row in cells] == expected
    assert len({row[0] for row in cells}) >= 25
    assert all(float(row[9]) <= 1 for row in cells)
    assert all(int(row[3]) > 0 for row in cells)
