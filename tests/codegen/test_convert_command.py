"""``svertka convert``: a table of an importable model, which stays unchanged, and one sentence if the call is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]

MODEL = """
import torch
from torch import nn


class Network(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Hardshrink())


class Counting(nn.Sequential):
    def __init__(self) -> None:
        rates = [float(rate) for rate in torch.linspace(0.1, 0.2, 2)]
        super().__init__(*(nn.Dropout(rate) for rate in rates))


ready = Network()
number = 5
needy = nn.Linear
listing = list
"""


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "some_models", raising=False)


def test_a_table_of_every_layer(call: Call) -> None:
    code, printed, _ = call("convert", "some_models:Network")
    assert code == 0
    for word in (
        "svertka.generated.modules.Conv2d",
        "torch.nn.BatchNorm2d",
        "Hardshrink",
        "this package has no such layer",
    ):
        assert word in printed
    assert "3 converted, 0 kept, 1 left, 0 fused, 0 not traced" in printed


def test_chains_are_shown_if_asked_for(call: Call) -> None:
    code, printed, _ = call("convert", "some_models:Network", "--fuse", "--json")
    assert code == 0
    found = json.loads(printed)
    assert [(e["name"], e["before"], e["after"]) for e in found["fused"]] == [
        ("1", "batch_norm + relu", "BatchNorm2dReLU")
    ]
    assert [e["reason"] for e in found["left"]] == ["this package has no such layer"]


def test_a_model_that_computes_while_it_is_made(call: Call) -> None:
    """It cannot be made without data; it is made on the CPU."""
    code, printed, _ = call("convert", "some_models:Counting")
    assert code == 0
    assert "2 converted" in printed


def test_a_model_itself_is_not_changed(call: Call) -> None:
    code, _, _ = call("convert", "some_models:ready", "--fuse")
    assert code == 0
    model = sys.modules["some_models"].ready
    assert type(model).__name__ == "Network"
    assert {type(one).__module__.split(".")[0] for one in model} == {"torch"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("some_models", ("some_models: must be MODULE:CALLABLE", "write package.module:function")),
        ("no_such_module:x", ("no_such_module:x: no_such_module cannot be imported", "run from the folder")),
        ("some_models:Missing", ("some_models has no Missing", "name a function")),
        ("some_models:number", ("int is no callable",)),
        ("some_models:needy", ("calling it without arguments fails", "in_features", "name what needs none")),
        ("some_models:listing", ("it makes a list", "must make a torch.nn.Module")),
    ],
)
def test_a_wrong_call_is_answered_in_a_sentence(name: str, words: tuple[str, ...], call: Call) -> None:
    code, _, message = call("convert", name)
    assert code == 2
    assert "Traceback" not in message
    assert all(word in " ".join(message.split()) for word in words)
