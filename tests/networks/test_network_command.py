"""``svertka network``: tables, JSON, drawings, photographs, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from svertka.networks import LeNet5
from svertka.networks.photograph import classify

from .given import narrow, of_both_signs, photograph

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("options", "parameters"), [((), "60,965,224"), (("--ungrouped",), "62,378,344")])
def test_table_and_drawing_of_alexnet(options: tuple[str, ...], parameters: str, call: Call, tmp_path: Path) -> None:
    code, out, _ = call("network", "alexnet", *options)
    assert code == 0
    memory = f"{int(parameters.replace(',', '')) * 4 / 1e6:.1f} MB"
    for word in (parameters, "features.norm1", "CrossChannelNorm", "96 x 55 x 55", "195 x 195", memory):
        assert word in out
    svg = (tmp_path / "build" / "alexnet.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert parameters in svg


def test_json_has_the_tables_numbers(call: Call, tmp_path: Path) -> None:
    arguments = ("network", "lenet", "--classes", "7", "--size", "50x40", "--batch", "3", "--dtype", "bfloat16")
    code, out, _ = call(*arguments, "--json", "--svg", "drawn/here.svg")
    assert code == 0
    told = json.loads(out)
    assert told["image"] == [3, 1, 40, 50]
    assert told["dtype"] == "bfloat16"
    assert told["parameters"] == sum(p.numel() for p in LeNet5(classes=7).parameters())
    assert told["parameter_bytes"] == 2 * told["parameters"]
    assert told["layers"][-1]["output"] == [3, 7]
    assert told["layers"][-2]["field"]["size"] == [32, 32]
    assert told["multiply_adds"] == sum(layer["multiply_adds"] for layer in told["layers"])
    assert (tmp_path / "drawn" / "here.svg").exists()


def test_a_photograph_with_parameters_of_a_file(call: Call, tmp_path: Path) -> None:
    network = of_both_signs(narrow("lenet"))
    torch.save(network.state_dict(), tmp_path / "lenet.pt")
    photograph(61, 47).save(tmp_path / "picture.png")
    code, out, _ = call("network", "lenet", "--image", "picture.png", "--state", "lenet.pt", "--json")
    assert code == 0
    assert json.loads(out)["probabilities"] == classify(network, tmp_path / "picture.png").tolist()
    code, out, _ = call("network", "lenet", "--image", "picture.png", "--state", "lenet.pt")
    best = int(classify(network, tmp_path / "picture.png").argmax())
    assert f"class probabilities: {best}: " in out
    assert "drawn" not in out
    code, out, _ = call("network", "lenet", "--image", "picture.png")
    assert code == 0
    assert "drawn, not trained" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet",), ("'resnet'", "alexnet", "lenet")),
        (("lenet", "--ungrouped"), ("--ungrouped", "lenet", "leave it out")),
        (("lenet", "--size", "40"), ("--size 40", "2048x1365")),
        (("lenet", "--size", "0x4"), ("--size 0x4", "positive")),
        (("lenet", "--classes", "0"), ("--classes 0", "at least 1")),
        (("lenet", "--batch", "0"), ("--batch 0", "at least 1")),
        (("lenet", "--dtype", "int8"), ("--dtype int8", "float32")),
        (("lenet", "--state", "a.pt"), ("--state a.pt", "--image")),
        (("lenet", "--image", "none.png"), ("--image none.png", "no such file", "name a photograph")),
    ],
)
def test_refusals_name_the_remedy(arguments: tuple[str, ...], words: tuple[str, ...], call: Call) -> None:
    code, _, err = call("network", *arguments)
    assert code == 2
    assert all(word in err for word in words)
    assert "Traceback" not in err
