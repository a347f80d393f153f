"""ONNX's node tests of the lecture's operators, on every road."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from svertka.generated import runtime

from .adapters import ADAPTERS
from .answers import NotRun, agree
from .not_run import FAULTS, NOT_RUN, REASONS
from .roads import REFERENCE, ROADS, Road
from .suite import OPERATORS, Case, cases

RUN = [case for case in cases() if case.name not in NOT_RUN]


@pytest.fixture(params=ROADS, ids=lambda road: road.name)
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Road:
    found: Road = request.param
    monkeypatch.setattr(runtime, "INTERPRETED", found.name == "interpreter")
    return found


@pytest.mark.thinned(5)
@pytest.mark.parametrize("case", RUN, ids=str)
def test_case(
    case: Case, road: Road, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    record_property("onnx road", road.name)
    fault = FAULTS.get((case.name, road.name))
    if fault:
        request.applymarker(pytest.mark.xfail(reason=fault, strict=True, raises=AssertionError))
    with np.errstate(divide="ignore", invalid="ignore"):  # the interpreter divides in masked lanes too
        answers = ADAPTERS[case.operator](case, road)
    for answer, expected in zip(answers, case.outputs, strict=True):
        agree(answer, expected, road)


def test_every_case_is_run_or_has_its_reason() -> None:
    """A listed case cannot run for its reason, a case that is not listed runs, and all listed cases exist."""
    found = {}
    for case in cases():
        try:
            ADAPTERS[case.operator](case, REFERENCE)
        except NotRun as refusal:
            found[case.name] = refusal.reason
    assert found == NOT_RUN


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_lacking_is_lacking_still(reason: str) -> None:
    assert REASONS[reason].holds()
    assert reason in NOT_RUN.values()


def test_every_operator_has_cases() -> None:
    assert {case.operator for case in cases()} == set(OPERATORS) == set(ADAPTERS)


def test_faults_are_of_cases_that_run() -> None:
    assert {name for name, _ in FAULTS} <= {case.name for case in RUN}


def test_a_wrong_answer_is_found() -> None:
    """Every operator with a bound has a case whose bound refuses a result with a relative error of 2**-12."""
    bounded, refused = set(), set()
    for case in RUN:
        for answer, expected in zip(ADAPTERS[case.operator](case, REFERENCE), case.outputs, strict=True):
            if answer.magnitude is None:
                continue
            bounded.add(case.operator)
            try:
                agree(answer, expected.astype(np.float64) * (1 + 2.0**-12), REFERENCE)
            except AssertionError:
                refused.add(case.operator)
    assert refused == bounded


def test_summary(record_property: Callable[[str, object], None]) -> None:
    """Printed at the end of a run (see ``conftest``)."""
    counts = Counter(NOT_RUN.values())
    assert sum(counts.values()) + len(RUN) == len(cases())
    record_property("onnx not run", f"{len(NOT_RUN)} of {len(cases())} cases")
    for fault in sorted(pair for pair in FAULTS if pair[1] in {road.name for road in ROADS}):
        record_property("onnx fault", f"{', '.join(fault)}: {FAULTS[fault]}")
    for reason, count in counts.most_common():
        record_property("onnx not run", f"{count:3}  {reason}: {REASONS[reason].text}")
