"""A launch whose every bit was executed before is repeated; any other is executed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from svertka.codegen.ptx.kernel import Buffer
from svertka.codegen.ptx.repeated import forget, instructions_digest, once

TOLD = (b"instructions", 2, [("<i4", b"\3\0\0\0")], 0, (0, 0))


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    forget()
    yield
    forget()


class Kernel:
    """Doubles a tensor into another, and counts how often it runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, values: list[int], told: object = TOLD, offset: int = 16, garbage: int = 7) -> list[int]:
        given, result = np.array(values, np.uint8), np.full(len(values), garbage, np.uint8)
        buffers = [Buffer.of(given, offset=offset), Buffer.of(result, written=False)]

        def execute() -> None:
            self.runs += 1
            buffers[1].content[:] = 2 * buffers[0].content
            buffers[1].written[:] = True

        once(told, buffers, execute)  # type: ignore[arg-type]
        assert buffers[1].written.all()
        found: list[int] = result.tolist()
        return found


def test_the_same_launch_is_executed_once() -> None:
    kernel = Kernel()
    assert kernel([1, 2, 3]) == kernel([1, 2, 3]) == [2, 4, 6]
    assert kernel([1, 2, 3], garbage=9) == [2, 4, 6]  # what was never written does not count
    assert kernel.runs == 1


@pytest.mark.parametrize("place", range(len(TOLD)))
def test_another_launch_is_executed(place: int) -> None:
    kernel = Kernel()
    kernel([1, 2, 3])
    kernel([1, 2, 3], told=(*TOLD[:place], "another", *TOLD[place + 1 :]))
    assert kernel.runs == 2


def test_other_bytes_and_other_addresses_are_executed() -> None:
    kernel = Kernel()
    kernel([1, 2, 3])
    assert kernel([1, 2, 4]) == [2, 4, 8]
    kernel([1, 2, 3], offset=0)
    kernel([1, 2, 3, 4])
    forget()
    kernel([1, 2, 3])
    assert kernel.runs == 5


def test_a_launch_that_is_refused_is_not_kept() -> None:
    buffers = [Buffer.of(np.zeros(3, np.uint8))]

    def refuse() -> None:
        raise ValueError("refused")

    for _ in range(2):
        with pytest.raises(ValueError, match="refused"):
            once(TOLD, buffers, refuse)


def test_instructions_are_told_apart_without_the_target() -> None:
    text = ".version 8.7\n.target sm_80\n.address_size 64\nadd.f32 %r1, %r2, %r3;\n"
    other = text.replace("8.7", "8.8").replace("sm_80", "sm_90a")
    assert instructions_digest(text) == instructions_digest(other)
    assert instructions_digest(text) != instructions_digest(text.replace("add", "sub"))


SECOND_TARGET = """
import torch
from svertka.codegen.lowering.build import build
from svertka.codegen.ptx import launch
from svertka.codegen.ptx.level import check_runs, planned
from svertka.codegen.ptx.repeated import forget
from svertka.codegen.verify.levels import Subject
from svertka.spec.layers import DEFINITIONS

executed, run = [], launch.run_kernel
launch.run_kernel = lambda *given, **more: (executed.append("one"), run(*given, **more))[1]
module = build(DEFINITIONS["relu"])
variant = module.definition.variants[0]
one = [found for found in planned(module, variant) if found.dtypes == (torch.float32,)]
for target in ("sm_80", "sm_90", "forgotten"):
    if target == "forgotten":
        forget()
        target = "sm_90"
    executed.clear()
    done = check_runs(Subject(module, variant, "svertka.generated", target=target), one)
    print(len(executed), done.figures["launches"], done.figures["tightness"], done.failures)
"""


def test_a_second_target_executes_what_differs_alone() -> None:
    """Pointwise kernels have one text; the outcomes are those of a process that knows nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", SECOND_TARGET]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, forgotten = (line.partition(" ") for line in done.stdout.splitlines())
    assert 0 < int(first[0]) <= int(first[2].partition(" ")[0])
    assert (second[0], forgotten[0]) == ("0", first[0])
    assert first[2] == second[2] == forgotten[2]
    assert first[2].endswith(" ()")
