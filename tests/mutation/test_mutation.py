"""The mutation gate itself: its faults are stable and well formed, and it distinguishes a fault from none."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jinja2
import pytest

from .catalogue import catalogue, text_of
from .faults import KINDS, REPOSITORY, Mutant, chosen, mutants_of
from .gate import known_results, run
from .kernel_faults import kernel_edits
from .nursery import Result, Step
from .report import equivalents, judged, write_report

LEAST = {"emitted": 150, "second order": 120, "template": 60, "printer": 50, "calculus": 40, "schedule": 20}
LONG = 16_000  # characters
PATTERNS = {(f, d) for f in ("pointwise", "row", "window", "contraction") for d in ("forward", "backward")}

TRIALS = """
import json, sys
from dataclasses import replace
from tests.mutation.catalogue import text_of
from tests.mutation.faults import chosen, mutants_of
from tests.mutation.kernel_faults import kernel_edits
from tests.mutation.nursery import attempt, prepare
file = "generated/kernels/relu.py"
text = text_of(file)
proposals = mutants_of("emitted", file, text, kernel_edits(text), ("relu",))
fault = [m for m in proposals if m.operator == "comparison" and m.scope == "relu_grad_input"][-1]
none = replace(fault, new=fault.old)
prepare(with_svertka=True)
trials = [[step.failure for step in attempt(mutant, {}).steps] for mutant in (none, fault)]
print(json.dumps([trials, [mutant.identifier for mutant in chosen(proposals, 12, lambda mutant: True)]]))
"""


@pytest.mark.slow
def test_there_are_enough_of_every_kind() -> None:
    counts = Counter(mutant.kind for mutant in catalogue())
    assert counts.keys() == set(KINDS)
    assert all(counts[kind] >= least for kind, least in LEAST.items())


@pytest.mark.slow
def test_another_process_has_the_same_faults_and_tells_a_fault_from_none() -> None:
    every = [mutant.identifier for mutant in catalogue()]
    assert len(set(every)) == len(every)
    file = "generated/kernels/relu.py"
    proposals = mutants_of("emitted", file, text_of(file), kernel_edits(text_of(file)), ("relu",))
    names = [mutant.identifier for mutant in chosen(proposals, 12, lambda mutant: True)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", TRIALS], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    (sound, faulty), again = json.loads(done.stdout)
    assert again == names
    assert sound == ["", "", ""]
    assert faulty[0]


@pytest.mark.slow
def test_every_family_is_hit_forward_and_backward() -> None:
    assert {(mutant.pattern, mutant.direction) for mutant in catalogue()} >= PATTERNS


@pytest.mark.slow
def test_every_fault_changes_its_file_and_leaves_it_readable() -> None:
    parser = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    for mutant in catalogue():
        text = mutant.applied(text_of(mutant.file))
        assert text != text_of(mutant.file), mutant.identifier
        if len(text) > LONG:  # choosing the faults has parsed these too
            continue
        if mutant.file.endswith(".py"):
            ast.parse(text)
        elif mutant.file.endswith(".json"):
            json.loads(text)
        else:
            parser.parse(text)


@pytest.mark.slow
def test_equivalents_exist_and_say_why() -> None:
    names = {mutant.identifier for mutant in catalogue()}
    for identifier, reason in equivalents().items():
        assert identifier in names, f"{identifier}: there is no such fault any more; remove its reason"
        assert len(reason.split()) >= 5, f"{identifier}: say why it computes the same"


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = catalogue()[:3]
    results = tmp_path / "results.jsonl"
    lines = [_line(first, "now", "it fails"), _line(second, "before", ""), _line(third, "now", "")[:-9]]
    results.write_text("\n".join(lines), encoding="utf-8")
    assert known_results(results, "now").keys() == {first.identifier}

    def tried(due: list[Mutant], *_: object) -> list[tuple[Mutant, Result]]:
        return [(mutant, Result([Step("source", "relu")])) for mutant in due]

    monkeypatch.setattr(sys.modules[run.__module__], "_tried", tried)
    found = run((first, second, third), {}, results, "now", lambda mutant, result: None)
    assert [result.refused for result in found.values()] == [True, False, False]
    assert known_results(results, "now").keys() == set(found)


def _line(mutant: Mutant, state: str, failure: str) -> str:
    entry = {"mutant": mutant.identifier, "state": state, **Result([Step("source", "relu", failure)]).as_data()}
    return json.dumps(entry)


def test_the_report_counts_levels_and_lists_survivors(tmp_path: Path) -> None:
    killed, missed, same = catalogue()[:3]
    results = {
        killed.identifier: Result([Step("source", "relu", "it differs"), Step("exact", "relu")]),
        missed.identifier: Result([Step("source", "relu"), Step("exact", "relu")]),
        same.identifier: Result([Step("source", "relu")]),
    }
    reasons = {same.identifier: "both sides of a maximum are the same"}
    write_report(judged((killed, missed, same), results, reasons), reasons, tmp_path)
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "1 killed, 1 equivalent, 1 survived, 0 no effect" in text
    assert "| emitted | - | - | - | 1 / 2 (50 %) | 0 / 2 (0 %) | - | 1 / 2 (50 %) |" in text
    assert missed.identifier in text.split("## Survivors")[1].split("## Equivalent")[0]
    assert [entry["outcome"] for entry in json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))] == [
        "killed",
        "survived",
        "equivalent",
    ]
