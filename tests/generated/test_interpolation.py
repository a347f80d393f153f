"""Interpolation as torch spells it: where it decides as torch does, where it does not, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as torchs

import svertka.generated as generated
from svertka.generated.functional import interpolate


def counted(*extents: int) -> Tensor:
    """Float32 elements of which each is its place."""
    return torch.arange(torch.Size(extents).numel(), dtype=torch.float32).reshape(1, 1, *extents)


@pytest.mark.parametrize("factor", [0.3, 1 / 3, 0.5, 0.75, 1, 1.1, 1.5, 1.7, 1.99, 2, 2.2, 2.5, 3, 8])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("extents", [(7,), (7, 5), (4, 7, 5)])
def test_a_factor_reads_the_elements_that_torch_reads(mode: str, factor: float, extents: tuple[int, ...]) -> None:
    """Also where it keeps an extent or doubles it, of which torch then repeats elements; over two axes alone."""
    image = counted(*extents)
    assert torch.equal(
        interpolate(image, scale_factor=factor, mode=mode), torchs.interpolate(image, scale_factor=factor, mode=mode)
    )


def test_a_size_reads_the_elements_that_torch_reads_but_for_its_rounding() -> None:
    """Torch rounds the ratio of the sizes to float32, so that a multiple of it can fall below a whole number."""
    differing = []
    for before in range(1, 9):
        for after in range(1, 200):
            image = counted(before)
            found, wanted = (one(image, size=after)[0, 0] for one in (interpolate, torchs.interpolate))
            if not torch.equal(found, wanted):
                differing.append((before, after))
                exact = torch.tensor([place * before // after for place in range(after)])
                assert torch.equal(found, exact.float())
                (places,) = torch.nonzero(found != wanted, as_tuple=True)
                assert all(int(place) * before % after == 0 for place in places)
                assert torch.equal(found[places] - wanted[places], torch.ones(len(places)))
    assert (4, 164) in differing


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ((7, 5), {"size": 4, "mode": "bicubic"}, "mode='bicubic': is unknown; pass one of 'nearest', 'nearest-exact'"),
        ((7, 5), {"size": 4, "mode": "bilinear", "antialias": True}, "antialias=True: must be False"),
        ((7, 5), {"size": 4, "mode": "trilinear"}, "mode='trilinear': must be for an input of 4 dimensions"),
        ((7, 5), {"size": 4, "align_corners": True}, "align_corners=True: must be None in mode 'nearest'"),
        ((7, 5), {}, "size=None: is for calls without scale_factor, which is None; give one of the two"),
        ((7, 5), {"size": 4, "scale_factor": 2}, "size=4: is for calls without scale_factor, which is 2"),
        ((7, 5), {"size": (1, 2, 3)}, "size=(1, 2, 3): must be one integer, or 2, one an axis"),
        ((7, 5), {"scale_factor": (1.0,)}, "scale_factor=(1.0,): must be one number, or 2, one an axis"),
        ((7, 5), {"scale_factor": 0.0}, "scale_factor=0.0: must be more than 0"),
        (
            (7, 5),
            {"scale_factor": 2**0.5},
            "must be a ratio of whole numbers, to 24 bits, of which the lower is at most",
        ),
        ((7, 5), {"scale_factor": 0.1}, "size=(0, 0): every entry must be at least 1"),
        ((7, 0), {"size": 4}, "input.shape=(1, 1, 7, 0): must have positive extents"),
        ((7, 5, 3, 2), {"size": 4}, "input.shape=(1, 1, 7, 5, 3, 2): must have 3 to 5 dimensions"),
        ((7, 5), {"size": 4, "recompute_scale_factor": True}, "recompute_scale_factor=True: is for calls with scale_"),
    ],
)
def test_what_is_refused(given: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        interpolate(counted(*given), **options)


def test_a_graph_with_open_extents() -> None:
    compiled = torch.compile(
        lambda image: interpolate(image, size=(7, 9)), fullgraph=True, dynamic=True, backend="eager"
    )
    for extents in ((4, 5), (6, 8), (14, 3)):
        assert torch.equal(compiled(counted(*extents)), torchs.interpolate(counted(*extents), size=(7, 9)))


def test_an_exported_module_keeps_its_extents_open() -> None:
    wide, high = torch.export.Dim("wide", min=2, max=64), torch.export.Dim("high", min=2, max=64)
    module = generated.Upsample(scale_factor=1.5, mode="bilinear")
    exported = torch.export.export(module, (counted(4, 6),), dynamic_shapes={"input": {2: high, 3: wide}}).module()
    image = counted(8, 10)
    torch.testing.assert_close(exported(image), torchs.interpolate(image, scale_factor=1.5, mode="bilinear"))


def test_channels_last_stays() -> None:
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for mode in ("nearest", "bilinear"):
        assert interpolate(image, scale_factor=2, mode=mode).is_contiguous(memory_format=torch.channels_last)
