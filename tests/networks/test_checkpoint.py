"""Checkpoints: complete at every moment, damage is detected, and their state can be continued."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from svertka.networks import LeNet5, load
from svertka.networks.checkpoint import read, write
from svertka.networks.training import Settings, Training, built

from ..generated.agreement import equal
from .few import few, run, same, small_run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "checkpoint.pt"


def state() -> dict[str, Any]:
    return run(small_run(), 6).state_dict()


def test_what_is_read_is_what_was_written(path: Path) -> None:
    written = state()
    write(written, path)
    found = read(path)
    assert same(found, {**written, "network": dict(written["network"])})
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_pytorch_reads_it_without_running_code(path: Path) -> None:
    written = state()
    write(written, path)
    found = torch.load(path, weights_only=True)["state"]["network"]
    for name, value in written["network"].items():
        equal(found[name], value)


@pytest.mark.parametrize("kept", [0, 1, 100, -1000, -1])
def test_a_file_that_was_cut_off_is_told(path: Path, kept: int) -> None:
    write(state(), path)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "is damaged")


def test_no_flipped_bit_goes_unseen(path: Path) -> None:
    """For every position, the file is refused or has the same content as before; in tensors it is refused."""
    written = state()
    write(written, path)
    content, expected, draw = path.read_bytes(), read(path), random.Random(5)
    refusals = 0
    for _ in range(300):
        place = draw.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        try:
            assert same(read(path), expected)
        except ValueError as error:
            assert "--fresh" in str(error)  # noqa: PT017 - either may happen
            refusals += 1
    assert refusals > 0
    values = written["network"]["layers.0.weight"].numpy().tobytes()
    place = content.index(values) + 5
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    refused(path, "digest")


def refused(path: Path, word: str) -> None:
    with pytest.raises(ValueError, match=word) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "--fresh" in str(error.value)


def test_something_else_is_told(path: Path) -> None:
    path.parent.mkdir()
    torch.save({"weight": torch.zeros(3)}, path)
    refused(path, "no checkpoint")


def test_another_format_is_told(path: Path) -> None:
    write(state(), path)
    torch.save({**torch.load(path, weights_only=True), "format": 7}, path)
    refused(path, "has format 7, must be 1")


def test_no_file_is_told(path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no checkpoint; start a run without --resume"):
        read(path)


def test_a_write_that_fails_leaves_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the last moment before the new file replaces it, and in the middle of its writing."""
    write(state(), path)
    expected, content = read(path), path.read_bytes()
    for name in ("replace", "fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, fails)
            with pytest.raises(KeyboardInterrupt):
                write({"epochs": [1, 2]}, path)
        assert path.read_bytes() == content
        assert same(read(path), expected)
    write({"epochs": [1, 2]}, path)  # over the remains of the failed writes
    assert read(path) == {"epochs": [1, 2]}


def fails(*_: Any) -> None:
    raise KeyboardInterrupt


def trained(path: Path, **settings: Any) -> Training:
    data = few()
    made = Training(built(LeNet5, data, 4), data, Settings(epochs=1, batch=9, **settings))
    write(run(made).state_dict(), path)
    return made


def test_a_checkpoint_s_network_is_loaded(path: Path) -> None:
    """With its normalization: its scores are those of the trained network."""
    made = trained(path)
    network, classes = load(path)
    assert classes == tuple("0123456789")
    assert not network.training
    images = made.data.test.images(slice(0, 3), made.like)
    equal(network(images), made.network.eval()(images))


def test_an_unknown_network_is_told(path: Path) -> None:
    trained(path, network="perceptron")
    with pytest.raises(ValueError, match=r"has network 'perceptron', .*lenet"):
        load(path)
