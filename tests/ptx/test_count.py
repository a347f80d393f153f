"""``svertka bench --count``: what compiled kernels execute and move, without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Call


def counted(folder: Path, *arguments: str) -> dict[str, dict[str, object]]:
    """Rows by title and direction, from a process that may compile."""
    command = [
        sys.executable,
        "-m",
        "svertka.codegen",
        "bench",
        "--count",
        "sm_90",
        *arguments,
        "--into",
        str(folder),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((folder / "counts-sm_90.json").read_text())
    assert content["target"] == "sm_90"
    return {f"{row['title']} {row['direction']}": row for row in content["rows"]}


def test_rows_move_what_they_must(tmp_path: Path) -> None:
    """Every byte once, forward and backward; a row's statistics are read, not computed anew, in the backward."""
    found = counted(tmp_path, "--only", "softmax 1024 float32")
    forward, backward = (found[f"softmax 1024 float32 row_major {way}"] for way in ("forward", "backward"))
    assert forward["operations"]["max"] > 1  # type: ignore[index]
    assert backward["operations"].get("max", 0) < 0.1  # type: ignore[attr-defined]
    for row in found.values():
        assert len(row["kernels"]) == 1  # type: ignore[arg-type]
        assert max(row["sectors"].values()) <= 1.02, row  # type: ignore[attr-defined]
        assert row["moved"] <= 1.05, row  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--count", "sm_42"), ("--count sm_42", "sm_80 or sm_90")),
        (("--count", "sm_90", "--only", "nothing"), ("--only 'nothing'", "leave it out")),
    ],
)
def test_wrong_calls_are_answered_with_a_sentence(
    arguments: tuple[str, ...], words: tuple[str, ...], call: Call
) -> None:
    code, _, said = call("bench", *arguments)
    assert code == 2
    for word in words:
        assert word in said
