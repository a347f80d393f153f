"""Settings of all tests: Triton's interpreter or the GPU, and deterministic property tests."""

from __future__ import annotations

import os
import sys
import zlib
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--quick``: what a change to anything breaks at once; the rest is left to the run before a change lands."""
    parser.addoption("--quick", action="store_true", help="without slow tests, and with some cases of thinned ones")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the quick run does not need, if it was asked for."""
    if not config.getoption("--quick"):
        return
    begun: set[str] = set()
    taken = [item for item in items if _is_quick(item, begun)]
    config.hook.pytest_deselected(items=[item for item in items if item not in {*taken}])
    items[:] = taken


def _is_quick(item: pytest.Item, begun: set[str]) -> bool:
    """Whether a test is of the quick run; of a thinned one, its first case and each whose name's digest says so."""
    if item.get_closest_marker("slow"):
        return False
    thinned = item.get_closest_marker("thinned")
    if thinned is None:
        return True
    function = item.nodeid.partition("[")[0]
    first = function not in begun
    begun.add(function)
    return first or zlib.crc32(item.nodeid.encode()) % thinned.args[0] == 0


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
