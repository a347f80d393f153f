"""What level "compiled" executes of a formula: every dtype, both layouts, views, full tiles and tails, long rows."""

from __future__ import annotations

import math

import pytest
import torch

from svertka.codegen.lowering.build import build
from svertka.codegen.ptx import launch
from svertka.codegen.ptx.level import compiled_texts
from svertka.codegen.ptx.plan import FEW, Run, runs
from svertka.codegen.verify.equivalence import GAP, as_view, canonical_shape
from svertka.codegen.verify.levels import Subject
from svertka.codegen.verify.recording import defined_name
from svertka.generated import schedule
from svertka.generated.tables import TABLES
from svertka.spec.layers import DEFINITIONS

from ..codegen.test_chains import DEFINITIONS as CHAINS

EVERY = {torch.float32, torch.float64, torch.float16, torch.bfloat16}
LAYERS = ("relu", "softmax", "max_pooling_2d", "linear", "convolution_1d", "batch_normalization")


def planned(layer: str) -> list[Run]:
    module = build(DEFINITIONS[layer])
    return list(runs(Subject(module, module.definition.variants[0], "svertka.generated", target="sm_90")))


def elements(layer: str, run: Run) -> int:
    """Of the largest input."""
    inputs = DEFINITIONS[layer].variants[0].layer.inputs
    return max(math.prod(canonical_shape(tensor, run.case.sizes)) for tensor in inputs)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_dtype_layout_and_kind_of_tensor_is_executed(layer: str) -> None:
    found = planned(layer)
    assert {dtype for run in found for dtype in run.dtypes} == EVERY
    assert {run.case.last for run in found} == {False, True}
    assert {run.dtypes for run in found if run.case.view and run.wide} == {(torch.float16,)}
    assert not any(run.case.view for run in found if run.special)
    assert sum(run.special and not run.parts for run in found) == 1
    assert len({run.case.name for run in found if run.processors != FEW}) == sum(r.processors != FEW for r in found)


@pytest.mark.parametrize("layer", LAYERS)
def test_several_programs_have_full_tiles_and_tails(layer: str) -> None:
    large = planned(layer)[0]
    lanes = TABLES["sm_90"]["lanes"]
    assert elements(layer, large) > 2 * lanes["block"]
    assert elements(layer, large) % lanes["block"]


def test_rows_take_several_steps() -> None:
    (long,) = [run for run in planned("softmax") if run.case.name.endswith("-long")]
    rows = TABLES["sm_90"]["rows"]
    assert long.case.sizes["K"] > rows["short_row"]
    assert elements("softmax", long) > rows["elements"]


def test_chains_have_several_blocks_and_several_tiles() -> None:
    """Of keys and of queries, which the gradients sum over; and of what inner products sum and results have beside."""
    module = build(CHAINS["causal"])
    found = list(runs(Subject(module, module.definition.variants[0], "svertka.generated", target="sm_90")))
    blocks, tiles = (next(r.case.sizes for r in found if r.case.name.endswith(end)) for end in ("-blocks", "-tiles"))
    table, limits = TABLES["sm_90"]["contraction"]["float32"], TABLES["sm_90"]["chains"]
    assert min(blocks["K"], blocks["Q"]) > 2 * max(row["tile"][1] for row in table)
    assert tiles["E"] > 2 * limits["whole_bytes"] // 4
    assert tiles["F"] > limits["row_bytes"] // 4
    assert all(size % 2 for size in (blocks["K"], blocks["Q"], tiles["E"], tiles["F"]))


def test_boxes_fill_a_tile_and_their_loops_fill_the_pipeline() -> None:
    boxed = [run for run in planned("linear") if run.case.boxed]
    table = TABLES["sm_90"]["contraction"]["boxes"]
    (rows, columns, depth), sizes = table[-1]["tile"], boxed[1].case.sizes
    assert min(sizes["M"], sizes["I"], sizes["O"]) > rows == columns
    assert all(sizes[name] % rows for name in "MIO")
    long = {name for run in boxed if run.processors == FEW for name in "MIO" if run.case.sizes[name] > 5 * depth}
    assert long == {*"MIO"}
    assert max(row["stages"] for row in table) + 1 < 352 // depth + 1


def test_sums_take_several_steps_where_no_box_is_loaded_too() -> None:
    plain = [run for run in planned("linear") if not run.case.boxed]
    deepest = max(row["tile"][2] for target in ("sm_80", "sm_90") for row in TABLES[target]["contraction"]["half"])
    for dtype in (torch.bfloat16, torch.float16):
        sizes = [run.case.sizes for run in plain if dtype in run.dtypes]
        for name in "MIO":
            assert any(one[name] > 5 * deepest and one[name] % 2 for one in sizes)


def test_a_view_begins_inside_its_memory_and_has_odd_strides() -> None:
    values = torch.arange(30.0).reshape(2, 3, 5)
    view = as_view(values)
    assert view.storage_offset() == 1
    assert view.stride() == (15 * GAP, 5 * GAP, GAP)
    assert GAP % 2
    assert torch.equal(view, values)
    assert torch.equal(as_view(torch.tensor(7.0)), torch.tensor(7.0))


@pytest.mark.parametrize("layer", ["linear", "group_normalization"])
def test_kernels_that_can_reduce_in_parts_do(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(DEFINITIONS[layer])
    subject = Subject(module, module.definition.variants[0], "svertka.generated", target="sm_90")
    found = set()
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    monkeypatch.setattr(
        launch, "run_launch", lambda one, done: found.add((one.kernel.__name__, one.constants.get("PART")))
    )
    compiled_texts(subject, [run for run in planned(layer) if run.parts], noted=True)
    able = {defined_name(subject.kernels, one.name) for one in subject.launched if one.splitting}
    assert able
    assert found >= {(name, part) for name in able for part in ("part", "finish")}
