"""Kernels are proven at extents of every residue modulo the tile: below, at and above one and more tiles.

A wrong mask may fail at a single residue only. Each loop pattern is tested once, each of its extents in turn; launches
are recorded, so that an extent counts only if its programs and chunks did occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.symbolic import prove
from svertka.codegen.verify.symbolic.regions import REGIONS
from svertka.spec.definition import Definition
from svertka.spec.evaluate import whole

from ..codegen.harness import cases_of, definition_of, kernels_of, module_of
from ..codegen.tiles import Launched, recorded


@dataclass(frozen=True)
class Walk:
    """An extent that is varied.

    Attributes:
        layer: the formula.
        axis: the extent; it takes every value from 1 to ``last``.
        sizes: what other extents and parameters are.
        kernel: a kernel that loops along the axis.
        tile: the constant with the length of a program, or of a step of it.
        phases: the constant that divides the axis into cells, where a lane computes all of a cell.
        chunked: whether one program loops along the axis in steps, instead of several programs.
        last: the largest extent.
    """

    layer: str
    axis: str
    sizes: dict[str, int]
    kernel: str
    tile: str
    phases: str = ""
    chunked: bool = False
    last: int = 9

    def __str__(self) -> str:
        return f"{self.layer}-{self.axis}-{self.kernel}"


POOLING = {"N": 1, "C": 1, "S": 3, "stride_w": 2, "padding_w": 1}
WALKS = (
    Walk("relu", "I", {}, "relu_output", "BLOCK", last=15),
    Walk("log_softmax", "K", {"A": 1, "B": 2}, "log_softmax_output", "COLUMNS", chunked=True),
    Walk("log_softmax", "B", {"A": 1, "K": 3}, "log_softmax_output", "ROWS"),
    Walk("max_pooling_1d", "W", POOLING, "max_pooling_1d_grad_input", "BLOCK", "stride_w", last=15),
    Walk("linear", "M", {"I": 3, "O": 2}, "linear_output", "BLOCK_M", last=17),
    Walk("linear", "O", {"I": 3, "M": 2}, "linear_output", "BLOCK_N"),
    Walk("linear", "I", {"M": 3, "O": 2}, "linear_output", "BLOCK_K", chunked=True),
)


def _completed(definition: Definition, sizes: dict[str, Any]) -> dict[str, Any]:
    """Extents that follow from others, computed again."""
    for name, rule in definition.extents.items():
        sizes[name] = whole(rule, sizes)
    return sizes


def _proven(walk: Walk, extent: int) -> list[Launched]:
    """Prove forward and backward at one extent, in every region, and return the launches."""
    definition, variant = definition_of(walk.layer)
    drawn = cases_of(walk.layer)[0]
    sizes = _completed(definition, {**drawn.sizes, **walk.sizes, walk.axis: extent})
    case = Case(f"{walk}-{extent}", sizes, drawn.absent)
    with recorded() as launches:
        proof = prove(module_of(definition.name), variant, kernels_of(definition.name), case)
    assert proof.failures == (), f"{walk.axis} = {extent}"
    assert proof.regions == tuple(region.name for region in REGIONS)
    assert proof.elements > 0
    return [launched for launched in launches if launched.kernel == walk.kernel]


def _walked(walk: Walk, extent: int, launches: Sequence[Launched]) -> set[tuple[int, int]]:
    """Tiles that an extent exceeded, with its residue; there must be as many of them as it needs."""
    found = set()
    for launched in launches:
        tile = launched.constants[walk.tile]
        if walk.phases and launched.constants["UNROLL"] > 1:
            extent = -(-extent // launched.constants[walk.phases])
        found.add((tile, extent % tile))
        if extent > tile and walk.chunked:
            assert not launched.constants.get("SINGLE", False)
        elif extent > tile:
            assert launched.programs >= -(-extent // tile)
    return found


@pytest.mark.thinned(4)
@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_every_residue(walk: Walk) -> None:
    """Every extent is proven; together they cover every residue of some tile, beyond its own length."""
    seen, several = set(), set()
    for extent in range(1, walk.last + 1):
        launches = _proven(walk, extent)
        assert launches
        places = _walked(walk, extent, launches)
        seen |= places
        several |= {(tile, residue) for tile, residue in places if extent > tile}
    tiles = {tile for tile, _ in several if tile > 1 and 2 * tile < walk.last}
    full = [tile for tile in tiles if {residue for other, residue in several if other == tile} == set(range(tile))]
    assert full, f"no tile saw all of its residues beyond its own length: {sorted(seen)}"
