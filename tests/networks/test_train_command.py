"""``svertka train``: 98 % accuracy in limited time, the same bits after kills and Ctrl-C, and messages."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svertka.networks import load
from svertka.networks.checkpoint import read

from .few import same

Call = Callable[..., tuple[int, str, str]]
SHORT = ("--epochs", "2", "--batch", "48", "--seed", "3", "--every", "0")
EPOCHS, STEPS = 2, 30  # 1438 images in batches of 48
PATIENCE = 120.0  # seconds after which an idle process counts as hanging


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "svertka.codegen", "train", "lenet", *arguments]


def environment() -> dict[str, str]:
    """The environment of a user's shell."""
    return {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment())


def stopped_at(path: Path, steps: int, number: signal.Signals, *arguments: str) -> tuple[int, str, str]:
    """Start a run and send it a signal when its checkpoint has this many steps."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    begun = time.monotonic()
    while not (path.exists() and len(read(path)["losses"]) >= steps):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.01)
    process.send_signal(number)
    printed, said = process.communicate(timeout=PATIENCE)
    return process.returncode, printed, said


@pytest.mark.slow
def test_the_digits_are_learned_in_two_minutes(tmp_path: Path) -> None:
    """At least 98 % of the test images, by a call without options; the time is processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("--into", str(tmp_path))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 120
    lines = done.stdout.splitlines()
    assert lines[0] == "1438 images to train on, 359 to test, 10 classes"
    assert [line.split("/")[0] for line in lines[1:-1]] == [f"epoch {n:2}" for n in range(1, len(lines) - 1)]
    words = lines[-1].split()
    assert words[:2] == ["test", "accuracy"]
    assert float(words[2].rstrip("%")) >= 98
    assert not set(done.stdout) & set("\x1b\r")
    state = read(tmp_path / "checkpoint.pt")
    right = state["epochs"][-1]["test_right"]
    assert f"({right} of 359 images)" in lines[-1]
    assert right / 359 >= 0.98
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    network, classes = load(tmp_path / "checkpoint.pt")
    assert same(dict(network.state_dict()), state["network"])
    assert len(classes) == 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run without interruption."""
    place = tmp_path_factory.mktemp("whole")
    done = run(*SHORT, "--into", str(place))
    assert done.returncode == 0, done.stderr
    return place


def as_if_never_stopped(place: Path, whole: Path) -> None:
    """The same bits: parameters, momentum, random numbers, every loss, and the picture."""
    assert same(read(place / "checkpoint.pt"), read(whole / "checkpoint.pt"))
    assert (place / "curves.png").read_bytes() == (whole / "curves.png").read_bytes()


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path: Path, whole: Path) -> None:
    """Killed in the middle of the first epoch and again in the middle of the second."""
    kept = tmp_path / "checkpoint.pt"
    for steps in (7, STEPS + 11):
        code, _, _ = stopped_at(kept, steps, signal.SIGKILL, *SHORT, "--into", str(tmp_path))
        assert code == -signal.SIGKILL
        state = read(kept)
        assert steps <= len(state["losses"]) < EPOCHS * STEPS
        assert 0 < state["seen"]["steps"] < STEPS
        assert not (tmp_path / "curves.png").exists()
    done = run(*SHORT, "--into", str(tmp_path), "--resume")
    assert done.returncode == 0, done.stderr
    assert f"{kept} holds epoch 2 of 2 after step {state['seen']['steps']} of {STEPS}" in done.stdout
    as_if_never_stopped(tmp_path, whole)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, whole: Path) -> None:
    """The step is finished and saved; the same call ends in the same bits."""
    kept = tmp_path / "checkpoint.pt"
    code, _, said = stopped_at(kept, 9, signal.SIGINT, *SHORT, "--into", str(tmp_path))
    assert code == 130
    state = read(kept)
    assert f"stopped: {kept} holds epoch 1 of 2 after step {state['seen']['steps']} of {STEPS}" in " ".join(
        said.split()
    )
    assert "the same call goes on from there" in " ".join(said.split())
    assert "Traceback" not in said
    assert (tmp_path / "curves.png").exists()
    assert run(*SHORT, "--into", str(tmp_path)).returncode == 0
    as_if_never_stopped(tmp_path, whole)


@pytest.mark.slow
def test_a_finished_run_has_nothing_to_do(whole: Path, call: Call) -> None:
    before = (whole / "checkpoint.pt").read_bytes()
    code, printed, _ = call("train", "lenet", *SHORT, "--into", str(whole))
    assert code == 0
    assert "holds the finished run" in printed
    assert "0 steps" in printed
    assert (whole / "checkpoint.pt").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--seed", "4", ("seed=4", "has 3", "--fresh", "--into")),
        ("--epochs", "3", ("epochs=3", "has 2", "--fresh")),
        ("--rate", "0.5", ("rate=0.5", "has 0.03", "--fresh")),
    ],
)
def test_another_run_s_checkpoint_is_refused(
    option: str, value: str, words: tuple[str, ...], whole: Path, call: Call
) -> None:
    before = (whole / "checkpoint.pt").read_bytes()
    code, _, said = call("train", "lenet", *SHORT, option, value, "--into", str(whole))
    assert code == 2
    for word in words:
        assert word in said
    assert (whole / "checkpoint.pt").read_bytes() == before


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, whole: Path, call: Call) -> None:
    kept = tmp_path / "checkpoint.pt"
    kept.write_bytes((whole / "checkpoint.pt").read_bytes()[:5000])
    code, _, said = call("train", "lenet", *SHORT, "--into", str(tmp_path))
    assert code == 2
    assert f"{kept}: is damaged" in said
    assert "--fresh" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("perceptron",), ("network='perceptron'", "lenet")),
        (("lenet", "--epochs", "0"), ("epochs=0", "at least 1")),
        (("lenet", "--device", "tpu"), ("device='tpu'", "cpu or cuda")),
        (("lenet", "--data", "nowhere"), ("--data nowhere", "no such folder")),
        (("lenet", "--resume", "--into", "nowhere"), ("there is no checkpoint", "--resume")),
        (("lenet", "--rate", "much"), ("--rate", "number")),
        (("lenet", "--every", "-1"), ("every=-1.0", "at least 0")),
        ((), ("NETWORK",)),
    ],
)
def test_wrong_calls_exit_with_two_and_a_sentence(
    arguments: tuple[str, ...], words: tuple[str, ...], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = call("train", *arguments)
    assert code == 2
    assert "Traceback" not in said
    for word in words:
        assert word in said
    assert not list(tmp_path.iterdir())


def test_a_folder_of_photographs(tmp_path: Path, call: Call) -> None:
    """Bright and dark ones in colour, of different sizes, are distinguished; --fresh begins again."""
    draw = np.random.default_rng(3)
    for name, low in (("dark", 0), ("bright", 128)):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(10):
            values = draw.integers(low, low + 128, (20 + number, 31, 3), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "photographs" / name / f"{number}.jpg")
    where = ("--data", str(tmp_path / "photographs"), "--into", str(tmp_path / "results"))
    code, printed, said = call("train", "lenet", *where, "--epochs", "8", "--batch", "5")
    assert code == 0, said
    assert "16 images to train on, 4 to test, 2 classes" in printed
    assert "test accuracy 100.00% (4 of 4 images)" in printed
    network, classes = load(tmp_path / "results" / "checkpoint.pt")
    assert classes == ("bright", "dark")
    photograph = torch.full((1, 3, 50, 40), 0.1)
    assert classes[int(network(photograph).argmax())] == "dark"
    code, printed, said = call("train", "lenet", *where, "--epochs", "1", "--fresh")
    assert code == 0, said
    assert len(read(tmp_path / "results" / "checkpoint.pt")["epochs"]) == 1
