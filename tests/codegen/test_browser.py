"""The book's pages in a real browser: headless Chromium, if it is installed.

Only options of the browser itself are used: it prints the page as it is after the scripts have run, and writes
pictures. A script appended to a copy of the page presses keys and buttons like a reader and records the state of the
page.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from svertka.codegen.book.site import pages, write_pages
from svertka.codegen.driver.generate import PACKAGE
from svertka.spec.layers import DEFINITIONS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="there is no Chromium on this machine; apt-get install chromium"),
]

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
PAGE = "layers/convolution_2d.html"
WATCH = """
<script>
const seen = {errors: [], words: []};
window.addEventListener("error", (event) => seen.errors.push(String(event.message)));
</script>
"""
READER = """
<script>
const figure = document.getElementById("example-1");
const now = () => {
  const shown = [...figure.querySelectorAll(".steps > li")].filter((item) => item.offsetParent !== null);
  seen.words.push(shown.map((item) => item.querySelector(".sum").firstChild.textContent.trim()));
  seen.drawn = shown.map((item) => item.querySelector("svg").getBoundingClientRect().width > 100);
};
const press = (target, key) =>
  target.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
now();
press(figure, "ArrowRight"); now();
figure.querySelector("[aria-label='Next step']").click(); now();
press(figure, "ArrowLeft"); now();
press(document.body, "ArrowLeft"); now();
press(figure, "ArrowLeft"); now();
seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
document.body.append(Object.assign(document.createElement("pre"), {id: "seen", textContent: JSON.stringify(seen)}));
</script>
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = [DEFINITIONS[name] for name in ("convolution_2d", "max_pooling_2d", "softmax")]
    made = tmp_path_factory.mktemp("book")
    write_pages(pages(chosen, PACKAGE), made)
    return made


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page with a fresh profile."""
    command = [BROWSER, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def picture(page: Path, profile: Path, *options: str) -> np.ndarray[Any, Any]:
    """The page as a picture, rows by columns by red, green, blue, from 0 to 255."""
    target = profile.parent / f"{profile.name}.png"
    done = browse(page, profile, f"--screenshot={target}", *options)
    assert not complaints(done)
    return np.rint(255 * imread(target)[..., :3]).astype(int)


def share_of(image: np.ndarray[Any, Any], colour: Sequence[int], within: int = 6) -> float:
    """The share of a picture that has about that colour."""
    return float((np.abs(image - np.array(colour)).max(axis=-1) <= within).mean())


def test_a_reader_steps_through_a_figure(folder: Path, tmp_path: Path) -> None:
    """Keys and buttons show one step after another; after the last step comes the first."""
    text = (folder / PAGE).read_text(encoding="utf-8")
    page = folder / "layers" / "read.html"
    page.write_text(text.replace("<body>", f"<body>{WATCH}").replace("</body>", f"{READER}</body>"), encoding="utf-8")
    done = browse(page, tmp_path / "profile", "--window-size=1000,1400", "--dump-dom")
    assert not complaints(done)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    seen = json.loads(unescape(found[1]))
    assert not seen["errors"]
    steps = re.findall(r'<p class="sum">([^<]*)', text.partition('id="example-2"')[0])
    steps = [unescape(step).strip() for step in steps]
    assert len(steps) == 9
    assert seen["words"] == [[steps[n]] for n in (0, 1, 2, 1, 0, 8)]
    assert seen["drawn"] == [True]
    assert seen["wide"] == 0


@pytest.mark.parametrize("width", [500, 1000])
def test_a_page_looks_like_something(width: int, folder: Path, tmp_path: Path) -> None:
    """Paper, ink and the window's colour are there; in a narrow window as in a wide one."""
    image = picture(folder / PAGE, tmp_path / "profile", f"--window-size={width},1200")
    assert image.shape[0] == 1200
    assert share_of(image, (0xFD, 0xFC, 0xFA)) > 0.2
    assert share_of(image, (0xF2, 0xA9, 0x00)) > 0.0005  # borders of the elements that are read
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_dark_readers_get_dark_paper(folder: Path, tmp_path: Path) -> None:
    options = ("--window-size=800,1000", "--blink-settings=preferredColorScheme=0")
    image = picture(folder / PAGE, tmp_path / "profile", *options)
    assert share_of(image, (0x15, 0x18, 0x1C)) > 0.2
    assert share_of(image, (0xFD, 0xFC, 0xFA)) == 0


COUNTER = """
<script>
const steps = [...document.querySelectorAll("#example-1 .steps > li")].filter((item) => item.offsetParent !== null);
const boxes = steps.map((item) => item.querySelector("svg").getBoundingClientRect());
const seen = {steps: boxes.length, width: Math.min(...boxes.map((box) => box.width)),
  apart: new Set(boxes.map((box) => `${box.left} ${box.top}`)).size,
  buttons: document.querySelectorAll("button").length};
document.body.append(Object.assign(document.createElement("pre"), {id: "seen", textContent: JSON.stringify(seen)}));
</script>
"""


def test_without_scripts_all_steps_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    """Every step of a figure is visible at its own position, and there are no buttons without function."""
    text = re.sub(r"<script>.*?</script>", "", (folder / PAGE).read_text(encoding="utf-8"), flags=re.DOTALL)
    page = folder / "layers" / "silent.html"
    page.write_text(text.replace("</body>", f"{COUNTER}</body>"), encoding="utf-8")
    done = browse(page, tmp_path / "profile", "--window-size=1000,900", "--dump-dom")
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    seen = json.loads(found[1])
    assert seen["steps"] == seen["apart"] == 9
    assert seen["width"] > 200
    assert seen["buttons"] == 0


MEASURER = """
<script>
const boxes = [...document.querySelectorAll(".wide text")].map((text) => [text, text.getBoundingClientRect()]);
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const seen = {texts: boxes.length, met: []};
boxes.forEach(([one, a], place) => boxes.slice(0, place).forEach(([other, b]) => {
  if (meet(a, b)) seen.met.push(`${other.textContent} | ${one.textContent}`);
}));
document.body.append(Object.assign(document.createElement("pre"), {id: "seen", textContent: JSON.stringify(seen)}));
</script>
"""


def test_no_words_of_a_network_s_drawing_meet(folder: Path, tmp_path: Path) -> None:
    """On the page, whose own style is for other drawings."""
    page = folder / "measured.html"
    text = (folder / "networks.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"{MEASURER}</body>"), encoding="utf-8")
    done = browse(page, tmp_path / "profile", "--window-size=1300,1400", "--dump-dom")
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    seen = json.loads(unescape(found[1]))
    assert seen["texts"] > 50
    assert not seen["met"]


def test_every_page_loads_without_a_complaint(folder: Path, tmp_path: Path) -> None:
    for number, page in enumerate(sorted(folder.glob("*.html"))):
        done = browse(page, tmp_path / str(number), "--dump-dom")
        assert not complaints(done), page
        assert "<h1>" in done.stdout
