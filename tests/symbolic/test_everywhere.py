"""Faults of a kind, planted at every place of a file where the kind can occur: each of them is found."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import svertka.generated
from svertka.codegen.lowering.built import built
from svertka.codegen.verify.levels import LEVELS, Outcome, Subject
from svertka.codegen.verify.replay import replaying_on
from svertka.codegen.verify.validate import load_package
from svertka.spec.layers import DEFINITIONS

GENERATED = Path(svertka.generated.__file__).parent

KINDS = {
    "a tile's other side": ("linear", r"tl\.arange\(0, BLOCK_M\)", "tl.arange(0, BLOCK_N)"),
    "a tile's other side, of n": ("linear", r"tl\.arange\(0, BLOCK_N\)", "tl.arange(0, BLOCK_M)"),
    "parts beside one another": ("linear", r"tl\.cast\(part, INDEX\) \* tiles", "tl.cast(part, INDEX) + tiles"),
    "one part less": ("linear", r"tl\.range\(0, SPLITS\)", "tl.range(1, SPLITS)"),
    "another row": ("softmax", r"\ba \* input_stride_a\b", "a * input_stride_b"),
    "another row, of logarithms": ("log_softmax", r"\bb \* input_stride_b\b", "b * input_stride_a"),
}


def _planted(kind: str) -> Iterator[tuple[int, str]]:
    """The file's text with the fault at one place after another, and the line of each."""
    layer, old, new = KINDS[kind]
    text = (GENERATED / "kernels" / f"{layer}.py").read_text(encoding="utf-8")
    for match in re.finditer(old, text):
        yield text.count("\n", 0, match.start()) + 1, text[: match.start()] + new + text[match.end() :]


def _refused(folder: Path, layer: str) -> bool:
    """Whether some level refuses the kernels of a layer; levels of numbers come first, as they take less time."""
    module = built(DEFINITIONS[layer])
    with load_package(folder) as package:
        subject = Subject(module, module.definition.variants[0], package)
        importlib.import_module(f"{package}.kernels.{layer}")
        return any(_failing(subject, level) for level in ("rounding", "source"))


def _failing(subject: Subject, level: str) -> bool:
    with np.errstate(all="ignore"), replaying_on(subject.device):
        try:
            outcome: Outcome = LEVELS[level](subject)
        except Exception:
            return True
    return bool(outcome.failures)


@pytest.mark.thinned(6)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_found_wherever_it_is_planted(kind: str, tmp_path: Path) -> None:
    layer = KINDS[kind][0]
    folder = tmp_path / "package"
    shutil.copytree(GENERATED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    planted = list(_planted(kind))
    assert planted, f"{layer} no longer has such a place"
    survived = []
    for line, text in planted:
        (folder / "kernels" / f"{layer}.py").write_text(text, encoding="utf-8")
        if not _refused(folder, layer):
            survived.append(line)
    assert survived == []
