"""Settings of all tests: Triton's interpreter or the GPU, and deterministic property tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("svertka", deadline=None, derandomize=True, database=None)
settings.load_profile("svertka")


def _on_gpu() -> bool:
    """Whether kernels run on a GPU: it is requested and present."""
    if os.environ.get("SVERTKA_DEVICE") != "cuda":
        return False
    import torch

    return torch.cuda.is_available()


REPOSITORY = Path(__file__).resolve().parents[1]
os.environ.setdefault("SVERTKA_CACHE", str(REPOSITORY / "build" / "cache"))  # gradients of gradients, not the user's
if not _on_gpu():  # Triton reads this when it is imported, which is later
    os.environ["TRITON_INTERPRET"] = "1"


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache: for tests that alter the generator, or ask what it makes of nothing that was made before."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SVERTKA_CACHE", str(folder))
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """``svertka`` in this process: exit code, output, messages."""
    from svertka.codegen.command import main

    def run_here(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["svertka", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    before = os.environ.get("TRITON_INTERPRET")
    yield run_here
    os.environ.pop("TRITON_INTERPRET", None)  # commands set it, or remove it
    if before is not None:
        os.environ["TRITON_INTERPRET"] = before
