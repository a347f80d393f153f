"""The cost of the correctness phase: ``python3 -m tests.benchmarks.budget`` measures it without a GPU, into a file.

For every formula and part it measures seconds of host work, and counts kernels to compile that no earlier part needs;
it also measures the seconds for compiling one kernel, from a sample. The command orders its items by these numbers and
prints their sum.

Input: nothing. Output: the file; for the command, lines and weights.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.benchmarks.stub import library

__all__ = ["arithmetic", "known", "main", "seconds"]

PATH = Path(__file__).with_name("budget.json")
SAMPLED = 12  # one in so many kernels is compiled, to measure the time


@functools.cache
def known() -> Mapping[str, Any]:
    """The measured data; empty if there is none."""
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    return found


def seconds(formula: str, part: str) -> float:
    """Seconds of a part of a formula on one core; for a part that was not measured, more than for any other."""
    parts = known().get("formulas", {}).get(formula, {})
    if part not in parts:
        return float("inf")
    return float(parts[part][0] + parts[part][1] * known()["seconds_a_kernel"])


def arithmetic(items: Sequence[Mapping[str, Any]], processes: int) -> list[str]:
    """Lines for the summary: kernels to compile, seconds per kernel, their sum by part and over the processes."""
    if not known():
        return ["not measured: python3 -m tests.benchmarks.budget"]
    each = known()["seconds_a_kernel"]
    lines = [f"one kernel takes {each:.2f} s to compile on one core ({known()['measured']})"]
    for part in dict.fromkeys(item["part"] for item in items):
        rows = [known()["formulas"].get(item["formula"], {}).get(part) for item in items if item["part"] == part]
        own, kernels = (sum(row[place] for row in rows if row) for place in (0, 1))
        total = own + kernels * each
        lines.append(
            f"{part}: {len(rows)} formulas, {own:.0f} s of their own and {kernels} kernels, {total:.0f} s on one core, "
            f"{total / processes:.0f} s in {processes} processes; {sum(row is None for row in rows)} not measured"
        )
    return lines


class _Counted:
    """Stands for a compiled kernel while kernels are only counted."""

    packed_metadata = ()
    function = None

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return lambda *arguments, **options: None

    def launch_metadata(self, *unused: Any) -> None:
        return None

    def run(self, *unused: Any) -> None:
        return None


def _worked() -> float:
    """CPU seconds of this process and its children; other processes on the machine do not count."""
    return sum(os.times()[:4])


@contextmanager
def _counting() -> Iterator[tuple[list[str], list[float]]]:
    """Count kernels that would be compiled; compile one in ``SAMPLED`` and record its time."""
    from triton.runtime.jit import JITFunction

    compile = JITFunction._do_compile
    names: list[str] = []
    times: list[float] = []

    def counted(function: Any, key: Any, *rest: Any) -> Any:
        names.append(function.__name__)
        if len(names) % SAMPLED == 0:
            begun = _worked()
            made = compile(function, key, *rest)
            made.run  # noqa: B018 - it builds the launcher and loads the kernel
            times.append(_worked() - begun)
        # device caches are by device, each a tuple whose first part holds kernels by key
        return next(iter(function.device_caches.values()))[0].setdefault(key, _Counted())

    with mock.patch.object(JITFunction, "_do_compile", counted):
        yield names, times


def _text(found: Mapping[str, Any]) -> str:
    """The text of the file: one formula per line."""
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(parts)}" for name, parts in found["formulas"].items())
    head = ",\n".join(f" {json.dumps(name)}: {json.dumps(found[name])}" for name in ("measured", "seconds_a_kernel"))
    return f'{{\n{head},\n "formulas": {{\n{rows}\n }}\n}}\n'


def main() -> int:
    """Measure every part of every formula and write the file."""
    if not os.environ.get(library.STANDS_IN):
        folder = Path(tempfile.mkdtemp())
        library.build(folder)
        cache = {"TRITON_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        os.execve(
            sys.executable,
            [sys.executable, "-m", __spec__.name],
            {**os.environ, **library.environment(folder), **cache},
        )
    from tests.benchmarks.worker import prepare

    prepare()
    import torch
    import triton

    from tests.benchmarks.items import formulas

    rows: dict[str, dict[str, tuple[float, int]]] = {}
    with _counting() as (names, times):
        for definition, formula in formulas.formulas():
            rows[formula] = {}
            for part in formulas.PARTS:
                before, compiling = len(names), sum(times)
                begun = _worked()
                formulas.run({"definition": definition, "formula": formula, "part": part, "repeats": 5})
                took = _worked() - begun - (sum(times) - compiling)
                rows[formula][part] = round(took, 2), len(names) - before
            print(formula, rows[formula], flush=True)
    measured = f"torch {torch.__version__}, triton {triton.__version__}, {len(times)} kernels of {len(names)}"
    each = round(sum(times) / max(len(times), 1), 3)
    found = {"measured": measured, "seconds_a_kernel": each, "formulas": rows}
    PATH.write_text(_text(found), encoding="utf-8")
    print(f"{len(names)} kernels, {each} s each; written to {PATH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
