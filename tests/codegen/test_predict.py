"""Predictions from bytes and operations, against numbers computed by hand."""

from __future__ import annotations

import os

import pytest
import torch

from svertka.codegen.machine.bench.measure import Limits, Row
from svertka.codegen.machine.bench.predict import Prediction, predictions
from svertka.codegen.machine.bench.report import summary
from svertka.codegen.machine.bench.workload import Workload, precision, workloads

UNIT = Limits(bandwidth=1.0, operations=1e-6)  # one second per byte; operations take almost all the time
BYTES_ONLY = Limits(bandwidth=1.0, operations=1e30)


def predicted(
    function: str, shapes: dict[str, tuple[int, ...]], limits: Limits, **arguments: object
) -> list[Prediction]:
    kind = "matrix" if "weight" in shapes and function in ("conv2d", "linear") else "memory"
    workload = Workload(function, kind, function, shapes, arguments, "bfloat16", "row_major", True, function, arguments)
    return list(predictions(workload, limits))


def test_a_pointwise_layer_is_bound_by_its_bytes() -> None:
    forward, backward = predicted("relu", {"input": (3, 5, 7)}, UNIT)
    assert (forward.limit, backward.limit) == (2 * 2 * 105, 3 * 2 * 105)
    assert (forward.ours, forward.eager) == (forward.limit, forward.limit)
    assert forward.bound == "bytes"


VECTORS = 400  # bytes of tensors with one element per channel, or per channel and example


def test_statistics_are_a_pass_more() -> None:
    size, channels = 2 * 4 * 3 * 5 * 7, 3
    shapes: dict[str, tuple[int, ...]] = {"input": (4, 3, 5, 7)} | dict.fromkeys(
        ("running_mean", "running_var", "weight", "bias"), (channels,)
    )
    forward, backward = predicted("batch_norm", shapes, BYTES_ONLY, training=True)
    assert 2 * size < forward.limit < 2 * size + 100 < 3 * size < forward.ours < 3 * size + VECTORS
    assert (forward.launches, backward.launches) == (3, 3)  # parts of examples, their totals, and their use
    assert 5 * size < backward.ours < 5 * size + VECTORS


@pytest.mark.parametrize(("stride", "places"), [(1, 9 * 11), (2, 5 * 6)])
def test_operations_of_a_convolution(stride: int, places: int) -> None:
    shapes: dict[str, tuple[int, ...]] = {"input": (2, 16, 9, 11), "weight": (32, 16, 3, 3)}
    rows = predicted("conv2d", shapes, UNIT, stride=stride, padding=1)
    assert [row.direction for row in rows] == ["forward", "gradient of input", "gradient of weight"]
    for row in rows:
        assert row.bound == "operations"
        assert row.limit == pytest.approx(2 * 2 * places * 32 * 16 * 9 / 1e-6)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="asked once")
def test_the_table_writes_nothing(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from svertka.codegen.machine.bench.report import predicted as table

    monkeypatch.chdir(str(tmp_path))
    assert table(True, ("memory",), "max_pool2d").row_count == 8
    assert os.listdir() == []


def test_float32_is_never_tf32_unless_it_says_so() -> None:
    """Torch's own convolutions use tf32 by default: a comparison would mix the two."""
    found = {w.dtype: w for w in workloads(False, ("matrix",)) if w.name.startswith("resnet50 64->256 1x1/1 at 56 x64")}
    assert {"tf32", "float32", "bfloat16"} <= found.keys()
    before = (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    for dtype, allowed in (("float32", False), ("tf32", True), ("bfloat16", False)):
        with precision(found[dtype]):
            assert torch.backends.cudnn.allow_tf32 == allowed
            assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
        assert found[dtype].tensors("cpu")["weight"].dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    assert before == (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())


def test_products_in_whole_precision_are_not_averaged_with_halves() -> None:
    rows = [
        Row("p", "matrix", dtype, "row_major", "forward", {"svertka": 1.0, "eager": ratio})
        for dtype, ratio in (("bfloat16", 2.0), ("tf32", 4.0), ("float32", 8.0))
    ]
    found = {name: figures["geometric mean"] for name, figures in summary(rows).items()}
    assert found == pytest.approx(
        {
            "matrix forward x eager": 2.0,
            "matrix tf32 forward x eager": 4.0,
            "matrix float32 forward x eager": 8.0,
        }
    )
