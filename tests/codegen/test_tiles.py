"""Tiles smaller and larger than extents: every path of every template is executed, and each gives the formula.

The tile tables are replaced; launches are recorded, so that a path counts only if it was executed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.verify.cases import Case
from svertka.spec.definition import Definition

from .arrangements import channels_last
from .harness import (
    Problem,
    cases_of,
    definition_of,
    kernels_of,
    misses,
    module_of,
    of_case,
    outcome,
    problem,
    problem_names,
    smallest,
)
from .tiles import LARGE_TILES, SMALL_TILES, Launched, recorded, table, tiles

SWITCHES = {"SINGLE", "TAPS", "LAST"}
CONTIGUOUS = torch.Tensor.contiguous
LAYERS = sorted({name.rsplit("-", 1)[0] for name in problem_names()})

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="these are the interpreter's tables")


def _run(given: Problem, expected: Any, chosen: Any, arrange: Any = torch.Tensor.contiguous) -> list[Launched]:
    """Run a case with some tiles, compare, and return what was launched."""
    kernels = kernels_of(given.module.definition.name)
    with tiles(chosen), recorded() as launches:
        found = outcome(given, kernels, torch.float32, "cpu", arrange)
    bad = misses(found, expected, torch.float32)
    assert not bad, "\n".join(bad)
    return launches


def _of(launches: Sequence[Launched], definition: Definition, pattern: LoopPattern) -> list[Launched]:
    names = {kernel.name for kernel in module_of(definition.name).kernels if kernel.pattern == pattern}
    return [launched for launched in launches if launched.kernel in names]


@pytest.mark.thinned(4)
@pytest.mark.parametrize("layer", LAYERS)
def test_paths(layer: str) -> None:
    """Several tiles with channels last, and one tile larger than everything without."""
    given = problem(f"{layer}-{smallest(layer)}", "float32")
    definition, expected = given.module.definition, given.expected()
    small = _run(given, expected, SMALL_TILES, channels_last)
    large = _run(given, expected, LARGE_TILES)
    assert {launched.kernel for launched in small} == {launched.kernel for launched in large}
    for launched in large:
        assert launched.constants.get("SINGLE", True)
    for pattern in (LoopPattern.POINTWISE, LoopPattern.WINDOW):
        assert all(launched.programs == 1 for launched in _of(large, definition, pattern))
        assert all(launched.constants["BLOCK"] <= SMALL_LANES for launched in _of(small, definition, pattern))
    for launched in _of(small, definition, LoopPattern.CONTRACTION):
        assert launched.constants["BLOCK_K"] == SMALL_DEPTH


SMALL_LANES = SMALL_TILES["interpreter"]["block"]
SMALL_DEPTH = SMALL_TILES["interpreter_contraction"]["half"][0]["tile"][2]


def test_every_path_is_taken() -> None:
    """Over a few layers, each switch of each template takes both values."""
    seen: dict[str, set[Any]] = {}
    programs: dict[LoopPattern, set[bool]] = {}
    for layer in ("convolution_1d", "max_pooling_1d", "softmax", "linear", "center_crop"):
        given = problem(f"{layer}-{smallest(layer)}", "float32")
        expected = given.expected()
        for chosen, arrange in ((SMALL_TILES, channels_last), (LARGE_TILES, CONTIGUOUS), (WITHOUT_TAPS, CONTIGUOUS)):
            launches = _run(given, expected, chosen, arrange)
            for pattern in LoopPattern:
                several = {one.programs > 1 for one in _of(launches, given.module.definition, pattern)}
                programs.setdefault(pattern, set()).update(several)
            for launched in launches:
                for switch in SWITCHES & launched.constants.keys():
                    seen.setdefault(switch, set()).add(bool(launched.constants[switch]))
    assert seen == {switch: {True, False} for switch in SWITCHES}
    elsewhere = {LoopPattern.SCAN, LoopPattern.CHAIN}  # no layer has them: their own tests run several tiles of them
    assert all(programs.pop(pattern) == set() for pattern in elsewhere)
    assert programs == {pattern: {True, False} for pattern in LoopPattern if pattern not in elsewhere}


WITHOUT_TAPS = table(2, 4, 1, (128, 4, 64))
"""The window and the other summed axes are traversed as one."""

RESIDUES = {
    # formula: extent along the tile, tile, other sizes
    "relu": ("I", table(4, 4, 1, (4, 4, 4)), {}),
    "log_softmax": ("K", table(8, 4, 1, (4, 4, 4)), {"A": 2, "B": 3}),
    "softmax": ("B", table(8, 4, 4, (4, 4, 4)), {"A": 1, "K": 3}),
    "max_pooling_1d": ("W", table(4, 4, 1, (4, 4, 4)), {"N": 1, "C": 1, "S": 3, "stride_w": 2, "padding_w": 1}),
    "linear m": ("M", table(4, 4, 1, (4, 4, 4)), {"I": 3, "O": 2}),
    "linear n": ("O", table(4, 4, 1, (4, 4, 4)), {"I": 3, "M": 2}),
    "linear k": ("I", table(4, 4, 1, (4, 4, 4)), {"M": 3, "O": 2}),
}


@pytest.mark.parametrize("row", RESIDUES)
@pytest.mark.parametrize("extent", range(1, 10))
def test_every_residue(row: str, extent: int) -> None:
    """Extents of every residue modulo the tile, below, at and above one and two tiles."""
    layer, (axis, chosen, sizes) = row.split()[0], RESIDUES[row]
    definition, variant = definition_of(layer)
    drawn = cases_of(layer)[0]
    given = dict(_completed(definition, {**drawn.sizes, **sizes, axis: extent}))
    case = Case(f"{row}-{extent}", given, drawn.absent)
    small = of_case(module_of(definition.name), variant, case, "float32")
    launches = _run(small, small.expected(), chosen)
    if extent > 4:
        chunks = any(not one.constants.get("SINGLE", True) or one.programs > 1 for one in launches)
        assert chunks or row == "linear k"


def _completed(definition: Definition, sizes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    from svertka.spec.evaluate import whole

    yield from sizes.items()
    for name, rule in definition.extents.items():
        yield name, whole(rule, sizes)
