"""The search for tile tables, with a simulated clock, compiler and check; no GPU is needed."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from triton.runtime.errors import OutOfResources

from svertka.codegen.emit.tables import changes, class_names, entry, placed, read, table_path, tables, text
from svertka.codegen.machine.bench.idle import idle_kernels
from svertka.codegen.machine.bench.workload import Workload, in_phase
from svertka.codegen.machine.tune.candidates import Limit, candidates, limit_of
from svertka.codegen.machine.tune.cases import applied, cases_by_class
from svertka.codegen.machine.tune.device import tools
from svertka.codegen.machine.tune.run import first_classes, tuned
from svertka.codegen.machine.tune.search import Case, Record, Tools, search
from svertka.codegen.verify.recording import PACKAGE, forget
from svertka.generated import launching, plans, schedule

CLASS = "lanes/window"
SIZES = {"float32": 7, "bfloat16": 11}


def workload(dtype: str = "float32") -> Workload:
    arguments = {"kernel_size": 3, "stride": 2}
    shapes = {"input": (2, 3, SIZES[dtype], 9)}
    return Workload(dtype, "memory", "max_pool2d", shapes, arguments, dtype, "row_major", True, "max_pool2d", arguments)


CASES = [Case(workload("float32"), "forward"), Case(workload("bfloat16"), "backward")]


class Fake:
    """A simulated machine: ``times`` by block and case, blocks that do not compile, blocks with wrong results."""

    def __init__(self, best: int, spilling: Sequence[int] = (), wrong: Sequence[int] = ()) -> None:
        self.best, self.spilling, self.false = best, spilling, wrong
        self.measured: list[tuple[dict[str, Any], str]] = []
        self.checked: list[int] = []

    def tools(self) -> Tools:
        return Tools(self.refused, self.seconds, self.wrong)

    def refused(self, table: dict[str, Any], name: str, cases: Sequence[Case]) -> str:
        return "spills" if entry(table, name)["window_block"] in self.spilling else ""

    def seconds(self, table: dict[str, Any], case: Case) -> float:
        chosen = entry(table, CLASS)
        self.measured.append((chosen, case.name))
        # The two cases have opposite best ``unroll``: 9 x 2 against 4 x 3, so that the product decides.
        unrolled = {16: (9.0, 2.0), 1: (4.0, 3.0)}[chosen["unroll"]][CASES.index(case)]
        return unrolled * (1 if chosen["window_block"] == self.best else 5) * chosen["window_warps"]

    def wrong(self, table: dict[str, Any], case: Case) -> Sequence[str]:
        block = entry(table, CLASS)["window_block"]
        self.checked.append(block)
        return ("output: 1 of 3 elements",) if block in self.false else ()


def found(fake: Fake, record: Path, state: str = "s") -> tuple[dict[str, Any], Any]:
    table, (finding,) = search(read("sm_90"), {CLASS: CASES}, limit_of("sm_90"), fake.tools(), Record(record, state))
    return entry(table, CLASS), finding


def test_the_geometric_mean_decides(tmp_path: Path) -> None:
    chosen, finding = found(Fake(512), tmp_path / "record")
    assert chosen == {"window_block": 512, "unroll": 1, "window_warps": 2}
    # before: block 256, unroll 16, 4 warps
    assert finding.speed_up == pytest.approx((9 * 2) ** 0.5 * 5 * 4 / ((4 * 3) ** 0.5 * 2))
    assert finding.refused == 0


def test_what_the_compiler_refuses_is_not_measured(tmp_path: Path) -> None:
    fake = Fake(512, spilling=(512,))
    chosen, finding = found(fake, tmp_path / "record")
    assert chosen["window_block"] != 512
    assert all(one["window_block"] != 512 for one, _ in fake.measured)
    assert finding.refused == 2 * 3


def test_what_misses_the_formula_enters_no_table(tmp_path: Path) -> None:
    fake = Fake(512, wrong=(512, 128))
    chosen, finding = found(fake, tmp_path / "record")
    assert chosen["window_block"] in (256, 1024)
    assert fake.checked[0] == 512
    assert any("output: 1 of 3" in line for line in finding.wrong)


def test_the_table_stays_where_nothing_computes_the_formula(tmp_path: Path) -> None:
    chosen, finding = found(Fake(512, wrong=(128, 256, 512, 1024)), tmp_path / "record")
    assert chosen == entry(read("sm_90"), CLASS)
    assert finding.speed_up == 1


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    whole = Fake(1024)
    expected, _ = found(whole, tmp_path / "whole")

    class Killed(Fake):
        def seconds(self, table: dict[str, Any], case: Case) -> float:
            if len(self.measured) == 7:
                raise KeyboardInterrupt
            return super().seconds(table, case)

    first, record = Killed(1024), tmp_path / "record"
    with pytest.raises(KeyboardInterrupt):
        found(first, record)
    with record.open("a", encoding="utf-8") as stream:
        stream.write('{"state": "s", "key')  # an incomplete line of a killed run
    second = Fake(1024)
    chosen, _ = found(second, record)
    assert chosen == expected
    assert first.measured + second.measured == whole.measured
    third = Fake(1024)
    found(third, record, "another state")
    assert third.measured == whole.measured


def test_a_candidate_that_does_not_run_is_left_out(tmp_path: Path) -> None:
    """The search continues; a fault of all candidates, or of the table's own entry, ends it."""

    class Failing(Fake):
        lost = False

        def seconds(self, table: dict[str, Any], case: Case) -> float:
            if self.lost or entry(table, CLASS)["window_block"] == 512:
                raise OutOfResources(300000, 232448, "shared memory")
            return super().seconds(table, case)

    fake = Failing(512)
    chosen, finding = found(fake, tmp_path / "record")
    assert chosen["window_block"] != 512
    assert (finding.refused, finding.tried) == (6, 24)
    assert len([line for line in finding.wrong if "OutOfResources" in line]) == 6 * len(CASES)
    again = Failing(512)
    assert found(again, tmp_path / "record")[0] == chosen
    assert again.measured == []
    lost = Failing(1024)
    lost.lost = True
    with pytest.raises(OutOfResources):
        found(lost, tmp_path / "another")


def test_a_device_that_is_lost_ends_the_search(tmp_path: Path) -> None:
    class Lost(Fake):
        def seconds(self, table: dict[str, Any], case: Case) -> float:
            if len(self.measured) >= 5:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().seconds(table, case)

    fake = Lost(512)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        found(fake, tmp_path / "record")
    assert len((tmp_path / "record").read_text(encoding="utf-8").split('"value": 1')) < 7


def test_a_search_without_time_keeps_what_it_found(tmp_path: Path) -> None:
    fake = Fake(512)
    classes = {"lanes/window": CASES, "lanes/pointwise": CASES}
    told: list[str] = []

    def late() -> bool:
        return len(told) >= 7

    record = Record(tmp_path / "record", "s")
    table, findings = search(read("sm_90"), classes, limit_of("sm_90"), fake.tools(), record, told.append, False, late)
    assert [(one.name, one.tried) for one in findings] == [("lanes/window", 7)]
    timed = [chosen for chosen, name in fake.measured if name == CASES[0].name]
    assert len(timed) == 7
    assert entry(table, CLASS) in timed
    assert findings[0].speed_up > 1
    assert entry(table, "lanes/pointwise") == entry(read("sm_90"), "lanes/pointwise")


def test_the_classes_that_matter_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (schedule, launching):
        monkeypatch.setattr(module, "INTERPRETING", False)
    first = first_classes()
    assert set(first) <= set(class_names(read("sm_90")))
    reached = cases_by_class(read("sm_90"), in_phase("tune"))
    assert set(first) == set(reached)
    tools = Tools(lambda table, name, cases: "", lambda table, case: 1.0, lambda table, case: ())
    record, chosen = Record(tmp_path / "record", "s"), ("rows/along", "lanes/window")
    softmax = Workload(
        "s", "memory", "softmax", {"input": (5, 7)}, {"dim": 1}, "float32", "row_major", True, "softmax", {}
    )
    every = [softmax, workload()]
    _, lines = tuned(
        read("sm_90"), every, ("lanes", "rows"), limit_of("sm_90"), tools, record, True, silent, classes=chosen
    )
    assert [line.split(":")[0] for line in lines][:2] == list(chosen)


def test_candidates_obey_the_target() -> None:
    for target in ("sm_80", "sm_90"):
        limit, table = limit_of(target), read(target)
        for name in class_names(table):
            every = candidates(table, name, limit)
            assert every[0] == entry(table, name)
            assert len({json.dumps(one, sort_keys=True) for one in every}) == len(every) > 1
            for one in every:
                if name.startswith("contraction/half"):
                    m, n, k = one["tile"]
                    assert 2 * (m * k + k * n) * one["stages"] <= limit.shared
                    assert target == "sm_90" or m * n <= 128 * 128
    wide = candidates(read("sm_90"), "contraction/half/0", limit_of("sm_90"))
    assert any(one["tile"] == [128, 256, 64] and one["warps"] == 8 for one in wide)


def test_rows_keep_keys_that_tiles_do_not_have() -> None:
    table = placed(read("sm_90"), "contraction/half/0", {**entry(read("sm_90"), "contraction/half/0"), "programs": 132})
    every = candidates(table, "contraction/half/0", Limit(10**6, True))
    assert all(one["programs"] == 132 and one["least_m"] == 2048 for one in every)
    boxes = placed(table, "contraction/half/0", {"least_m": 2048, "least_n": 256, "box": [8, 16]})
    assert candidates(boxes, "contraction/half/0", Limit(10**6, True)) == [entry(boxes, "contraction/half/0")]


@contextmanager
def silent(what: str, total: int) -> Iterator[Any]:
    told: list[str] = []
    yield told.append
    assert len(told) == total, what


def test_the_whole_search_on_a_machine_without_a_gpu(tmp_path: Path) -> None:
    """Cases are found by class, every step is reported, and so are the changes."""
    old = read("sm_90")
    times = {"lanes/window": 0, "rows/along": 0}

    def seconds(table: dict[str, Any], case: Case) -> float:
        times["lanes/window"] += 1
        return 1.0 + (entry(table, CLASS)["window_block"] != 512)

    tools = Tools(lambda table, name, cases: "", seconds, lambda table, case: ())
    record = Record(tmp_path / "record", "s")
    new, lines = tuned(old, [workload()], ("lanes", "rows"), limit_of("sm_90"), tools, record, True, silent)
    assert changes(old, new) == [line for line in lines if "->" in line]
    assert entry(new, CLASS)["window_block"] == 512
    assert {name for name in class_names(new) if entry(new, name) != entry(old, name)} == {CLASS}
    assert times["lanes/window"] == 2 * len(candidates(old, CLASS, limit_of("sm_90"), True))  # forward and backward
    assert any(line.startswith("lanes/window: 2 candidates") and "2.000 x" in line for line in lines)
    record.done()
    assert not record.path.exists()


# Tables --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", "sm_80", "sm_90"])
def test_a_table_survives_its_file(name: str) -> None:
    assert table_path(name).read_text(encoding="utf-8") == text(read(name))
    assert read(name)["measured"] is None or read(name)["measured"]["device"]
    assert {key: schedule.TABLES[name][key] for key in ("lanes", "rows", "contraction")} == {
        key: tables()[name][key] for key in ("lanes", "rows", "contraction")
    }


def test_a_target_without_a_table_starts_from_the_default() -> None:
    assert not table_path("sm_61").exists()
    assert read("sm_61") == {**read("default"), "target": "sm_61"}


def test_every_row_can_be_chosen() -> None:
    """No row follows one that serves all its sizes; the last serves every size."""
    for table in tables().values():
        for rows in table["contraction"].values():
            for place, row in enumerate(rows):
                before = rows[:place]
                assert not any(one["least_m"] <= row["least_m"] and one["least_n"] <= row["least_n"] for one in before)
            assert (rows[-1]["least_m"], rows[-1]["least_n"]) == (0, 0)


@pytest.mark.parametrize(("capability", "target"), [((8, 0), "sm_80"), ((9, 0), "sm_90"), ((12, 1), "sm_121")])
def test_the_device_of_the_call_chooses(
    capability: tuple[int, int], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def get_device_capability(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return capability

    monkeypatch.setattr(torch.cuda, "get_device_capability", get_device_capability)
    forget()
    device = torch.device("cuda", 3)
    assert [launching.target_of(device) for _ in range(2)] == [target] * 2
    assert asked == [device]
    forget()
    assert launching.target_of(torch.device("cpu")) == "default"


TARGETS = ("sm_80", "sm_90", "sm_121", "default")


def test_targets_have_tiles_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton.language as tl

    monkeypatch.setattr(schedule, "INTERPRETING", False)
    forget()
    large = (1, 65536, 512, 576, 9, tl.bfloat16, "gathered_last")
    hows = (launching.How(torch.device("meta"), torch.float32, True, False, 2, target) for target in TARGETS)
    chosen = {how.target: schedule.contraction(*large, how).tiles[0] for how in hows}
    forget()
    assert chosen["sm_121"] == chosen["default"]
    assert chosen["sm_90"]["BLOCK_M"] * chosen["sm_90"]["BLOCK_N"] == 128 * 256
    assert chosen["sm_80"] not in (chosen["sm_90"], chosen["default"])


# Measuring -----------------------------------------------------------------------------------------------------------


def test_every_candidate_is_launched_with_its_own_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached tiles and plans of one candidate are not used for another: each is compiled separately."""
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    monkeypatch.setattr(launching, "target_of", lambda device: "sm_90")
    table, seen = read("sm_90"), list[set[Any]]()
    case = Case(workload("float32"), "backward")
    with idle_kernels(tell=lambda name, constants: seen[-1].add((constants["BLOCK"], constants["num_warps"]))):
        measuring = tools("cpu", limit_of("sm_90"))
        for block, warps in ((64, 2), (32, 2), (32, 4)):
            seen.append(set())
            measuring.seconds(
                placed(table, CLASS, {**entry(table, CLASS), "window_block": block, "window_warps": warps}), case
            )
    assert seen == [{(64, 2)}, {(32, 2)}, {(32, 4)}]


def test_a_failed_measurement_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    before = schedule.lanes(1 << 20, 1, False, 4, "sm_90")
    changed = placed(read("sm_90"), "lanes/pointwise", {"block": 512, "warps": 8})

    def fail() -> None:
        with applied(changed):
            assert schedule.lanes(1 << 20, 1, False, 4, "sm_90") != before
            raise RuntimeError("the launch failed")

    with pytest.raises(RuntimeError, match="launch"):
        fail()
    assert schedule.lanes(1 << 20, 1, False, 4, "sm_90") == before
    forget()


def test_whatever_a_package_remembers_is_forgotten() -> None:
    """Every cache of the package's modules, and every plan."""
    package = importlib.import_module(PACKAGE)
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")]
    modules = [importlib.import_module(name) for name in names]
    caches = {
        id(v): v for m in modules for v in vars(m).values() if hasattr(v, "cache_clear") and v.__module__ in names
    }
    assert len(caches) >= 5
    forget()
    schedule.lanes(7, 1, False, 4, "sm_90")
    schedule._widths((3, 5), 8)
    launching.fetches_boxes(torch.device("meta"))
    launching.target_of(torch.device("cpu"))
    filled = {v.__name__ for v in caches.values() if v.cache_info().currsize}
    assert filled == {"lanes", "_widths", "fetches_boxes", "target_of"}
    plans._PLANS["key"] = None
    forget()
    assert [v.__name__ for v in caches.values() if v.cache_info().currsize] == []
    assert plans._PLANS == {}
