"""Every example passes every level of validation, forward and backward."""

from __future__ import annotations

from pathlib import Path

import pytest

import svertka.codegen
from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package

from .conftest import FILES, examples

ROUNDS = "it rounds whole numbers"
NEVER_EXACT = {
    "generalized_mean",
}
"""Exponentials, roots and powers round whole numbers."""
WANTED = {
    "depthwise_conv2d",
    "conv_transpose2d",
    "conv1d",
    "conv3d",
    "generalized_mean",
    "huber_loss",
    "bmm",
    "triangular_bmm",
}


def test_the_examples_are_all_there() -> None:
    assert set(examples()) == WANTED


@pytest.mark.thinned(12)
@pytest.mark.parametrize("name", sorted(WANTED))
def test_every_level_holds(name: str) -> None:
    definition = examples()[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures
    outcomes = {outcome.level: outcome for outcome in verdict.outcomes}
    assert outcomes.keys() == LEVELS.keys()
    for level, outcome in outcomes.items():
        if level == "exact" and name in NEVER_EXACT:
            assert outcome.inapplicable == ROUNDS
        else:
            assert outcome.holds, level


def test_no_example_is_known_to_the_generator() -> None:
    """The generator is general: no file of it names an example, and none reads the examples."""
    words = {f"{name}_output" for name in WANTED} | {"examples"}
    folder = Path(svertka.codegen.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    assert len(texts) > 50
    assert not [word for word in words for text in texts if f'"{word}"' in text]
    assert len(FILES) == 4
