"""Compiled kernels on the machine compute their formulas; faults in their PTX are refused, or give wrong numbers.

They run in a process without Triton's interpreter, which the other tests use.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

LINEAR = {"layer": "linear", "target": "sm_80", "dtype": "float32", "case": 0}
BOXED = {"layer": "linear", "target": "sm_90", "dtype": "bfloat16", "case": 0, "boxed": True}
BATCH = {"layer": "batch_normalization", "target": "sm_90", "dtype": "float64", "case": 0}

SOUND: list[dict[str, Any]] = [
    {"layer": "relu", "target": "sm_80", "dtype": "float32", "case": 0},
    {"layer": "softmax", "target": "sm_80", "dtype": "float32", "case": 1, "counted": True},
    {"layer": "softmax", "target": "sm_90", "dtype": "float16", "case": 0},
    {"layer": "max_pooling_2d", "target": "sm_80", "dtype": "float32", "case": 1},
    {"layer": "cross_entropy", "target": "sm_80", "dtype": "bfloat16", "case": 0},
    {"layer": "convolution_2d", "target": "sm_80", "dtype": "float16", "case": 1},
    {"layer": "convolution_2d_relu", "target": "sm_90", "dtype": "float16", "case": 0},
    {"layer": "convolution_1d", "target": "sm_90", "dtype": "bfloat16", "case": 1, "boxed": True},
    {"layer": "convolution_1d", "target": "sm_90", "dtype": "bfloat16", "case": 0, "forced": "contraction/half/3"},
    LINEAR,
    LINEAR | {"dtype": "bfloat16"},
    LINEAR | {"dtype": "float64"},
    LINEAR | {"dtype": "float64", "target": "sm_90"},
    BOXED,
    BOXED | {"dtype": "float16"},
    BATCH,
    {"layer": "relu", "target": "sm_80", "dtype": "float16", "case": 0, "far": True},
    {"layer": "softmax", "target": "sm_90", "dtype": "bfloat16", "case": 0, "far": True},
    {"layer": "max_pooling_2d", "target": "sm_80", "dtype": "float32", "case": 1, "far": True},
    {"layer": "convolution_1d", "target": "sm_80", "dtype": "float16", "case": 1, "far": True},
    BOXED | {"far": True},
]
"""Every matrix unit, asynchronous copies, boxes, reductions within and between warps, divisions, exponentials; every
loop pattern on tensors that reach farther than 2^31 elements."""

MATRIX = LINEAR | {"kernel": "linear_output"}
FETCHED = BOXED | {"kernel": "linear_output_boxes"}
VARIANCE = BATCH | {"kernel": "batch_normalization_training_variance_sum"}
BARRIER, WAIT = r"^\s*bar\.sync\s+0;", r"^\s*cp\.async\.wait_group\s+\S+;"
STORE = r"^.*st\.global\.b32.*;"
FLIGHT = "in flight"
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("without a barrier between", MATRIX | {"fault": [BARRIER, "", 0]}),
    ("without a barrier between", MATRIX | {"fault": [BARRIER, "", 1]}),
    ("without a barrier between", MATRIX | {"fault": [BARRIER, "", 2]}),
    ("without a barrier between", MATRIX | {"fault": [BARRIER, "", 3]}),
    (FLIGHT, MATRIX | {"fault": [WAIT, "", 0]}),
    (FLIGHT, MATRIX | {"fault": [WAIT, "", 1]}),
    ("a result is never stored", MATRIX | {"fault": [STORE, "", 0]}),
    ("a result is stored twice", MATRIX | {"fault": [STORE, r"\g<0>\n\g<0>", 0]}),
    ("two threads write one byte", MATRIX | {"fault": [r"^\s*@%p\d+ (st\.global.*;)", r"\1", 0]}),
    ("outside every tensor", MATRIX | {"fault": [r"(cp\.async\.ca\.shared\.global .*, 0x4), %r\d+;", r"\1;"]}),
    ("outside every tensor", SOUND[-5] | {"narrow": True}),
    ("outside every tensor", SOUND[-2] | {"narrow": True}),
    ("", MATRIX | {"fault": [r"fma\.rn\.f32 \t(%r\d+), (%r\d+), (%r\d+),", r"fma.rn.f32 \1, \2, \2,", 0]}),
    ("while an asynchronous instruction writes it", FETCHED | {"fault": [r"wgmma\.wait_group\.\S+ \d;", "", 0]}),
    (r"without fence\.proxy\.async", FETCHED | {"fault": [r"fence\.proxy\.async\.shared::cta;", ""]}),
    (FLIGHT, FETCHED | {"fault": [r"@!complete bra\.uni waitLoop;", "", 0]}),
    (FLIGHT, FETCHED | {"fault": [r"^.*mbarrier\.try_wait.*\n.*waitLoop;", "", 0]}),
    ("8 bytes are missing|does not complete", FETCHED | {"fault": [r"(expect_tx\S+ _, \[%r\d+\]), \d+;", r"\1, 8;"]}),
    ("longer than the swizzle's 64", FETCHED | {"fault": [r"(swizzle_mode\S+ \[ %rd\d+ \+ 0 \]), 0x3", r"\1, 0x2", 0]}),
    ("without a barrier between", FETCHED | {"fault": [BARRIER, "", 4]}),
    ("", FETCHED | {"fault": [r"46116862\d+", "4611686293305294850", 0]}),
    (
        "",  # a parameter that is rounded to float32, as Triton passes Python's numbers that have no type of their own
        VARIANCE
        | {
            "fault": [
                r"ld\.param\.b64 \t(%rd\d+), \[\w+_param_13\];",
                r"\g<0> { .reg .b32 %f; cvt.rn.f32.f64 %f, \1; cvt.f64.f32 \1, %f; }",
            ]
        },
    ),
]
"""What the machine says of a fault, or of 32-bit offsets where 64 are needed; with "" it runs and numbers are wrong."""


def compiled(module: str, *options: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a module in a process without the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """All questions in one process."""
    questions = [json.dumps(one) for one in (*SOUND, *(fault for _, fault in FAULTS))]
    done = compiled("tests.ptx.worker", text="\n".join(questions))
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(questions, map(json.loads, done.stdout.splitlines()), strict=True))


def label(question: dict[str, Any]) -> str:
    return "-".join(str(part).replace(" ", "")[:40] for part in question.values())


@pytest.mark.thinned(4)
@pytest.mark.parametrize("question", SOUND, ids=label)
def test_a_compiled_layer_computes_its_formula(question: dict[str, Any], answers: dict[str, dict[str, Any]]) -> None:
    """Forward, forward for training and backward, within the bound of the matrix unit's arithmetic."""
    found = answers[json.dumps(question)]
    assert (found["refused"], found["failures"]) == ("", [])
    assert found["elements"]
    assert found["launches"] >= 3
    if question.get("boxed"):
        assert any(name.endswith("_boxes") for name in found["kernels"])
    if question.get("counted"):
        assert found["instructions"]["ex2"]
        assert found["loaded"]["units"] >= found["loaded"]["least"] > 0


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("message", "question"), FAULTS, ids=[label(question) for _, question in FAULTS])
def test_a_fault_in_a_compiled_kernel_is_noticed(
    message: str, question: dict[str, Any], answers: dict[str, dict[str, Any]]
) -> None:
    found = answers[json.dumps(question)]
    assert found["planted"] or "narrow" in question
    if not message:
        assert found["refused"] == ""
        assert found["failures"]
        return
    assert re.search(message, found["refused"]), found
