"""The drawing of a network: its texts, its layout, and its rendering in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from matplotlib.image import imread
from torch import nn

from svertka.generated import Conv1d, Linear
from svertka.networks import NETWORKS
from svertka.networks.drawing import draw
from svertka.networks.summary import Summary, summarize

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
QUIET += ("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars")
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {
    "lenet": ["image", "input", "conv1", "pool1", "conv2", "pool2", "conv3", "full1", "full2"],
    "alexnet": [
        *("image", "input", "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"),
        *("full1", "full2", "full3"),
    ],
}


def summary_of(name: str, **options: Any) -> Summary:
    with torch.device("meta"):
        network = NETWORKS[name](**options)
    return summarize(network, (1, 3 if name == "alexnet" else 1, 1365, 2048))


def stages(svg: str) -> list[ElementTree.Element]:
    return [group for group in ElementTree.fromstring(svg) if group.get("class") == "stage"]


def texts(stage: ElementTree.Element) -> list[str]:
    return [str(text.text) for text in stage.iter(f"{SVG}text")]


def bodies(stage: ElementTree.Element) -> list[tuple[float, float]]:
    """Width and height of the front faces, one per group."""
    found = []
    for path in stage.iter(f"{SVG}path"):
        if str(path.get("class")).split()[1] not in ("top", "side"):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", str(path.get("d")))]
            found.append((numbers[2], numbers[5]))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_every_number_of_the_summary_is_there(name: str) -> None:
    """A box for every layer that changes the shape or multiplies, the others listed below, each once."""
    summary = summary_of(name)
    drawn = {texts(stage)[0]: texts(stage) for stage in stages(draw(summary))}
    assert list(drawn) == DRAWN[name]
    chips: list[str] = []
    for layer in summary.layers:
        stem = layer.name.rpartition(".")[2]
        if stem not in drawn:
            chips.append(layer.kind)
            continue
        assert " × ".join(map(str, layer.output[1:])) in drawn[stem]
        assert not layer.parameters or f"{layer.parameters:,}" in drawn[stem]
        if layer.window is not None:
            stride = layer.window.stride[0]
            size = "{} × {}".format(*layer.window.kernel)
            assert (size if stride == 1 else f"{size} / {stride}") in drawn[stem]
        assert (f"{layer.groups} groups" in drawn[stem]) == (layer.groups > 1)
    kinds = {layer.kind for layer in summary.layers}
    assert [text for lines in drawn.values() for text in lines if text in kinds] == chips
    whole = " ".join(ElementTree.fromstring(draw(summary)).itertext())
    assert f"{summary.parameters:,} parameters, {summary.multiply_adds:,} multiply-adds" in whole


def test_boxes_are_as_large_as_the_maps() -> None:
    """Thickness follows channels, height the maps; each group has its own body."""
    summary = summary_of("alexnet")
    sizes = {texts(stage)[0]: bodies(stage) for stage in stages(draw(summary))}
    counts = {name: len(parts) for name, parts in sizes.items()}
    assert {name for name, count in counts.items() if count == 2} == {"conv2", "conv4", "conv5"}
    assert set(counts.values()) == {1, 2}
    shapes = {layer.name.rpartition(".")[2]: layer.output for layer in summary.layers}
    total = {n: (sum(width for width, _ in parts), parts[0][1]) for n, parts in sizes.items() if n != "image"}
    maps = [n for n in total if len(shapes[n]) == 4]
    for one in maps:
        for other in maps:
            for side, axis in ((0, 1), (1, 2)):
                if shapes[one][axis] > shapes[other][axis]:
                    assert total[one][side] > total[other][side], (one, other)
    heights = {shapes[n][1]: total[n][1] for n in ("full1", "full3")}
    assert heights[4096] > heights[1000]
    ungrouped = draw(summary_of("alexnet", grouped=False))
    assert {len(bodies(stage)) for stage in stages(ungrouped)} == {1}


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_lies_within_the_picture(name: str) -> None:
    root = ElementTree.fromstring(draw(summary_of(name)))
    _, _, width, height = (float(number) for number in str(root.get("viewBox")).split())
    assert (float(str(root.get("width"))), float(str(root.get("height")))) == (width, height)
    for element in root.iter():
        x, y = element.get("x"), element.get("y")
        if x is not None and y is not None:
            assert 0 < float(x) < width
            assert 0 < float(y) < height
        for corner in re.findall(r"M(-?[\d.]+) (-?[\d.]+)", element.get("d") or ""):
            assert 0 < float(corner[0]) < width
            assert 0 < float(corner[1]) < height


def test_stages_stand_from_left_to_right() -> None:
    places = []
    for stage in stages(draw(summary_of("alexnet"))):
        name = next(stage.iter(f"{SVG}text"))
        places.append(float(str(name.get("x"))))
    assert all(left < right for left, right in pairwise(places))


def test_same_summary_same_bytes() -> None:
    assert draw(summary_of("lenet")) == draw(summary_of("lenet"))


def test_names_are_written_as_text() -> None:
    network = nn.Sequential(Conv1d(2, 4, 3), nn.Flatten(), Linear(4 * 5, 3))
    network.__class__ = type("A<&>B", (nn.Sequential,), {})
    svg = draw(summarize(network, (2, 2, 7)))
    assert "A<&>B" in "".join(ElementTree.fromstring(svg).itertext())
    assert [texts(stage)[1] for stage in stages(svg)][1:] == ["3", "20", "3"]


OVERLAPS = """
<script>
const boxes = [...document.querySelectorAll("svg text")].map((t) => ({t: t.textContent, r: t.getBoundingClientRect()}));
const found = [];
boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
  const beside = a.r.right <= b.r.left || b.r.right <= a.r.left;
  const apart = beside || a.r.bottom - 3 <= b.r.top || b.r.bottom - 3 <= a.r.top;
  if (!apart) found.push([a.t, b.t]);
}));
const frame = document.querySelector("svg").getBoundingClientRect();
const beyond = boxes.filter((a) => a.r.left < frame.left || a.r.right > frame.right || a.r.bottom > frame.bottom);
const seen = {texts: boxes.length, found, beyond: beyond.map((a) => a.t)};
document.body.append(Object.assign(document.createElement("pre"), {id: "seen", textContent: JSON.stringify(seen)}));
</script>
"""
in_a_browser = pytest.mark.skipif(not BROWSER, reason="there is no Chromium on this machine; apt-get install chromium")


def browse(page: Path, profile: Path, *options: str) -> str:
    command: Sequence[str] = [BROWSER, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@in_a_browser
@pytest.mark.parametrize("name", NETWORKS)
def test_no_text_covers_another(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{draw(summary_of(name))}{OVERLAPS}", encoding="utf-8")
    told = browse(page, tmp_path / "profile", "--window-size=1600,600", "--dump-dom")
    found = re.search(r'<pre id="seen">(.*?)</pre>', told, re.DOTALL)
    assert found, told[-1000:]
    seen = json.loads(unescape(found[1]))
    assert seen["texts"] > 2 * len(DRAWN[name])
    assert not seen["found"]
    assert not seen["beyond"]


@in_a_browser
def test_a_browser_shows_it_by_itself(tmp_path: Path) -> None:
    """As a separate file, in its colours: paper, convolutions, pools, fully connected layers."""
    page, target = tmp_path / "alexnet.svg", tmp_path / "alexnet.png"
    page.write_text(draw(summary_of("alexnet")), encoding="utf-8")
    browse(page, tmp_path / "profile", "--window-size=1440,420", f"--screenshot={target}")
    image = (255 * imread(target)[..., :3]).round().astype(int)
    for colour in ((0xFD, 0xFC, 0xFA), (0x8F, 0xB8, 0xE8), (0xF6, 0xC1, 0x77), (0xB9, 0xA3, 0xE3)):
        assert (abs(image - colour).max(-1) <= 2).sum() > 500, colour
