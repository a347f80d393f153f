"""Predicted times of launches against numbers computed by hand, and against measured ones of the benchmark's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from svertka.codegen.ptx.against import agreement, read
from svertka.codegen.ptx.counts import Counts, Traffic
from svertka.codegen.ptx.launch import Cost
from svertka.codegen.ptx.predict import ATTAINED, GPUS, LAUNCH, expected, resident
from tests.conftest import Call

H100, A100 = GPUS["H100"], GPUS["A100"]


def cost(programs: int = 264, warps: int = 4, registers: int = 32, shared: int = 0, **counted: Any) -> Cost:
    counts = Counts()
    counts.instructions.update(counted.pop("instructions", {}))
    counts.products.update(counted.pop("products", {}))
    if "wavefronts" in counted:
        counts.wavefronts["load"] = Traffic(1, counted.pop("wavefronts"), 1)
    if "requested" in counted:
        counts.sectors["load"] = Traffic(1, counted.pop("requested"), 1)
    for name, value in counted.items():
        setattr(counts, name, value)
    return Cost("some", programs, warps, registers, 0, shared, 1 << 20, counts)


CASES: list[tuple[str, dict[str, Any], float]] = [
    ("memory", {"distinct": 10**9, "fetched": 10**9}, 32e9 / (3.35e12 * ATTAINED)),
    ("instructions", {"instructions": {"and": 10**9}}, 10**9 / 132 / (4 * 1.755e9)),
    ("special functions", {"instructions": {"ex2": 10**9}}, 32e9 / 132 / (16 * 1.755e9)),
    ("shared memory", {"wavefronts": 10**9}, 10**9 / 132 / 1.755e9),
    ("first cache", {"requested": 10**9}, 32e9 / 132 / (128 * 1.755e9)),
    ("matrix unit", {"products": {"wgmma bf16": 10**15}}, 10**15 / 132 / (2048 * 1.755e9)),
    ("launch", {}, LAUNCH),
]


@pytest.mark.parametrize(("bound", "counted", "seconds"), CASES)
def test_the_resource_that_binds(bound: str, counted: Mapping[str, Any], seconds: float) -> None:
    found = expected(cost(**counted), H100)
    assert found.bound == bound
    assert found.seconds == pytest.approx(seconds)


def test_matrix_instructions_of_one_warp_reach_a_part_of_hopper() -> None:
    slow, fast = (expected(cost(products={f"{unit} f16": 10**15}), H100).seconds for unit in ("mma", "wgmma"))
    assert slow == pytest.approx(fast / 0.63)
    assert expected(cost(216, products={"mma f16": 10**15}), A100).parts["matrix unit"] == pytest.approx(
        10**15 / 108 / (1024 * 1.41e9)
    )


def test_few_programs_leave_processors_idle() -> None:
    """The same instructions in 32 programs, in 132, and in 133, whose last one is alone in its round."""
    parts = {n: expected(cost(n, instructions={"and": 10**9}), H100).seconds for n in (32, 132, 133)}
    assert parts[32] / parts[132] == pytest.approx(132 / 32)
    assert parts[133] / parts[132] == pytest.approx(2 * 132 / 133)


def test_more_examples_take_longer() -> None:
    one = cost(132, instructions={"and": 10**9})
    assert expected(one, H100, 1320, 10.0).seconds == pytest.approx(10 * expected(one, H100).seconds)


@pytest.mark.parametrize(
    ("warps", "registers", "shared", "programs"),
    [(4, 32, 0, 16), (1, 16, 0, 32), (4, 128, 0, 4), (8, 255, 0, 1), (4, 32, 100_000, 2), (16, 255, 0, 0)],
)
def test_occupancy(warps: int, registers: int, shared: int, programs: int) -> None:
    assert resident(cost(1, warps, registers, shared), H100) == programs


def written(folder: Path, seconds: Mapping[str, float], capability: str = "9.0") -> Path:
    """A file as ``svertka bench`` writes it on a GPU."""
    row = {"kind": "memory", "dtype": "float32", "layout": "row_major", "direction": "forward"}
    rows = [{**row, "name": name, "seconds": {"svertka": time, "eager": 1.0}} for name, time in seconds.items()]
    host = {**row, "name": "a", "direction": "host", "seconds": {"svertka": 1.0}}
    path = folder / "bench.json"
    path.write_text(json.dumps({"settings": {"capability": capability}, "rows": [*rows, host]}), encoding="utf-8")
    return path


def key(name: str) -> tuple[str, str, str, str]:
    return name, "float32", "row_major", "forward"


@pytest.mark.parametrize(
    ("measured", "correlation", "worst", "ratio"),
    [
        ({"a": 1.1, "b": 2.0, "c": 6.0, "d": 4.1}, 0.8, "c", 2.0),  # d before c: 1 - 6 * 2 / (4 * 15)
        ({"a": 0.25, "b": 2.0, "c": 3.0, "d": 4.0, "e": 9.0}, 1.0, "a", 0.25),
        ({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}, -1.0, "a", 4.0),
        ({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, 0.0, "d", 0.25),
    ],
)
def test_agreement_with_measured_times(
    measured: dict[str, float], correlation: float, worst: str, ratio: float, tmp_path: Path
) -> None:
    predicted = {key(name): time for name, time in {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}.items()}
    found = agreement(predicted, read(written(tmp_path, measured)))
    assert found.calls == 4
    assert found.correlation == pytest.approx(correlation)
    assert (found.worst, found.ratio) == (key(worst), pytest.approx(ratio))
    assert worst in str(found)


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not measured on a GPU"):
        read(written(tmp_path, {"a": 1.0}, capability=""))
    with pytest.raises(ValueError, match=r"no result of `svertka bench`"):
        read(tmp_path / "absent.json")
    with pytest.raises(ValueError, match="at least 2"):
        agreement({key("a"): 1.0}, {key("b"): 1.0})


def test_a_gpu_that_is_not_known_is_told(call: Call) -> None:
    code, _, said = call("bench", "--predict", "--on", "T4")
    assert code == 2
    assert "--on T4" in said
    assert "A100, H100, H200" in said
